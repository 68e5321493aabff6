"""A contact sheet: in each row an image that was looked up, then its nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from aekit.images.figures.mosaic import PAD, build_layout, draw_mosaic
from aekit.plotting.style import BLACK, SMALL_FONT_SIZE, figure_style, text_size

Pixels = npt.NDArray[np.uint8]

_NARROWEST, _WIDEST = 56, 150  # pixels of the text below an image, if it is wider than the image
_SECOND = "#595959"  # of the lines below the first, seven to one on white
_APART = 3 * PAD  # between the image that was looked up and its neighbours


class SheetRow(NamedTuple):
    """A row of the sheet.

    Attributes:
        images: The image that was looked up, then its neighbours, uint8 (1 + k, C, H, W).
        captions: Lines of text below each of them, (1 + k) times as many.
    """

    images: Pixels
    captions: Sequence[Sequence[str]]


def plot_neighbours(rows: Sequence[SheetRow], *, title: str = "") -> Figure:
    """Return a figure with a row for each image that was looked up: the image, then its neighbours.

    Args:
        rows: The rows, with the same number of images in each.
        title: Written at the top.
    """
    n_columns, n_lines = len(rows[0].images), max(len(lines) for row in rows for lines in row.captions)
    with figure_style():
        line = text_size("Ag")[1] + 3
        layout = build_layout(len(rows), n_columns, rows[0].images.shape[2:])
        texts = [text for row in rows for lines in row.captions for text in lines]
        widest = max((text_size(text)[0] for text in texts), default=0)
        pitch = max(layout.tile_width, min(max(widest, _NARROWEST), _WIDEST)) + PAD
        centred = (pitch - layout.tile_width) // 2
        lefts = np.arange(n_columns) * pitch + centred + np.where(np.arange(n_columns) > 0, _APART, 0)
        tops = np.arange(len(rows)) * (layout.tile_height + n_lines * line + 2 * PAD)
        layout = replace(layout, lefts=lefts, tops=tops)
        images = np.concatenate([row.images for row in rows])
        beyond = centred + PAD
        figure, axes = draw_mosaic(images, layout, right=beyond, bottom=n_lines * line + 2 * PAD, title=title)
        for row, top in zip(rows, layout.tops, strict=True):
            for lines, x in zip(row.captions, layout.centres_x, strict=True):
                for number, text in enumerate(lines):
                    axes.text(
                        x,
                        top + layout.tile_height + 3 + number * line,
                        _fitting(text, pitch - PAD),
                        ha="center",
                        va="top",
                        fontsize=SMALL_FONT_SIZE,
                        parse_math=False,
                        color=_SECOND if number else BLACK,
                    )
    return figure


def _fitting(text: str, width: float) -> str:
    """Return a text with as much of its middle left out as makes it fit: names often differ only at their end."""
    n = len(text)
    short = text
    while text_size(short)[0] > width and n > 3:
        n -= 1
        short = f"{text[: n // 2]}…{text[len(text) - (n - n // 2 - 1) :]}"
    return short
