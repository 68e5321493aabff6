"""The default network: strided convolutions, one wide linear layer, and the same back."""

from __future__ import annotations

from torch import nn

from aekit.config import ModelConfig
from aekit.models.base import ImageShape, Parts
from aekit.models.resampling import DownConv, UpConv, halved_sizes

DEFAULT_LAYERS = 2
DEFAULT_WIDTH = 32
HIDDEN = 256


def build_conv(config: ModelConfig, image_shape: ImageShape) -> Parts:
    """Return ``--layers`` convolutions 4x4 of stride 2, the first of ``--width`` channels, and a linear layer of 256.

    Each convolution doubles the channels and halves the side, rounded up, so that any image size comes out as it
    went in.
    """
    channels, height, width = image_shape
    n_layers = config.layers or DEFAULT_LAYERS
    first = config.width or DEFAULT_WIDTH
    stages = [channels, *(first * 2**i for i in range(n_layers))]
    sizes = halved_sizes((height, width), n_layers)
    n_flat = stages[-1] * sizes[-1][0] * sizes[-1][1]

    encoder: list[nn.Module] = []
    decoder: list[nn.Module] = [nn.Linear(config.latent, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, n_flat), nn.SiLU()]
    decoder.append(nn.Unflatten(1, (stages[-1], *sizes[-1])))
    for i in range(n_layers):
        encoder += [DownConv(stages[i], stages[i + 1]), nn.SiLU()]
    for i in reversed(range(n_layers)):
        decoder.append(UpConv(stages[i + 1], stages[i], sizes[i]))
        if i > 0:
            decoder.append(nn.SiLU())
    encoder += [nn.Flatten(), nn.Linear(n_flat, HIDDEN), nn.SiLU()]
    return Parts(nn.Sequential(*encoder), HIDDEN, nn.Sequential(*decoder))
