"""Networks of your own: a function in Python builds their parts, and a checkpoint records its name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from aekit.errors import AekitError
from aekit.images.config import OWN, ModelConfig
from aekit.images.models.base import ImageShape, Parts

Builder = Callable[[ModelConfig, ImageShape], Parts]


def own_arch(builder: Builder) -> str:
    """Return the ``arch`` of the networks that a function builds: ``own-`` and its name.

    Raises:
        AekitError: It has no name, as a lambda.
    """
    name = getattr(builder, "__name__", "")
    if not name.isidentifier():
        raise AekitError(f"parts: {name or type(builder).__name__} has no name to record; give a function made by def")
    return f"{OWN}{name}"


def build_own(builder: Builder | None, config: ModelConfig, image_shape: ImageShape, *, n_channels: int) -> Parts:
    """Return the parts of a network of your own, after sending zeros through them.

    Args:
        builder: The function that builds them; None was not given.
        config: ``latent`` is the number of inputs of the decoder.
        image_shape: (channels, height, width) of the images.
        n_channels: Channels that the encoder sees: those of the image, and one per class if it is told that.

    Raises:
        AekitError: The function is missing or another one, or its parts take or give other shapes.
    """
    name = config.own_builder
    if builder is None:
        raise AekitError(
            f"{config.arch}: this network is built by the Python function {name}, which is not in the file; use "
            f"Python: aekit.load(path, parts={name}), aekit.open_session(paths, parts={name})"
        )
    if own_arch(builder) != config.arch:
        raise AekitError(f"parts: the network is built by {name}, not by {builder.__name__}; give that function")
    parts = builder(config, image_shape)
    if not (isinstance(parts, Parts) and isinstance(parts.encoder, nn.Module) and isinstance(parts.decoder, nn.Module)):
        raise AekitError(f"parts: {name} returns {type(parts).__name__}; return Parts(encoder, n_features, decoder)")
    n = 2
    x = (n, n_channels, *image_shape[1:])
    _check(f"encoder of {name}", parts.encoder, x, (n, parts.n_features), "images")
    _check(f"decoder of {name}", parts.decoder, (n, config.latent), (n, *image_shape), "codes")
    return parts


def _check(what: str, module: nn.Module, given: tuple[int, ...], wanted: tuple[int, ...], kind: str) -> None:
    """Raise an AekitError if a module does not make an output of a shape of an input of a shape."""
    states = {each: each.training for each in module.modules()}
    try:
        with torch.no_grad():
            output = module.eval()(torch.zeros(given))  # in evaluation mode: no statistics and no random numbers
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise AekitError(f"parts: the {what} does not take {kind} of shape {given} ({reason}); change it") from error
    finally:
        for each, is_training in states.items():
            each.training = is_training
    found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if found != wanted:
        raise AekitError(f"parts: the {what} makes {found} of {kind} of shape {given}, not {wanted}; change it")
