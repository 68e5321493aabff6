"""Fully connected autoencoders of equal layers with tanh: 784-200-200-d, the networks of likelihood benchmarks."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from aekit.images.config import ModelConfig
from aekit.images.models.base import Architecture, ImageShape, Parts

DEFAULT_LAYERS = 2
DEFAULT_WIDTH = 200


def build_mlp(config: ModelConfig, image_shape: ImageShape) -> Parts:
    """Return ``--layers`` linear layers of ``--width`` units each, with tanh.

    Source:
        Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, section 5: two layers of 200 units.
    """
    units = [config.width or DEFAULT_WIDTH] * (config.layers or DEFAULT_LAYERS)
    n_pixels = math.prod(image_shape)
    encoder: list[nn.Module] = [nn.Flatten(), *_tanh_layers([n_pixels, *units])]
    decoder: list[nn.Module] = [*_tanh_layers([config.latent, *units]), nn.Linear(units[-1], n_pixels)]
    return Parts(nn.Sequential(*encoder), units[-1], nn.Sequential(*decoder, nn.Unflatten(1, image_shape)))


def _tanh_layers(units: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(units):
        layers += [nn.Linear(n_in, n_out), nn.Tanh()]
    return layers


MLP = Architecture(build_mlp, default_lr=4e-3)
