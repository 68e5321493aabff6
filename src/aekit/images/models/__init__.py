"""Networks by name."""

from __future__ import annotations

from collections.abc import Callable

from aekit.errors import AekitError
from aekit.images.config import Arch, ModelConfig
from aekit.images.models.base import Autoencoder, ImageShape, Parts
from aekit.images.models.blocks import build_blocks
from aekit.images.models.conv import build_conv
from aekit.images.models.dense import build_dense
from aekit.images.models.resize_conv import build_resize_conv
from aekit.images.models.strided import build_strided

MODELS: dict[Arch, Callable[[ModelConfig, ImageShape], Parts]] = {
    "conv": build_conv,
    "dense": build_dense,
    "resize-conv": build_resize_conv,
    "strided": build_strided,
    "blocks": build_blocks,
}


def build_model(config: ModelConfig, image_shape: ImageShape) -> Autoencoder:
    """Return a network with fresh weights for images of shape (channels, height, width).

    Raises:
        AekitError: The architecture cannot take such images, or has no such depth or width.
    """
    _, height, width = image_shape
    if min(height, width) < 8:
        raise AekitError(f"--image-size: {height}x{width} is below 8x8 pixels; enlarge the images with --image-size 8")
    return Autoencoder(config, image_shape, MODELS[config.arch](config, image_shape))
