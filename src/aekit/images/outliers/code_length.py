"""How long the description of an image is: a measure of its complexity that needs no network."""

from __future__ import annotations

import io
from itertools import chain

import numpy as np
import numpy.typing as npt
from PIL import Image

from aekit.core.threads import in_threads
from aekit.images.data.image_set import ImageSet, Indices

_BLOCK = 500  # images


def code_lengths(images: ImageSet, *, threads: int | None = None) -> npt.NDArray[np.float64]:
    """Return the length in bits of each image as an optimised PNG file without its constant parts, (N,).

    Args:
        images: N images.
        threads: CPU threads; None uses all cores.

    Source:
        Serra et al. 2020, arXiv:1909.11480, section 3.
    """
    starts = range(0, len(images), _BLOCK)
    blocks = [np.arange(start, min(start + _BLOCK, len(images))) for start in starts]
    constant = _n_bytes(np.zeros((1, 1, 1), np.uint8))

    def measure(rows: Indices) -> list[int]:
        return [8 * (_n_bytes(pixels) - constant) for pixels in images.take(rows)]

    return np.array(list(chain.from_iterable(in_threads(measure, blocks, jobs=threads))), np.float64)


def _n_bytes(pixels: npt.NDArray[np.uint8]) -> int:
    """Return the size of an image, (C, H, W), as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(file, "PNG", optimize=True)
    return file.tell()
