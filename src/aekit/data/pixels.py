"""Pixels: any image as uint8 channels, in luma or colour, resized and cropped."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from aekit.errors import AekitError

Pixels = npt.NDArray[np.uint8]

MIN_SIDE = 8  # pixels; below that the convolutional models have nothing to halve
_BLOCK = 4096  # images that are converted at a time


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the image resized so that it covers the size, aspect kept, and cropped to its centre.

    Lanczos, whose support grows with the reduction, so nothing aliases. Not BOX: at reductions below two, such as
    89 to 64 pixels, it takes one source pixel here and two there, and edges jump by half a pixel.

    Args:
        image: Mode ``L`` or ``RGB``.
        size: (height, width) in pixels.
    """
    height, width = size
    if image.size == (width, height):
        return image
    # Scaling the largest centred region with the wanted aspect is covering and cropping in one step, without rounding.
    scale = min(image.width / width, image.height / height)
    region_width, region_height = width * scale, height * scale
    left, top = (image.width - region_width) / 2, (image.height - region_height) / 2
    box = (left, top, left + region_width, top + region_height)
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box)


def fit_array(images: Pixels, size: tuple[int, int] | None, *, grayscale: bool) -> Pixels:
    """Return the images in luma if wanted and resized and cropped as :func:`fit` does, uint8 (N, C, h, w).

    Args:
        images: uint8 (N, C, H, W) with C 1 or 3.
        size: (h, w) in pixels; None keeps theirs.
        grayscale: Turn three channels into one.
    """
    if grayscale and images.shape[1] == 3:
        images = _luma(images)
    if size is None or size == images.shape[2:]:
        return images
    fitted = np.empty((len(images), images.shape[1], *size), np.uint8)
    for image, target in zip(images, fitted, strict=True):
        for channel, target_channel in zip(image, target, strict=True):  # channels resize independently
            target_channel[:] = fit(Image.fromarray(channel), size)
    return fitted


def check_size(height: int, width: int, source: str) -> None:
    """Refuse images that are too small for any model.

    Raises:
        AekitError: A side is shorter than eight pixels.
    """
    if min(height, width) < MIN_SIDE:
        raise AekitError(
            f"{source}: images of {height}x{width} pixels are too small; give --image-size {MIN_SIDE} or more"
        )


def _luma(images: Pixels) -> Pixels:
    # ITU-R BT.601 in the 16-bit fixed point of PIL's mode L, so that arrays and files give the same bytes.
    luma = np.empty((len(images), 1, *images.shape[2:]), np.uint8)
    for start in range(0, len(images), _BLOCK):
        red, green, blue = images[start : start + _BLOCK].astype(np.uint32).swapaxes(0, 1)
        luma[start : start + _BLOCK, 0] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return luma
