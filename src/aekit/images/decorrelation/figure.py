"""How correlated codes are: a measure against the number of latent dimensions, and the correlation matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from aekit.plotting.style import (
    BLACK,
    GREY,
    SMALL_FONT_SIZE,
    build_figure,
    figure_style,
    lay_out,
    line_style,
    mark_values,
    text_inches,
    wrap_text,
    write_title,
)

FloatArray = npt.NDArray[np.floating]

WIDTH, CURVE_HEIGHT = 9.0, 3.4  # inches
WIDE = 10.0  # with matrices to the right of the curves
MAX_STACKED = 2  # matrices; a row of no more would leave half of the figure empty
MIN_COLUMNS, MAX_COLUMNS = 3, 8
_LEGEND = 2.3  # width of the legend's text in inches


@dataclass(frozen=True)
class Curve:
    """One value for each number of latent dimensions, of models that otherwise differ in their seed only.

    Attributes:
        label: Name of the group of models.
        d: Latent dimensions, (M,), ascending.
        value: The value of the one model, or the mean over seeds, (M,).
        low: Lower ends of the intervals, (M,).
        high: Upper ends, (M,).
        n_seeds: Number of models for each number of dimensions, (M,); if there are several, the interval is over seeds.
        rotated: The value for randomly rotated axes of the codes, (M,).
        points: (d, value) of each model, (P, 2).
    """

    label: str
    d: FloatArray
    value: FloatArray
    low: FloatArray
    high: FloatArray
    n_seeds: npt.NDArray[np.integer]
    rotated: FloatArray
    points: FloatArray


@dataclass(frozen=True)
class Panel:
    """One correlation matrix.

    Attributes:
        label: Name of the group of the model.
        caption: Written above the matrix.
        matrix: Correlations, (L, L); NaN for dead dimensions.
    """

    label: str
    caption: str
    matrix: FloatArray


def plot_decorrelation(
    curves: Sequence[Curve],
    panels: Sequence[Panel],
    *,
    ylabel: str,
    floor: float = np.nan,
    ideal_is_d: bool = False,
    pca: tuple[FloatArray, FloatArray] | None = None,
    title: str = "",
) -> Figure:
    """Return a measure against the number of latent dimensions, one line per curve, above the correlation matrices.

    Args:
        curves: At least one.
        panels: Matrices; consecutive ones of the same label form a block with the label above it.
        ylabel: Name of the measure.
        floor: Its value for independent dimensions; NaN draws none.
        ideal_is_d: Whether its value for uncorrelated dimensions is d, as for a participation ratio; if not, the axis
            starts at 0.
        pca: Numbers of components and the value of their codes, each (K,), for comparison.
        title: Written at the top.
    """
    rows = _arrange(panels)
    keys = len(curves) + 5 + sum(wrap_text(curve.label, _LEGEND).count("\n") for curve in curves)  # lines of the legend
    curve_height = max(CURVE_HEIGHT, 0.165 * keys + 0.5)
    with figure_style():
        if 0 < len(panels) <= MAX_STACKED:
            rows, n_columns = _stack(rows), 1
            figure, parts, title_width = _split_across(rows, curve_height)
        else:
            n_columns = int(np.clip(max((len(row.panels) for row in rows), default=0), MIN_COLUMNS, MAX_COLUMNS))
            figure, parts, title_width = *_split_down(rows, curve_height, n_columns), WIDTH
        axes = parts[0].subplots()
        _draw_curves(axes, curves, floor=floor, ideal_is_d=ideal_is_d, pca=pca)
        axes.set(xlabel="latent dimensions d", ylabel=ylabel)
        write_title(parts[0], title, title_width)
        if rows:
            _draw_panels(parts[1], rows, n_columns)
        return lay_out(figure)


def _stack(rows: Sequence[_Row]) -> list[_Row]:
    """Return a row for each matrix."""
    return [
        _Row(wrap_text(row.label, _LEGEND) if panel is row.panels[0] else "", [panel])
        for row in rows
        for panel in row.panels
    ]


def _split_across(rows: Sequence[_Row], height: float) -> tuple[Figure, Any, float]:
    """Return a figure with room for a column of matrices to the right of the curves, its two parts, and the width left.

    All in inches.
    """
    labels = max(text_inches(row.label)[0] for row in rows)
    width = max((height - sum(text_inches(row.label)[1] for row in rows)) / len(rows) + 0.6, labels + 0.1)
    figure = build_figure(WIDE, height)
    return figure, figure.subfigures(1, 2, width_ratios=[WIDE - width, width]), WIDE - width


def _split_down(rows: list[_Row], curve_height: float, n_columns: int) -> tuple[Figure, Any]:
    """Return a figure with room for rows of matrices below the curves, and its parts."""
    height = sum(WIDTH / n_columns + 0.15 + (text_inches(row.label)[1] + 0.05 if row.label else 0) for row in rows)
    figure = build_figure(WIDTH, curve_height + height)
    parts: Any = figure.subfigures(2, 1, height_ratios=[curve_height, height]) if rows else [figure]
    return figure, parts


class _Row(NamedTuple):
    label: str  # written above it; empty if it continues the row before, or if there is only one label
    panels: list[Panel]


def _arrange(panels: Sequence[Panel]) -> list[_Row]:
    blocks = [(label, list(block)) for label, block in groupby(panels, key=lambda panel: panel.label)]
    several = len(blocks) > 1
    return [
        _Row(wrap_text(label, WIDTH - 1.3) if start == 0 and several else "", block[start : start + MAX_COLUMNS])
        for label, block in blocks
        for start in range(0, len(block), MAX_COLUMNS)
    ]


def _draw_curves(
    axes: Axes,
    curves: Sequence[Curve],
    *,
    floor: float,
    ideal_is_d: bool,
    pca: tuple[FloatArray, FloatArray] | None,
) -> None:
    keys: list[Any] = []
    for number, curve in enumerate(curves):
        colour, marker = line_style(number)
        _draw_curve(axes, curve, colour, marker)
        keys.append(Line2D([], [], color=colour, marker=marker, markersize=4, label=wrap_text(curve.label, _LEGEND)))
    several = np.concatenate([curve.n_seeds > 1 for curve in curves])
    if several.any():
        keys.append(Line2D([], [], color=GREY, marker=".", markersize=5, linestyle="none", label="single seeds"))
    if any((curve.high > curve.low)[curve.n_seeds > 1].any() for curve in curves):
        keys.append(Patch(color=GREY, alpha=0.35, linewidth=0, label="95 % interval over seeds"))
    if (~several).any():
        keys.append(
            Line2D([], [], color=GREY, marker="|", markersize=9, linestyle="none", label="95 % interval over images")
        )
    if any(np.isfinite(curve.rotated).any() for curve in curves):
        keys.append(Line2D([], [], color=GREY, linestyle=":", label="randomly rotated axes"))
    ends = _limits(curves)
    if ideal_is_d:
        d = np.linspace(*ends, 200)  # a curve where the axis is logarithmic
        keys += axes.plot(d, d, color=GREY, linestyle="--", linewidth=1, label="uncorrelated: d")
    elif np.isfinite(floor):
        keys.append(axes.axhline(floor, color=GREY, linestyle="--", linewidth=1, label="independent dimensions"))
    if pca is not None:
        keys += axes.plot(*pca, color=BLACK, marker="x", markersize=4, linewidth=0.8, label="PCA of these images")
    _scale_d(axes, *ends, np.concatenate([curve.d for curve in curves]).tolist())
    if not ideal_is_d:
        axes.set_ylim(bottom=0, top=None)
        axes.set_ylim(bottom=-0.02 * axes.get_ylim()[1])  # so that a line at zero is not cut off
    axes.legend(handles=keys, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    low, high = min(float(curve.d.min()) for curve in curves), max(float(curve.d.max()) for curve in curves)
    return (low, high) if low < high else (low - 1, low + 1)


def _scale_d(axes: Axes, low: float, high: float, measured: Sequence[float]) -> None:
    margin = 0.04
    if high > 20 * max(low, 1):  # such as from 2 to 100, most of which a linear axis would squeeze into a corner
        axes.set_xscale("log")
        axes.set_xlim(low / (high / low) ** margin, high * (high / low) ** margin)
    else:
        axes.set_xlim(low - margin * (high - low), high + margin * (high - low))
    mark_values(axes, measured, gap=0.06)


def _draw_curve(axes: Axes, curve: Curve, colour: str, marker: str) -> None:
    several = curve.n_seeds > 1
    for chosen in _runs(several):
        low, high = _doubled(curve.low[chosen]), _doubled(curve.high[chosen])
        axes.fill_between(_widened(curve.d[chosen]), low, high, color=colour, alpha=0.18, linewidth=0)
    if several.any():
        axes.plot(*curve.points.T, ".", color=colour, markersize=2.5, alpha=0.6)
    axes.vlines(curve.d[~several], curve.low[~several], curve.high[~several], color=colour, linewidth=1)
    known = np.isfinite(curve.rotated)
    if known.any():
        axes.plot(_widened(curve.d[known]), _doubled(curve.rotated[known]), color=colour, linestyle=":", linewidth=1.2)
    axes.plot(curve.d, curve.value, color=colour, marker=marker, markersize=4)


def _runs(mask: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.intp]]:
    """Return the indices of each run of True."""
    found = np.flatnonzero(mask)
    return [run for run in np.split(found, np.flatnonzero(np.diff(found) > 1) + 1) if len(run)]


def _widened(d: FloatArray) -> FloatArray:
    """Return the positions of a line; a single one becomes the ends of a dash, or it would be invisible."""
    return d if len(d) > 1 else np.array([d[0] - 0.15, d[0] + 0.15])


def _doubled(values: FloatArray) -> FloatArray:
    return values if len(values) > 1 else values.repeat(2)


def _write_heading(axes: Axes, heading: str) -> None:
    """Write the name of a row above the caption of its first panel; it reserves its height, but not its width."""
    above = 2 + 1.3 * SMALL_FONT_SIZE  # the caption
    for text, makes_room in ((heading, False), ("\n".join(" " for _ in heading.splitlines()), True)):
        written = axes.annotate(
            text, (0, 1), (0, above), "axes fraction", "offset points", va="bottom", fontsize=SMALL_FONT_SIZE
        )
        written.set_in_layout(makes_room)


def _draw_panels(figure: SubFigure, rows: Sequence[_Row], n_columns: int) -> None:
    grid = figure.subplots(len(rows), n_columns, squeeze=False)
    colours = colormaps["RdBu_r"].with_extremes(bad="#bbbbbb")
    for axes_row, (label, panels) in zip(grid, rows, strict=True):
        for axes, panel in zip(axes_row, panels, strict=False):
            image = axes.imshow(panel.matrix, cmap=colours, vmin=-1, vmax=1)
            axes.grid(False)
            axes.set(xticks=[], yticks=[])
            axes.set_title(panel.caption, fontsize=SMALL_FONT_SIZE, pad=2)
            if label and panel is panels[0]:
                _write_heading(axes, label)
        for axes in axes_row[len(panels) :]:
            if len(rows) > 1:
                axes.set_visible(False)  # its place keeps the colour bar away from the headings
            else:
                axes.remove()
    drawn = [axes for axes_row in grid for axes in axes_row if axes.figure is not None]
    bar = figure.colorbar(
        image, ax=drawn, shrink=min(1.0, 1.6 / len(rows)), aspect=20 / max(1, len(rows) / 2), pad=0.01
    )
    bar.set_label("Pearson r")
