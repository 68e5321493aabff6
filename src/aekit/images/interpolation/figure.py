"""Paths: rows of images from one end to the other, with the images at the ends on either side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aekit.images.figures.mosaic import (
    GAP,
    PAD,
    Array,
    FloatArray,
    Layout,
    as_unit_floats,
    build_layout,
    draw_mosaic,
    label_step,
    overhang,
)
from aekit.plotting.style import GREY, SMALL_FONT_SIZE, VERMILION, figure_style, text_size

_SIDE_GAP = 3 * PAD  # between the path and the images at its ends
_BLOCK_GAP = 5 * PAD  # between blocks side by side
_ALPHA = "alpha"  # heading of the positions along the path
_MAX_ASPECT = 1.6  # height over width of all images together, where possible


@dataclass(frozen=True)
class PathRow:
    """One path.

    Attributes:
        label: Written on the left.
        images: Images along it, (S, C, H, W), uint8 or floats in [0, 1].
        start: Shown to its left, (C, H, W).
        end: Shown to its right, (C, H, W); None for a walk without an end.
    """

    label: str
    images: Array
    start: Array
    end: Array | None = None


@dataclass(frozen=True)
class PathBlock:
    """Paths that belong together, such as those of several models between the same images.

    Attributes:
        heading: Written above them, or instead of the row's label if every block has a single row.
        rows: The paths.
    """

    heading: str
    rows: list[PathRow]


def plot_paths(
    blocks: Sequence[PathBlock],
    alphas: FloatArray,
    *,
    inside: tuple[float, float] | None = (0.0, 1.0),
    title: str = "",
) -> Figure:
    """Return one row per path, its images from the first alpha to the last, in blocks that have a heading.

    Blocks are stacked. Many blocks with the same labels are also placed side by side, with the labels written once.

    Args:
        blocks: All rows have one image per alpha, all of the same shape; either all have an end or none has.
        alphas: Positions along the path, (S,), ascending; written above the columns.
        inside: Range of alphas between the two ends. A line separates the extrapolation beyond, whose alphas have
            another colour. None if there is no such range.
        title: Written above all blocks.
    """
    if all(len(block.rows) == 1 for block in blocks):
        blocks = [PathBlock("", [replace(block.rows[0], label=block.heading)]) for block in blocks]
    n_across = _n_across(blocks)
    shelves = [blocks[start : start + n_across] for start in range(0, len(blocks), n_across)]
    images = np.concatenate([_row_images(shelf, row, n_across) for shelf in shelves for row in range(_n_rows(shelf))])
    labels = [row.label for shelf in shelves for row in shelf[0].rows]
    n_columns = len(images) // len(labels) // n_across
    columns = ["start", *(f"{alpha:.3g}" for alpha in alphas), "end"][:n_columns]
    cuts = _cuts(alphas, inside)
    plain = build_layout(len(labels), n_across * n_columns, images.shape[2:])
    gaps = _gaps(plain.tile_width, columns, len(alphas), cuts, widest=max(text_size(b.heading)[0] for b in blocks))
    lefts = np.cumsum([0, *(plain.tile_width + np.tile(gaps, n_across))])[:-1]
    layout = replace(plain, lefts=lefts, tops=_tops(plain.tile_height, shelves))
    with figure_style():
        beyond = overhang([columns[0], columns[-1]], layout.tile_width)
        left = PAD + max(text_size(label)[0] for label in [*labels, _ALPHA]) + PAD + beyond
        right = PAD + max(beyond, _heading_overhang(shelves, layout, n_columns))
        top = 2 * PAD + text_size("0")[1]
        figure, axes = draw_mosaic(images, layout, left=left, right=right, top=top, title=title)
        axes.autoscale(False)
        for y, label in zip(layout.centres_y, labels, strict=True):
            axes.text(-PAD - beyond, y, label, ha="right", va="center", fontsize=SMALL_FONT_SIZE)
        axes.text(-PAD - beyond, -PAD, _ALPHA, ha="right", va="bottom", fontsize=SMALL_FONT_SIZE)
        for first in range(0, len(layout.lefts), n_columns):
            _write_columns(axes, layout, first, columns, alphas, inside)
        _finish_blocks(axes, layout, shelves, n_columns, cuts)
    return figure


def _n_across(blocks: Sequence[PathBlock]) -> int:
    """Return the number of blocks side by side: as few as possible without a figure much higher than wide."""
    labels = [[row.label for row in block.rows] for block in blocks]
    if len(labels[0]) == 1 or any(other != labels[0] for other in labels):
        return 1
    row = blocks[0].rows[0]
    n_columns, (height, width) = len(row.images) + 2, row.images.shape[2:]
    for n_across in range(1, len(blocks)):
        n_rows = ceil(len(blocks) / n_across) * len(labels[0])
        if n_rows * height <= _MAX_ASPECT * n_across * n_columns * width:
            return n_across
    return len(blocks)


def _n_rows(shelf: Sequence[PathBlock]) -> int:
    return len(shelf[0].rows)


def _row_images(shelf: Sequence[PathBlock], number: int, n_across: int) -> FloatArray:
    """Return the images of one row over all blocks of a shelf, white if the last shelf has fewer blocks."""
    parts = []
    for block in shelf:
        row = block.rows[number]
        ends = [row.start[None]] if row.end is None else [row.start[None], row.end[None]]
        parts += [as_unit_floats(part) for part in (ends[0], row.images, *ends[1:])]
    joined = np.concatenate(parts)
    n_missing = len(joined) // len(shelf) * (n_across - len(shelf))
    return np.concatenate([joined, np.ones((n_missing, *joined.shape[1:]), joined.dtype)])


def _cuts(alphas: FloatArray, inside: tuple[float, float] | None) -> list[int]:
    """Return the columns of alphas that have a line before them."""
    if inside is None:
        return []
    cuts = [int(np.searchsorted(alphas, inside[0], side="left")), int(np.searchsorted(alphas, inside[1], side="right"))]
    return [cut for cut in cuts if 0 < cut < len(alphas)]


def _gaps(tile_width: int, columns: list[str], n_alphas: int, cuts: list[int], *, widest: int) -> npt.NDArray[np.int64]:
    """Return the pixels to the right of each column of a block, enough for the headings of columns and blocks.

    Args:
        tile_width: Width of an image.
        columns: Headings of the columns.
        n_alphas: Number of columns along the path.
        cuts: Alphas that have a line before them.
        widest: Width of the longest heading.
    """
    gaps = np.full(len(columns), GAP)
    gaps[0] = side = max(_SIDE_GAP, max(text_size(column)[0] for column in columns) + PAD - tile_width)
    if len(columns) == n_alphas + 2:
        gaps[n_alphas] = side
    for cut in cuts:
        gaps[cut] = PAD  # column 0 is the start, so this gap lies before the alpha of that number
    width = len(gaps) * tile_width + int(gaps[:-1].sum())
    gaps[-1] = max(_BLOCK_GAP, side, widest + _SIDE_GAP - width)
    return gaps


def _tops(tile_height: int, shelves: Sequence[Sequence[PathBlock]]) -> npt.NDArray[np.int64]:
    line = text_size("Ag0")[1]
    pitch = max(tile_height, line) + GAP  # labels of small images must not touch
    tops, y = [], 0
    for number, shelf in enumerate(shelves):
        if any(block.heading for block in shelf):
            y += line + PAD + (PAD if number else 0)
        tops += [y + pitch * row for row in range(_n_rows(shelf))]
        y += pitch * _n_rows(shelf)
    return np.array(tops)


def _heading_overhang(shelves: Sequence[Sequence[PathBlock]], layout: Layout, n_columns: int) -> int:
    """Return how many pixels the headings of the last column of blocks extend beyond it on the right."""
    n_across = len(layout.lefts) // n_columns
    widths = [text_size(shelf[-1].heading)[0] for shelf in shelves if len(shelf) == n_across]
    return max(0, max(widths) - (layout.width - int(layout.lefts[-n_columns])))


def _write_columns(
    axes: Axes,
    layout: Layout,
    first: int,
    columns: list[str],
    alphas: FloatArray,
    inside: tuple[float, float] | None,
) -> None:
    n_alphas = len(alphas)
    ends = [0, *range(n_alphas + 1, len(columns))]
    step = label_step(columns[1 : n_alphas + 1], layout.tile_width + GAP)
    # Counted from alpha 0 if there is one, so that it is labelled.
    start = 1 + int(np.argmin(np.abs(alphas))) % step
    for number in [*ends, *range(start, n_alphas + 1, step)]:
        is_beyond = inside is not None and number not in ends and not inside[0] <= alphas[number - 1] <= inside[1]
        x, colour = layout.centres_x[first + number], VERMILION if is_beyond else "black"
        axes.text(x, -PAD, columns[number], ha="center", va="bottom", fontsize=SMALL_FONT_SIZE, color=colour)


def _finish_blocks(
    axes: Axes, layout: Layout, shelves: Sequence[Sequence[PathBlock]], n_columns: int, cuts: list[int]
) -> None:
    """Write the headings, and draw the lines at the ends of the paths."""
    number = 0
    for shelf in shelves:
        top, bottom = layout.tops[number], layout.tops[number + _n_rows(shelf) - 1] + layout.tile_height
        number += _n_rows(shelf)
        for place, block in enumerate(shelf):
            first = place * n_columns
            axes.text(
                layout.lefts[first], top - PAD / 2, block.heading, ha="left", va="bottom", fontsize=SMALL_FONT_SIZE
            )
            for cut in cuts:
                x = layout.lefts[first + cut + 1] - PAD / 2
                axes.plot([x, x], [top, bottom], color=GREY, linewidth=0.8, clip_on=False)
