"""Pixels: images as uint8 channels, in luma or colour, resized and cropped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

from aekit.errors import AekitError
from aekit.images.sizes import in_pixels

Pixels = npt.NDArray[np.uint8]

LEFT_OUT = "left out"  # begins the notices about images that cannot be used
MIN_SIDE = 8  # pixels; below that, convolutional models have nothing to halve
# Its support grows with the reduction, so nothing aliases. Not BOX: at reductions below two, such as 89 to 64 pixels,
# it uses one source pixel in some places and two in others, and edges jump by half a pixel.
_FILTER = Image.Resampling.LANCZOS
_BLOCK_VALUES = 1 << 18  # to convert at a time; more than the cache of a core holds is slower


class NoImages(AekitError):
    """None of the images can be used.

    Attributes:
        bad: What is wrong with each of them, by name.
    """

    def __init__(self, message: str, bad: Mapping[str, str]) -> None:
        super().__init__(message)
        self.bad = bad


class DifferentSizes(AekitError):
    """Images differ in size, and none was asked for.

    Attributes:
        bad: What is wrong with each of the images that cannot be used, by name.
    """

    def __init__(self, message: str, bad: Mapping[str, str]) -> None:
        super().__init__(message)
        self.bad = bad


def fit(image: Image.Image, size: tuple[int, int], extent: tuple[float, float] | None = None) -> Image.Image:
    """Return the image resized to cover the size, keeping its aspect ratio, and cropped to its centre.

    Args:
        image: Mode ``L`` or ``RGB``.
        size: (height, width) in pixels.
        extent: (height, width) of the picture, for a reduced JPEG that ends within its last row or column; None is all.
    """
    if (image.height, image.width) == size:
        return image
    height, width = extent or (image.height, image.width)
    return image.resize(size[::-1], _FILTER, box=_region(height, width, size))


def fit_array(images: Pixels, size: tuple[int, int] | None, *, grayscale: bool) -> Pixels:
    """Return the images resized and cropped like :func:`fit`, in luma if requested, uint8 (N, C, h, w).

    Args:
        images: uint8 (N, C, H, W) with C 1 or 3.
        size: (h, w) in pixels; None keeps their size.
        grayscale: Convert three channels to one.
    """
    if grayscale and images.shape[1] == 3:
        images = _luma(images)
    if size is None or size == images.shape[2:]:
        return images
    fitted = np.empty((len(images), images.shape[1], *size), np.uint8)
    for rows in _blocks(images):
        fitted[rows] = _fit_block(images[rows], size)
    return fitted


def _blocks(images: Pixels) -> Iterator[slice]:
    n_rows = max(1, _BLOCK_VALUES // math.prod(images.shape[1:]))
    for start in range(0, len(images), n_rows):
        yield slice(start, start + n_rows)


def _fit_block(images: Pixels, size: tuple[int, int]) -> Pixels:
    # Stacked into one tall and then one wide image, as the filter is separable and starts with the rows: the same bytes
    # as one by one, and three times as fast from 28x28 to 32x32 pixels.
    n, channels, height, width = images.shape
    left, top, right, bottom = _region(height, width, size)
    tall = Image.fromarray(images.reshape(-1, width))
    tall = tall.resize((size[1], tall.height), _FILTER, box=(left, 0, right, tall.height))
    rows = np.asarray(tall).reshape(n * channels, height, size[1])
    wide = Image.fromarray(np.ascontiguousarray(rows.swapaxes(0, 1)).reshape(height, -1))
    wide = wide.resize((wide.width, size[0]), _FILTER, box=(0, top, wide.width, bottom))
    return np.asarray(wide).reshape(size[0], n * channels, size[1]).swapaxes(0, 1).reshape(n, channels, *size)


def _region(height: float, width: float, size: tuple[int, int]) -> tuple[float, float, float, float]:
    # (left, top, right, bottom) of the largest centred region with the requested aspect ratio: scaling only this region
    # covers and crops in one step, without intermediate rounding.
    scale = min(width / size[1], height / size[0])
    # 54 * (55 / 54) exceeds 55, and PIL refuses a region that is larger than the image by its last bit.
    region_width, region_height = min(size[1] * scale, width), min(size[0] * scale, height)
    left, top = (width - region_width) / 2, (height - region_height) / 2
    return left, top, left + region_width, top + region_height


def check_size(height: int, width: int, source: str) -> None:
    """Check that images are large enough for a model.

    Raises:
        AekitError: A side is shorter than eight pixels.
    """
    if min(height, width) < MIN_SIDE:
        raise AekitError(
            f"{source}: images are too small ({in_pixels(height, width)} pixels); give --image-size {MIN_SIDE} or more"
        )


def _luma(images: Pixels) -> Pixels:
    # ITU-R BT.601 in the 16-bit fixed-point arithmetic of PIL's mode L, so that arrays and files give the same bytes.
    luma = np.empty((len(images), 1, *images.shape[2:]), np.uint8)
    for rows in _blocks(images):
        red, green, blue = images[rows].astype(np.uint32).swapaxes(0, 1)
        luma[rows, 0] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return luma
