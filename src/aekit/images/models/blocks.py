"""The face VAE of study 2: four strided convolutional blocks with batch norm, for images of any size."""

from __future__ import annotations

import math

from torch import nn

from aekit.images.config import ModelConfig
from aekit.images.models.base import Architecture, ImageShape, Parts
from aekit.images.models.layers import DownConv, UpConv, halved_sizes

DEFAULT_LAYERS = 4
DEFAULT_WIDTH = 32


def build_blocks(config: ModelConfig, image_shape: ImageShape) -> Parts:
    """Return ``--layers`` blocks, from ``--width`` channels doubling, and a decoder that mirrors them.

    A block of the encoder is a 3x3 convolution of stride 2, batch norm and ReLU. The decoder is a linear layer, as many
    blocks of a 4x4 transposed convolution of stride 2, batch norm and LeakyReLU, and a final 3x3 convolution. Each of
    its blocks restores the input size of its mirror image, so that 218 x 178 comes out as it went in.
    """
    channels, height, width = image_shape
    n_layers = config.layers or DEFAULT_LAYERS
    first = config.width or DEFAULT_WIDTH
    stages = [first * 2**i for i in range(n_layers)]
    sizes = halved_sizes((height, width), n_layers)
    shape = (stages[-1], *sizes[-1])

    encoder: list[nn.Module] = []
    for n_in, n_out in zip([channels, *stages], stages, strict=False):
        encoder += [DownConv(n_in, n_out), nn.BatchNorm2d(n_out), nn.ReLU()]
    decoder: list[nn.Module] = [nn.Linear(config.latent, math.prod(shape)), nn.Unflatten(1, shape)]
    for i in reversed(range(n_layers)):
        n_out = stages[max(i - 1, 0)]
        decoder += [UpConv(stages[i], n_out, sizes[i]), nn.BatchNorm2d(n_out), nn.LeakyReLU()]
    decoder.append(nn.Conv2d(first, channels, 3, padding=1))
    return Parts(nn.Sequential(*encoder, nn.Flatten()), math.prod(shape), nn.Sequential(*decoder))


BLOCKS = Architecture(build_blocks, default_lr=2e-3)
