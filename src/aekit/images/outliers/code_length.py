"""How long the description of an image is: a measure of its complexity that needs no network."""

from __future__ import annotations

import io
import lzma
from itertools import chain

import numpy as np
import numpy.typing as npt
from PIL import Image

from aekit.core.threads import in_threads
from aekit.images.data.image_set import ImageSet, Indices
from aekit.images.outliers.request import Code

_BLOCK = 500  # images


def code_lengths(images: ImageSet, *, code: Code = "png", threads: int | None = None) -> npt.NDArray[np.float64]:
    """Return the length in bits of the description of each image, (N,).

    Args:
        images: N images.
        code: ``png`` for an optimised PNG file without its constant parts, or ``lz`` for the raw stream of LZMA of the
            bytes, channel by channel: it finds repetitions, and a PNG file differences from neighbours as well.
        threads: CPU threads; None uses all cores.

    Source:
        Serra et al. 2020, arXiv:1909.11480, section 3.
    """
    starts = range(0, len(images), _BLOCK)
    blocks = [np.arange(start, min(start + _BLOCK, len(images))) for start in starts]
    n_bytes = {"png": _png_bytes, "lz": _lz_bytes}[code]
    constant = n_bytes(np.zeros((1, 1, 1), np.uint8)) if code == "png" else 0

    def measure(rows: Indices) -> list[int]:
        return [8 * (n_bytes(pixels) - constant) for pixels in images.take(rows)]

    return np.array(list(chain.from_iterable(in_threads(measure, blocks, jobs=threads))), np.float64)


def _png_bytes(pixels: npt.NDArray[np.uint8]) -> int:
    """Return the size of an image, (C, H, W), as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(file, "PNG", optimize=True)
    return file.tell()


def _lz_bytes(pixels: npt.NDArray[np.uint8]) -> int:
    """Return the size of the bytes of an image, (C, H, W), compressed by LZMA, without a header."""
    raw = pixels.tobytes()
    # A dictionary of the size of the image: the default of 8 MB is allocated for each.
    kind = {"id": lzma.FILTER_LZMA1, "dict_size": max(4096, len(raw))}
    return len(lzma.compress(raw, lzma.FORMAT_RAW, filters=[kind]))
