"""Networks of your own: a function in Python builds their parts, and a checkpoint records its name."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from numbers import Integral

import torch
from torch import Tensor, nn

from aekit.errors import AekitError
from aekit.images.config import OWN, ModelConfig
from aekit.images.models.base import ImageShape, Parts

Builder = Callable[[ModelConfig, ImageShape], Parts]


def own_arch(builder: object) -> str:
    """Return the ``arch`` of the networks that a function builds: ``own-`` and its name.

    Raises:
        AekitError: It is not a function, or has no name, as a lambda.
    """
    name = getattr(builder, "__name__", "")
    if isinstance(builder, (type, nn.Module, Parts)) or not callable(builder):
        what = f"the class {name}" if isinstance(builder, type) else type(builder).__name__
        raise AekitError(f"parts: is {what}; give a function that returns Parts(encoder, n_features, decoder)")
    if not name.isidentifier():
        raise AekitError(f"parts: {name or type(builder).__name__} has no name to record; give a function made by def")
    return f"{OWN}{name}"


def build_own(builder: Builder | None, config: ModelConfig, image_shape: ImageShape, *, n_channels: int) -> Parts:
    """Return copies of the parts of a network of your own, after sending zeros through them.

    Copies, as the modules that a function returns may belong to another network, which training must not change.

    Args:
        builder: The function that builds them; None was not given.
        config: ``latent`` is the number of inputs of the decoder.
        image_shape: (channels, height, width) of the images.
        n_channels: Channels that the encoder sees: those of the image, and one per class if it is told that.

    Raises:
        AekitError: The function is missing or another one, or its parts take or give other shapes
            or types, cannot be copied, or make pixels instead of logits.
    """
    name = config.own_builder
    if builder is None:
        raise AekitError(
            f"{config.arch}: this network is built by the Python function {name}, which is not in the file; use "
            f"Python: aekit.load(path, parts={name}), aekit.open_session(paths, parts={name})"
        )
    if own_arch(builder) != config.arch:
        raise AekitError(f"parts: the network is built by {name}, not by {builder.__name__}; give that function")
    try:
        inspect.signature(builder).bind(config, image_shape)
    except TypeError as error:
        raise AekitError(f"parts: {name} is called as {name}(config, image_shape) ({error}); take both") from error
    parts = _copied(str(name), builder(config, image_shape))
    n = 2
    x = (n, n_channels, *image_shape[1:])
    _check(f"encoder of {name}", parts.encoder, x, (n, parts.n_features), "images")
    _check(f"decoder of {name}", parts.decoder, (n, config.latent), (n, *image_shape), "codes")
    return parts


def _copied(name: str, parts: object) -> Parts:
    """Return copies of what a function returns, if these are parts.

    Raises:
        AekitError: They are something else, cannot be copied, are fixed, or the decoder makes pixels instead of logits.
    """
    if not (isinstance(parts, Parts) and isinstance(parts.encoder, nn.Module) and isinstance(parts.decoder, nn.Module)):
        raise AekitError(f"parts: {name} returns {type(parts).__name__}; return Parts(encoder, n_features, decoder)")
    n_features: object = parts.n_features
    if isinstance(n_features, bool) or not isinstance(n_features, Integral) or n_features < 1:
        raise AekitError(f"parts: n_features of {name} is {n_features!r}; give the number of features of its encoder")
    if isinstance(last := _last(parts.decoder), (nn.Sigmoid, nn.Hardsigmoid)):
        raise AekitError(
            f"parts: the decoder of {name} ends in {type(last).__name__}; decoders return logits, so leave it out"
        )
    try:
        encoder, decoder = copy.deepcopy((parts.encoder, parts.decoder))  # together, as they may share weights
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise AekitError(f"parts: the modules of {name} cannot be copied ({reason}); build them anew") from error
    if not all(parameter.requires_grad for module in (encoder, decoder) for parameter in module.parameters()):
        raise AekitError(
            f"parts: weights of {name} require no gradients, and all are trained; use requires_grad_(True), as on "
            "modules of a trained model"
        )
    return parts._replace(encoder=encoder, n_features=int(n_features), decoder=decoder)


def _last(module: nn.Module) -> nn.Module:
    """Return the last module of a sequence that changes values and not only their shape."""
    while isinstance(module, nn.Sequential):
        kept = [each for each in module if not isinstance(each, (nn.Unflatten, nn.Flatten, nn.Identity))]
        if not kept:
            break
        module = kept[-1]
    return module


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
    if isinstance(output, Tensor) and output.dtype != torch.float32:
        raise AekitError(f"parts: the {what} makes {output.dtype} of {kind} in torch.float32; return torch.float32")
    if found != wanted:
        raise AekitError(f"parts: the {what} makes {found} of {kind} of shape {given}, not {wanted}; change it")
