"""The autoencoders of study 3: one, two or three strided convolutions with batch norm, and their mirror image."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from torch import nn

from aekit.errors import AekitError
from aekit.images.config import ModelConfig
from aekit.images.models.base import Architecture, ImageShape, Parts
from aekit.images.models.resize_conv import check_sizes

DEFAULT_LAYERS = 2


class _Stage(NamedTuple):
    channels: int
    kernel: int
    stride: int
    padding: int
    size: int  # side of the output, in pixels


# The input is 28 x 28; the third layer of three has no padding, which gives the study's 28,317 parameters.
_STAGES = {
    1: (_Stage(18, 5, 4, 0, 6),),
    2: (_Stage(18, 5, 2, 0, 12), _Stage(36, 3, 2, 0, 5)),
    3: (_Stage(9, 3, 2, 1, 14), _Stage(18, 3, 2, 1, 7), _Stage(36, 3, 2, 0, 3)),
}


def build_strided(config: ModelConfig, image_shape: ImageShape) -> Parts:
    """Return the network for 28 x 28 images: 27,543, 49,701 or 28,317 parameters with 20 latent dimensions.

    The code is linear. The study put a ReLU on it, which turns dimensions off for good and made every model with 10 or
    more dimensions worse than PCA; a ReLU has no parameters, so the counts are the study's.
    """
    check_sizes(config, image_shape)
    n_layers = config.layers or DEFAULT_LAYERS
    if n_layers not in _STAGES or config.width is not None:
        raise AekitError("--arch strided: takes --layers 1, 2 or 3 and no --width; for other shapes use --arch conv")
    stages = _STAGES[n_layers]
    channels = [image_shape[0], *(stage.channels for stage in stages)]
    sizes = [image_shape[1], *(stage.size for stage in stages)]

    encoder: list[nn.Module] = []
    decoder: list[nn.Module] = []
    for i, stage in enumerate(stages):
        geometry: dict[str, Any] = {"kernel_size": stage.kernel, "stride": stage.stride, "padding": stage.padding}
        encoder += [nn.Conv2d(channels[i], channels[i + 1], **geometry), nn.BatchNorm2d(channels[i + 1]), nn.ReLU()]
        missing = sizes[i] - ((sizes[i + 1] - 1) * stage.stride + stage.kernel - 2 * stage.padding)
        mirrored = [nn.ConvTranspose2d(channels[i + 1], channels[i], **geometry, output_padding=missing)]
        decoder = mirrored + ([nn.BatchNorm2d(channels[i]), nn.ReLU()] if i > 0 else []) + decoder
    shape = (channels[-1], sizes[-1], sizes[-1])
    decoder = [nn.Linear(config.latent, math.prod(shape)), nn.Unflatten(1, shape), *decoder]
    return Parts(nn.Sequential(*encoder, nn.Flatten()), math.prod(shape), nn.Sequential(*decoder))


STRIDED = Architecture(build_strided, default_lr=4e-3)
