"""Two-dimensional maps of codes, coloured by class, one panel per model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aekit.images.figures.mosaic import PAD
from aekit.plotting.scatter import class_keys, draw_classes, draw_density
from aekit.plotting.style import (
    CLASS_MARKERS,
    CLASSES_PER_MARKER,
    DPI,
    FONT_SIZE,
    MARGIN,
    SMALL_FONT_SIZE,
    build_figure,
    figure_style,
    lay_out,
    text_inches,
    text_size,
    wrap_text,
    write_title,
)

FloatArray = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]

MAX_STYLES = CLASSES_PER_MARKER * len(CLASS_MARKERS)
# More points than this hide each other even as the smallest dots: 60,000 of one pixel fill a quarter of a panel.
MAX_DOTS = 100_000
_FEW_POINTS = 100  # no more need a smaller panel
_LOWEST_ASPECT = 0.6  # of height to width of a panel
_CELL_INCHES = 0.01  # one and a half pixels


@dataclass(frozen=True)
class EmbeddingPanel:
    """One map.

    Attributes:
        title: Which model it is of; may be empty if there is only one.
        measures: How faithful it is, in words, one line each.
        points: Positions, (N, 2).
        axis_names: Names of the axes.
    """

    title: str
    measures: tuple[str, ...]
    points: FloatArray
    axis_names: tuple[str, str]


def plot_embeddings(
    panels: Sequence[EmbeddingPanel], labels: Labels | None, class_names: Sequence[str] = (), *, title: str = ""
) -> Figure:
    """Return the maps side by side, with one legend for all: as dots, or if there are too many, as density.

    Args:
        panels: At least one; all show the same images.
        labels: Class of each image, (N,); None draws all points in grey.
        class_names: One name per class; with more than eighty classes, whose colours and markers repeat, there is no
            legend.
        title: Written above all panels.
    """
    n_columns = count_columns(len(panels))
    n_rows = ceil(len(panels) / n_columns)
    n_points = len(panels[0].points)
    side = panel_inches(len(panels), n_points)
    aspect = 1.0 if n_points > MAX_DOTS else _panel_aspect(panels)
    with figure_style():
        texts = [_panel_text(panel, side) for panel in panels]
        above = max(text_inches(text)[1] for text in texts) + 0.1
        legend_inches, n_legend_columns = _legend_size(labels, class_names, n_rows * (aspect * side + above))
        width = n_columns * (side + 0.4) + legend_inches
        title_inches = (
            text_inches(wrap_text(title, width - legend_inches - 2 * MARGIN, FONT_SIZE), FONT_SIZE)[1] if title else 0
        )
        height = n_rows * (aspect * side + above + 0.3) + title_inches + 0.15
        figure = build_figure(width, height)
        axes = figure.subplots(n_rows, n_columns, squeeze=False)
        for place in axes.flat[len(panels) :]:
            place.set_axis_off()
        for place, panel, text in zip(axes.flat, panels, texts, strict=False):
            _draw_panel(place, panel, labels, text, side=side, aspect=aspect)
        write_title(figure, title, width, room=legend_inches)
        if labels is not None and n_legend_columns:
            keys = class_keys(labels, class_names)
            figure.legend(handles=keys, loc="outside right upper", ncols=n_legend_columns, columnspacing=1.0)
        return lay_out(figure)


def count_columns(n_panels: int) -> int:
    """Return the number of panels per row: up to three in one row, more in a near-square."""
    return n_panels if n_panels <= 3 else ceil(sqrt(n_panels))


def panel_inches(n_panels: int, n_points: int) -> float:
    """Return the width of a panel in inches; the more panels and the fewer points, the smaller."""
    if n_panels == 1:
        return 6.0 if n_points > _FEW_POINTS else 4.2
    return 4.2 if n_panels <= 4 else 3.0


def point_size(n_points: int, side_inches: float) -> float:
    """Return the diameter of a dot in points of 1/72 inch, such that together they would cover a fifth of the panel.

    It is at most 5, and up to 10 while the dots cover a fortieth of the panel.
    """
    side = side_inches * 72 / sqrt(max(n_points, 1))
    return float(np.clip(side * sqrt(0.25), 1.0, np.clip(side * sqrt(0.03), 5.0, 10.0)))


def square_range(points: FloatArray) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (low, high) of x and of y, equally wide, around points, (N, 2), so that both axes have the same scale."""
    return _range_of(points, aspect=1.0)


def _range_of(points: FloatArray, *, aspect: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (low, high) of x and of y around points on axes whose height is ``aspect`` of their width."""
    low, high = points.min(axis=0), points.max(axis=0)
    width, height = (high - low).tolist()
    middle, half = (low + high) / 2, 0.53 * max(width, height / aspect, 1e-12)
    x, y = (
        (float(centre - extent), float(centre + extent))
        for centre, extent in zip(middle, (half, aspect * half), strict=True)
    )
    return x, y


def _panel_aspect(panels: Sequence[EmbeddingPanel]) -> float:
    """Return the height of panels as a fraction of their width that has room for the points of each."""
    extents = [np.ptp(panel.points, axis=0) for panel in panels]
    return float(np.clip(max(height / max(width, 1e-12) for width, height in extents), _LOWEST_ASPECT, 1.0))


def _draw_panel(
    axes: Axes, panel: EmbeddingPanel, labels: Labels | None, text: str, *, side: float, aspect: float
) -> None:
    x_range, y_range = _range_of(panel.points, aspect=aspect)
    if len(panel.points) <= MAX_DOTS:
        draw_classes(axes, panel.points, labels, size=point_size(len(panel.points), side))
    else:
        n_cells = round(side / _CELL_INCHES)
        draw_density(axes, panel.points, labels, x_range=x_range, y_range=y_range, n_cells=n_cells)
    axes.set(xlim=x_range, ylim=y_range, xticks=[], yticks=[])
    axes.set_box_aspect(aspect)
    axes.set_xlabel(panel.axis_names[0], fontsize=SMALL_FONT_SIZE)
    axes.set_ylabel(panel.axis_names[1], fontsize=SMALL_FONT_SIZE)
    axes.set_title(text, fontsize=SMALL_FONT_SIZE)


def _panel_text(panel: EmbeddingPanel, side: float) -> str:
    return "\n".join(wrap_text(part, 0.95 * side) for part in (panel.title, *panel.measures) if part)


def _legend_size(labels: Labels | None, class_names: Sequence[str], height: float) -> tuple[float, int]:
    """Return the width of the legend in inches and its number of columns, 0 if there is none."""
    if labels is None or len(labels) == 0 or int(labels.max()) >= MAX_STYLES:
        return 0.0, 0
    keys = class_keys(labels, class_names)
    # Matplotlib leaves half the height of a letter between entries.
    n_lines = max(1, int(height * 72 / (1.55 * SMALL_FONT_SIZE)) - 1)
    n_columns = ceil(len(keys) / n_lines)
    widest = max(text_size(str(key.get_label()))[0] for key in keys) / DPI
    return n_columns * (widest + 5 * SMALL_FONT_SIZE / 72) + 2 * PAD / DPI, n_columns
