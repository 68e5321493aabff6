"""How splits are drawn in the figures of predictions: their colours, markers, legend, and a grid of panels."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aekit.brains.measures.regression import MISSING
from aekit.plotting.style import (
    BLACK,
    BLUE,
    PURPLE,
    VERMILION,
    add_legend_below,
    build_figure,
    class_style,
    finish_figure,
    shorten,
)

FloatArray = npt.NDArray[np.floating]
Labels = npt.NDArray[np.object_] | Sequence[object]

# The same as in learning curves; splits that the model had not seen at all are drawn last.
_SPLITS = {
    "train": (BLUE, "o"),
    "val": (VERMILION, "s"),
    "cv": (VERMILION, "o"),
    "test": (BLACK, "^"),
    "cases": (PURPLE, "X"),
    "dropped": (PURPLE, "D"),
}
_MAX_COLUMNS = 4


def build_panels(n: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``n`` panels in rows of at most four, and their axes; sizes of a panel in inches."""
    n_columns = min(n, _MAX_COLUMNS if n not in (5, 6, 9) else 3)
    n_rows = ceil(n / n_columns)
    figure = build_figure(max(width * n_columns, 3.5), height * n_rows + 0.3)
    grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes in grid[n:]:
        axes.set_visible(False)
    return figure, list(grid[:n])


def finish_panels(
    figure: Figure, splits: Sequence[str], title: str, *, is_line: bool = False, others: Sequence[Artist] = ()
) -> Figure:
    """Return the figure with a legend of the splits and others below, its title above, and its layout settled."""
    add_legend_below(figure, [*(split_key(split, is_line=is_line) for split in split_names(splits)), *others])
    return finish_figure(figure, title)


def split_key(split: str, *, is_line: bool = False) -> Line2D:
    """Return the entry of a legend for a split."""
    colour, marker = split_style(split)
    key = Line2D([], [], color=colour, marker=marker, markersize=4.5, label=shorten(split, 40))
    key.set_linestyle("-" if is_line else "none")
    return key


def draw_points(axes: Axes, x: FloatArray, y: FloatArray, split: str) -> None:
    """Draw points in the colour and marker of a split; an empty name draws all of them in blue."""
    colour, marker = split_style(split) if split else (BLUE, "o")
    size = point_size(len(x))
    axes.scatter(x, y, s=size, c=colour, marker=marker, linewidths=0, alpha=0.6, rasterized=True, zorder=3)


def point_size(n: int) -> float:
    """Return the area of a marker, in square points of 1/72 inch, for a panel of ``n`` points."""
    return float(np.clip(16 * np.sqrt(100 / max(n, 1)), 1.0, 16.0))


def split_style(split: str) -> tuple[str, str]:
    """Return the colour and marker of a split, always the same for the same name."""
    return _SPLITS.get(split) or class_style(2 + sum(map(ord, split)) % 8)


def to_names(labels: Labels) -> npt.NDArray[np.object_]:
    """Return labels as texts, (N,); None and NaN become ``missing``."""
    names = [MISSING if label is None or label != label else str(label) for label in labels]
    return np.array(names, dtype=object)


def split_names(labels: Labels) -> list[str]:
    """Return the names that occur: known splits in their usual order, then others in order of appearance."""
    found = list(dict.fromkeys(to_names(labels)))
    return [name for name in _SPLITS if name in found] + [name for name in found if name not in _SPLITS]
