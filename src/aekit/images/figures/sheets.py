"""Images of a page as sheets of 32 x 32, which a browser shows parts of."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterator
from math import ceil

import numpy as np
import numpy.typing as npt
from PIL import Image, features

Pixels = npt.NDArray[np.uint8]

MAX_SIDE = 48  # pixels; larger images are reduced
# One file per sheet takes a third of the bytes of one per image, and a browser decodes only the sheets that it shows.
N_COLUMNS, PER_SHEET = 32, 1024
# PNG would take nine times as much for colour: 10,000 faces of 48 x 40 take 5.6 MB like this, and 53 MB losslessly.
_COLOUR_QUALITY = 60


def reduce_images(images: Pixels) -> Pixels:
    """Return images, uint8 (N, C, H, W), no side longer than 48 pixels: as they are, or reduced by averaging."""
    height, width = images.shape[2:]
    longest = max(height, width)
    if longest <= MAX_SIDE:
        return images
    size = (max(1, round(width * MAX_SIDE / longest)), max(1, round(height * MAX_SIDE / longest)))
    reduced = [np.asarray(_picture(image).resize(size, Image.Resampling.BOX)) for image in images]
    stack = np.stack(reduced).reshape(len(images), size[1], size[0], images.shape[1])
    return np.ascontiguousarray(stack.transpose(0, 3, 1, 2))


def _picture(image: Pixels) -> Image.Image:
    return Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))


def build_sheets(images: Pixels, *, is_lossless: bool = False) -> Iterator[str]:
    """Yield data URIs of sheets of images, uint8 (N, C, H, W): up to 1,024 in each, row by row.

    Grey images keep their values in any case, colour images with ``is_lossless``.
    """
    n_channels, height, width = images.shape[1:]
    for start in range(0, len(images), PER_SHEET):
        block = images[start : start + PER_SHEET]
        n_rows = ceil(len(block) / N_COLUMNS)
        places = np.zeros((n_rows * N_COLUMNS, n_channels, height, width), np.uint8)
        places[: len(block)] = block
        rows = places.reshape(n_rows, N_COLUMNS, n_channels, height, width).transpose(2, 0, 3, 1, 4)
        sheet = _picture(rows.reshape(n_channels, n_rows * height, N_COLUMNS * width))
        file = io.BytesIO()
        if n_channels == 1 or is_lossless:
            kind = "png"
            sheet.save(file, kind, optimize=is_lossless)
        else:
            kind = "webp" if features.check("webp") else "jpeg"
            sheet.save(file, kind, quality=_COLOUR_QUALITY)
        yield f"data:image/{kind};base64,{b64encode(file.getvalue()).decode()}"
