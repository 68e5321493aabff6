"""The default network: strided convolutions down to a few pixels, one linear layer, and the same back."""

from __future__ import annotations

import math

from torch import nn

from aekit.config import ModelConfig
from aekit.models.base import ImageShape, Parts
from aekit.models.resampling import halved_sizes

DEFAULT_WIDTH = 24
HIDDEN = 256
SMALLEST = 4  # pixels a side that the convolutions leave, unless --layers says how many there are
WIDEST = 8  # times the first channels is where doubling ends
# Weights start from N(0, gain^2 / fan_in). With torch's own start, which is narrower, three convolutions lose the
# signal: one epoch on MNIST ends 2 nats worse, with a latent dimension unused.
GAIN = 1.1


def build_conv(config: ModelConfig, image_shape: ImageShape) -> Parts:
    """Return convolutions of stride 2 until no side exceeds 4 pixels (or ``--layers`` of them), and a linear layer.

    The first has ``--width`` channels and each later one twice as many, up to eight times the first. A kernel has 4
    pixels along an even side and 3 along an odd one: with a padding of 1 both leave half the side, rounded up, and
    the transposed convolution with the same kernel gives exactly the side back.
    """
    channels, height, width = image_shape
    n_layers = config.layers or max(math.ceil(math.log2(max(height, width) / SMALLEST)), 1)
    sizes = halved_sizes((height, width), n_layers)
    first = config.width or DEFAULT_WIDTH
    stages = [channels, *(first * min(2**i, WIDEST) for i in range(n_layers))]
    kernels = [(4 - height % 2, 4 - width % 2) for height, width in sizes[:-1]]
    shape = (stages[-1], *sizes[-1])

    encoder: list[nn.Module] = []
    decoder: list[nn.Module] = []
    for i, kernel in enumerate(kernels):
        encoder += [nn.Conv2d(stages[i], stages[i + 1], kernel, stride=2, padding=1), nn.SiLU()]
        decoder = [nn.SiLU(), nn.ConvTranspose2d(stages[i + 1], stages[i], kernel, stride=2, padding=1), *decoder]
    encoder += [nn.Flatten(), nn.Linear(math.prod(shape), HIDDEN), nn.SiLU()]
    code = [nn.Linear(config.latent, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, math.prod(shape)), nn.Unflatten(1, shape)]
    return Parts(nn.Sequential(*encoder), HIDDEN, nn.Sequential(*code, *decoder), gain=GAIN)
