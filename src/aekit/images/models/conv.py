"""The default network: strided convolutions down to a few pixels, linear layers, and their mirror image."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from aekit.images.config import ModelConfig
from aekit.images.models.base import Architecture, ImageShape, Parts, is_large
from aekit.images.models.layers import (
    FlattenPixels,
    ResidualLinear,
    UnflattenPixels,
    UpToGrey,
    halved_sizes,
    init_weights,
)
from aekit.images.models.small_convolutions import SmallConv2d, SmallConvTranspose2d

DEFAULT_WIDTH = 24
HIDDEN = 256
SMALLEST = 4  # pixels per side that the convolutions leave, unless --layers sets their number
# Large images need more pixels left, and more units to read them. CelebA at 54 x 44, latent 100, beta 0.3, three
# epochs of 7,200 faces, validation loss: 256 units and 4 pixels 3,825 nats, 1,024 units 3,791, and with 8 pixels 3,755,
# where `blocks` is at 3,748 (381 and 236 images per second).
LARGE_HIDDEN = 1024
LARGE_SMALLEST = 8
WIDEST = 8  # times the first channels: the limit of doubling
# Weights are initialised from N(0, gain^2 / fan_in). PyTorch's default is narrower, and three convolutions lose the
# signal: after one epoch on MNIST the loss is 2 nats higher, with one latent dimension unused. The first layer's gain
# compensates for pixels, whose root mean square is about 1/3, and the last one's for logits, which exceed one.
GAIN = 1.1
FIRST_GAIN = 3 * GAIN
LAST_GAIN = 2 * GAIN


def build_conv(config: ModelConfig, image_shape: ImageShape) -> Parts:
    """Return convolutions of stride 2 until no side exceeds a few pixels (or ``--layers`` of them), and linear layers.

    The first has ``--width`` channels and each later one twice as many, up to eight times the first. A kernel has 4
    pixels along an even side and 3 along an odd one: with a padding of 1 both halve the side, rounded up, and the
    transposed convolution with the same kernel restores it exactly. On either side of the code are a linear and a
    residual linear layer. Up to 1,024 values per image these have 256 units, and 4 pixels per side are left; beyond
    that, 1,024 units and 8 pixels.
    """
    channels, height, width = image_shape
    hidden, smallest = (LARGE_HIDDEN, LARGE_SMALLEST) if is_large(image_shape) else (HIDDEN, SMALLEST)
    n_layers = config.layers or max(math.ceil(math.log2(max(height, width) / smallest)), 1)
    sizes = halved_sizes((height, width), n_layers)
    first = config.width or DEFAULT_WIDTH
    stages = [channels, *(first * min(2**i, WIDEST) for i in range(n_layers))]
    shape = (stages[-1], *sizes[-1])

    encoder: list[nn.Module] = []
    decoder: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(pairwise(stages)):
        kernel = (4 - sizes[i][0] % 2, 4 - sizes[i][1] % 2)
        down = (nn.Conv2d if i == 0 else SmallConv2d)(n_in, n_out, kernel, stride=2, padding=1)
        pixels = UpToGrey if n_in == 1 else nn.ConvTranspose2d
        up = (pixels if i == 0 else SmallConvTranspose2d)(n_out, n_in, kernel, stride=2, padding=1)
        encoder += [init_weights(down, FIRST_GAIN if i == 0 else GAIN), nn.SiLU()]
        decoder = [nn.SiLU(), init_weights(up, LAST_GAIN if i == 0 else GAIN), *decoder]
    to_hidden = init_weights(nn.Linear(math.prod(shape), hidden), GAIN)
    encoder += [FlattenPixels(), to_hidden, ResidualLinear(hidden, GAIN), nn.SiLU()]
    from_code = init_weights(nn.Linear(config.latent, hidden), GAIN)
    from_hidden = init_weights(nn.Linear(hidden, math.prod(shape)), GAIN)
    decoder = [from_code, ResidualLinear(hidden, GAIN), nn.SiLU(), from_hidden, UnflattenPixels(shape), *decoder]
    return Parts(nn.Sequential(*encoder), hidden, nn.Sequential(*decoder), head_gain=GAIN)


CONV = Architecture(build_conv, default_lr=5e-3)
