"""Images of a page: reduced, and cut out of their sheets again."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from aekit.images.figures.sheets import MAX_SIDE, N_COLUMNS, PER_SHEET, build_sheets, reduce_images


def _images(n, shape):
    return np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)


def test_large_images_are_reduced_by_averaging_and_small_ones_left_alone():
    small = _images(3, (3, MAX_SIDE, 10))
    assert reduce_images(small) is small
    large = np.zeros((2, 3, 96, 64), np.uint8)
    large[:, :, ::2] = 200
    reduced = reduce_images(large)
    assert reduced.shape == (2, 3, 48, 32)
    assert (reduced == 100).all()


def test_a_sheet_holds_its_images_row_by_row_and_a_new_one_begins_when_it_is_full():
    images = _images(PER_SHEET + 1, (1, 4, 6))
    sheets = [Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) for uri in build_sheets(images)]
    assert [sheet.size for sheet in sheets] == [(6 * N_COLUMNS, 4 * PER_SHEET // N_COLUMNS), (6 * N_COLUMNS, 4)]
    pixels = np.asarray(sheets[0])
    row, column = divmod(45, N_COLUMNS)
    assert (pixels[4 * row : 4 * row + 4, 6 * column : 6 * column + 6] == images[45, 0]).all()
