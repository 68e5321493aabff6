"""Fully connected autoencoders: 784-512-d and deeper."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from aekit.errors import AekitError
from aekit.images.config import ModelConfig
from aekit.images.models.base import Architecture, ImageShape, Parts

DEFAULT_LAYERS = 1
DEFAULT_WIDTH = 512


def build_dense(config: ModelConfig, image_shape: ImageShape) -> Parts:
    """Return ``--layers`` linear layers with ReLU: the first has ``--width`` units, each later one half as many."""
    n_pixels = math.prod(image_shape)
    first = config.width or DEFAULT_WIDTH
    if first >> ((config.layers or DEFAULT_LAYERS) - 1) == 0:
        raise AekitError(
            f"--layers: {config.layers} halvings leave nothing of {first} units; use fewer, or a larger --width"
        )
    units = [n_pixels, *(first >> i for i in range(config.layers or DEFAULT_LAYERS))]

    encoder: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in pairwise(units):
        encoder += [nn.Linear(n_in, n_out), nn.ReLU()]
    decoder: list[nn.Module] = []
    for n_in, n_out in pairwise([config.latent, *reversed(units)]):
        decoder += [nn.Linear(n_in, n_out), nn.ReLU()]
    decoder[-1] = nn.Unflatten(1, image_shape)  # instead of a ReLU: logits may be negative
    return Parts(nn.Sequential(*encoder), units[-1], nn.Sequential(*decoder))


DENSE = Architecture(build_dense, default_lr=2e-3)
