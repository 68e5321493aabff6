"""Outputs of a network of your own for fixed inputs, by which its checkpoint recognises the function that built it."""

from __future__ import annotations

import math
from typing import Any

import torch

from aekit.errors import AekitError
from aekit.images.inference import evaluation_mode
from aekit.images.models.base import Autoencoder

REFERENCE = "reference_outputs"  # their key among the results of a header
_N_VALUES = 8  # of codes, of reconstructions and of images of fixed codes
# Five digits are kept, and processors and batch sizes differ by rounding; another activation changes much more.
_TOLERANCE = 1e-3


def reference_outputs(model: Autoencoder) -> list[float] | None:
    """Return some codes and logits for a ramp of grey and its negative, and logits of a fixed code, to five digits.

    None if they are not finite, or the network draws random numbers in evaluation mode, so that none can be compared.

    Args:
        model: The network, on any device.
    """
    with torch.random.fork_rng(devices=[]):
        first, second = _some_outputs(model), _some_outputs(model)
    return first if first == second and all(map(math.isfinite, first)) else None


def check_reference(model: Autoencoder, expected: Any, source: str) -> None:
    """Check that a network with the weights of a checkpoint computes what it did after the training.

    Args:
        model: The network.
        expected: What :func:`reference_outputs` returned then; None for nothing to compare, as in older files.
        source: The file, for messages.

    Raises:
        AekitError: It computes something else: another function of the same name and shapes built it.
    """
    if expected is None or (found := reference_outputs(model)) is None:
        return
    if not (isinstance(expected, list) and all(isinstance(value, (int, float)) for value in expected)):
        raise AekitError(f"{source}: its header is damaged ({REFERENCE}); train it again")
    bound = _TOLERANCE * max(1.0, *map(abs, expected))
    if len(found) != len(expected) or any(abs(a - b) > bound for a, b in zip(found, expected, strict=True)):
        raise AekitError(
            f"{source}: with its weights, the network that {model.config.own_builder} builds computes something else "
            "than after its training; give that function as it was"
        )


def _some_outputs(model: Autoencoder) -> list[float]:
    with evaluation_mode(model) as device:
        ramp = torch.linspace(0, 1, math.prod(model.image_shape), device=device).reshape(1, *model.image_shape)
        label = None if model.classes is None else torch.zeros(2, dtype=torch.int64, device=device)
        output = model(torch.cat([ramp, 1 - ramp]), None, label)
        z = torch.linspace(-1, 1, model.config.latent, device=device)[None]
        decoded = model.decode_logits(z, None, None if label is None else label[:1])
        values = [_spread(each) for each in (output.mean, output.x_hat_logits, decoded)]
    return [float(f"{value:.5g}") for value in torch.cat(values).tolist()]


def _spread(values: torch.Tensor) -> torch.Tensor:
    """Return a few values of a tensor, evenly spaced."""
    flat = values.reshape(-1).float().cpu()
    return flat[torch.linspace(0, len(flat) - 1, min(len(flat), _N_VALUES)).round().long()]
