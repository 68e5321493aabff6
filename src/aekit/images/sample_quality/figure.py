"""Distances of samples from held-out images, beside those of real and of trivial ones; and what they look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from aekit.images.sample_quality.features import FeatureSpace
from aekit.images.sample_quality.measure import Row
from aekit.plotting.style import (
    BLUE,
    GREY,
    ORANGE,
    SMALL_FONT_SIZE,
    build_figure,
    figure_style,
    lay_out,
    shorten,
    wrap_text,
    write_title,
)

_WIDTH = 9.0  # inches
_NAME = 2.0  # of a set of images
_ROW = 0.24
_MAX_LETTERS = 60


def plot_quality(rows: Sequence[Row], spaces: Sequence[FeatureSpace], *, title: str = "") -> Figure:
    """Return a figure with three panels for each feature space: Fréchet and kernel distance, precision and recall.

    Args:
        rows: The sets of images; samples are blue, others grey.
        spaces: The feature spaces.
        title: Written at the top.
    """
    names = [wrap_text(shorten(row.label, _MAX_LETTERS), _NAME) for row in rows]
    n_lines = sum(name.count("\n") + 1 for name in names)
    with figure_style():
        figure = build_figure(_WIDTH, (max(_ROW * len(rows), 0.17 * n_lines) + 0.95) * len(spaces) + 0.4)
        panels: Any = figure.subplots(len(spaces), 3, sharey=True, squeeze=False)
        for number, (row_of_panels, space) in enumerate(zip(panels, spaces, strict=True)):
            _draw_space(row_of_panels, rows, number, space)
        panels[0, 0].set_yticks(range(len(rows)), names, fontsize=SMALL_FONT_SIZE)
        panels[0, 0].invert_yaxis()
        write_title(figure, title, _WIDTH)
        return lay_out(figure)


def _draw_space(panels: Sequence[Axes], rows: Sequence[Row], space: int, about: FeatureSpace) -> None:
    distances, kernels, overlaps = panels
    for y, row in enumerate(rows):
        found = row.quality[space]
        colour = BLUE if row.is_sampled else GREY
        for axes, estimate in ((distances, found.frechet), (kernels, found.kernel)):
            axes.plot([estimate.low, estimate.high], [y, y], color=colour)
            axes.plot(estimate.value, y, "o", color=colour, markersize=4)
        overlaps.plot(found.overlap.precision, y, "o", color=BLUE, markersize=5, clip_on=False)
        overlaps.plot(found.overlap.recall, y, "s", color=ORANGE, markersize=4, clip_on=False)
    distances.set(xlabel=f"{about.distance} in {about.name}")
    _scale(distances, rows, space)
    kernels.set(xlabel=f"kernel distance in {about.name}")
    kernels.axvline(0, color=GREY, linestyle=":", linewidth=1)
    overlaps.set(xlabel="precision (dot), recall (square)", xlim=(-0.02, 1.02))


def _scale(axes: Axes, rows: Sequence[Row], space: int) -> None:
    """Make the axis of Fréchet distances logarithmic, with numbers as ticks."""
    values = [row.quality[space].frechet.value for row in rows]
    if min(values) <= 0:  # of copies of the held-out images
        return
    axes.set_xscale("log")
    # An interval may reach zero, which is infinitely far to the left.
    left = min(max(row.quality[space].frechet.low, 0.3 * row.quality[space].frechet.value) for row in rows)
    for y, row in enumerate(rows):
        if row.quality[space].frechet.low < left:  # goes on
            axes.plot(left, y, "<", color=BLUE if row.is_sampled else GREY, markersize=4)
    axes.set_xlim(0.8 * left, 1.25 * max(row.quality[space].frechet.high for row in rows))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
