"""Networks by name."""

from __future__ import annotations

from aekit.errors import AekitError
from aekit.images.config import Arch, ModelConfig
from aekit.images.models.base import Architecture, Autoencoder, ImageShape, is_large
from aekit.images.models.blocks import BLOCKS
from aekit.images.models.conv import CONV
from aekit.images.models.dense import DENSE
from aekit.images.models.resize_conv import RESIZE_CONV
from aekit.images.models.strided import STRIDED

MODELS: dict[Arch, Architecture] = {
    "conv": CONV,
    "dense": DENSE,
    "resize-conv": RESIZE_CONV,
    "strided": STRIDED,
    "blocks": BLOCKS,
}
LARGE_IMAGE_LR = 1e-3


def build_model(config: ModelConfig, image_shape: ImageShape) -> Autoencoder:
    """Return a network with fresh weights for images of shape (channels, height, width).

    Raises:
        AekitError: The architecture does not support such images, or this depth or width.
    """
    _, height, width = image_shape
    if min(height, width) < 8:
        raise AekitError(f"--image-size: {height}x{width} is below 8x8 pixels; enlarge the images with --image-size 8")
    return Autoencoder(config, image_shape, MODELS[config.arch].build(config, image_shape))


def default_lr(arch: Arch, image_shape: ImageShape) -> float:
    """Return the default peak of the learning rate for images of shape (channels, height, width).

    The loss is a sum over pixels. The rate that is best for ``conv`` on MNIST diverged within 66 steps on colour faces
    of 48 x 48, where 1e-3 did better than 2e-3.
    """
    lr = MODELS[arch].default_lr
    return min(lr, LARGE_IMAGE_LR) if is_large(image_shape) else lr
