"""The figure of associations: partial correlations as a forest, and the gap by group and over numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aekit.brains.associate.analysis import GAP, GIVEN_VOLUMES, OMNIBUS, SLOPE, Nuisance, Row
from aekit.brains.figures.splits import point_size
from aekit.plotting.outside import mark_outside, padded, usual_range
from aekit.plotting.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    VERMILION,
    add_legend_below,
    build_figure,
    class_style,
    figure_style,
    finish_figure,
    shorten,
    text_inches,
)

Floats = npt.NDArray[np.float64]

_COLOURS = {GAP: BLUE, GIVEN_VOLUMES: VERMILION}
_MIN_BOX = 3
_LINE = 0.2  # inches per row of the forest
_MAX_PANELS = 6  # covariates with a panel of their own; the table has all
_PANELS_PER_ROW = 3
_MAX_CONTRASTS = 6  # with more, the forest is of the gap alone


def plot_associations(rows: Sequence[Row], nuisance: Nuisance, *, ids: Sequence[str] = (), title: str = "") -> Figure:
    """Return partial correlations of each measure with each covariate, and the gap by group or over numbers.

    A group is compared by the correlation with its indicator, so that years, mL and fractions share an axis. The drawn
    gap has what age, sex and site say of it removed; the mean of the reference, or of all, is zero. The axes span the
    usual values; participants beyond them are marked at the edge, with their names.

    Args:
        rows: All tests.
        nuisance: What is in every model.
        ids: Names of the participants that the rows of the tests count, or none.
        title: Title of the figure.
    """
    shown = [row for row in rows if row.contrast != OMNIBUS]
    every = list(dict.fromkeys(row.covariate.name for row in shown))
    covariates = every[:_MAX_PANELS]
    if len({_contrast(row) for row in shown}) > _MAX_CONTRASTS:
        shown = [row for row in shown if row.measure.name in _COLOURS]
    if len(every) > len(covariates):
        title = f"{title}; below, the first {len(covariates)} of {len(every)} columns"
    height = 0.7 + _LINE * len(shown) + 0.28 * len({_contrast(row) for row in shown})
    lines = -(-len(covariates) // _PANELS_PER_ROW)
    with figure_style():
        figure = build_figure(9.2, height + 2.9 * lines)
        upper, lower = figure.subfigures(2, 1, height_ratios=[height, 2.9 * lines], squeeze=False).ravel()
        _draw_forest(upper.subplots(), shown)
        n_columns = min(len(covariates), _PANELS_PER_ROW)
        panels = lower.subplots(lines, n_columns, squeeze=False).ravel()
        for axes, name in zip(panels, covariates, strict=False):
            own = [row for row in shown if row.covariate.name == name and row.measure.name == GAP]
            _draw_covariate(axes, own, ids)
        for axes in panels[len(covariates) :]:
            axes.set_visible(False)
        given = f" given {', '.join(nuisance.names)}" if nuisance.names else ""
        for axes in panels[::n_columns]:
            axes.set_ylabel(f"gap{given}\n(years)" if len(given) > 12 else f"gap{given} (years)")
        keys = [
            Line2D([], [], color=colour, marker="o", markersize=4, label=f"{label} with 95 % interval")
            for label, colour in _measure_keys(shown).items()
        ]
        add_legend_below(figure, keys)
        return finish_figure(figure, title)


def _measure_keys(rows: Sequence[Row]) -> dict[str, str]:
    names = {row.measure.name for row in rows}
    keys = {"partial correlation of the gap": BLUE}
    keys |= {"the same given the volumes": VERMILION} if GIVEN_VOLUMES in names else {}
    return keys | ({"of a volume of the table": GREY} if len(names) > 2 else {})


def _draw_forest(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw a line per test, grouped by covariate and contrast."""
    places: list[float] = []
    labels: list[str] = []
    heading = ("", "")
    order = list(dict.fromkeys(map(_contrast, rows)))  # whatever the measure
    place = 0.0
    for row in sorted(rows, key=lambda row: order.index(_contrast(row))):
        if _contrast(row) != heading:
            place -= 1.4 if labels else 0.0
            heading = _contrast(row)
            places.append(place)
            labels.append(f"{_contrast_name(row)}  (n = {row.fitted.n:,})")
            place -= 1.0
        colour = _COLOURS.get(row.measure.name, GREY)
        r = row.fitted.r
        axes.plot([r.low, r.high], [place, place], color=colour, linewidth=1.8, solid_capstyle="butt")
        axes.plot(r.value, place, "o", color=colour, markersize=4)
        places.append(place)
        labels.append(row.measure.name)
        place -= 1.0
    axes.axvline(0, color="#444444", linewidth=0.8)
    axes.set_yticks(places, labels)
    for tick, label in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if "(n = " in label else "normal")
    axes.set(ylim=(place + 0.3, 0.7), xlabel="partial correlation, 95 % interval")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _contrast(row: Row) -> tuple[str, str]:
    return row.covariate.name, row.contrast


def _contrast_name(row: Row) -> str:
    name = shorten(row.covariate.name, 24)
    return name if row.groups is None else f"{name}: {shorten(row.groups[0], 20)} - {shorten(row.groups[1], 20)}"


def _draw_covariate(axes: Axes, rows: Sequence[Row], ids: Sequence[str]) -> None:
    """Draw the gap of one covariate."""
    axes.axhline(0, color=GREY, linewidth=0.9, zorder=1)
    axes.set_title(shorten(rows[0].covariate.name, 30))
    if rows[0].contrast == SLOPE:
        _draw_slope(axes, rows[0], ids)
    else:
        _draw_groups(axes, rows, ids)


def _draw_slope(axes: Axes, row: Row, ids: Sequence[str]) -> None:
    x = np.asarray(row.covariate.numbers)[row.rows]
    axes.scatter(x, row.adjusted, s=point_size(len(x)), color=BLUE, linewidths=0, alpha=0.6, rasterized=True)
    ends = np.array([x.min(), x.max()])
    # Through the mean: the slope is that of the model, not of the points that are drawn.
    line = row.fitted.estimate.value * (ends - x.mean()) + row.adjusted.mean()
    axes.plot(ends, line, color=ORANGE, linewidth=1.6, zorder=4)
    axes.set_xlabel(f"{shorten(row.covariate.name, 30)} (n = {len(x):,})")
    axes.set(xlim=padded(usual_range(x)), ylim=padded(usual_range(row.adjusted)))
    mark_outside(axes, x, row.adjusted, [ids[one] for one in row.rows] if ids else ())


def _draw_groups(axes: Axes, rows: Sequence[Row], ids: Sequence[str]) -> None:
    """Draw a strip and a box per group, the reference first."""
    reference, first = rows[0].covariate.levels[0], rows[0]
    labels = np.asarray(first.covariate.labels)
    levels = [(reference, first), *((row.groups[0] if row.groups else "", row) for row in rows)]
    members = [labels[row.rows] == level for level, row in levels]
    groups = [(level, row.adjusted[own]) for (level, row), own in zip(levels, members, strict=True)]
    people = np.concatenate([row.rows[own] for (_, row), own in zip(levels, members, strict=True)])
    drawn = []
    generator = np.random.default_rng(0)
    size = point_size(len(first.rows))
    for place, (_, values) in enumerate(groups):
        x = generator.uniform(-0.38, -0.05, len(values)) + place
        axes.scatter(x, values, s=size, color=class_style(place)[0], linewidths=0, alpha=0.7, rasterized=True)
        drawn.append(x)
        if len(values) >= _MIN_BOX:
            line = {"color": BLACK, "linewidth": 0.9}
            axes.boxplot(
                values, positions=[place + 0.18], widths=0.26, showfliers=False, manage_ticks=False,
                boxprops=line, whiskerprops=line, capprops=line, medianprops={**line, "linewidth": 1.6},
            )  # fmt: skip
    names = [f"{shorten(name, 18)}\n({len(values):,})" for name, values in groups]
    widest = max(text_inches(name)[0] for name in names)
    axes.set_xticks(range(len(groups)), names, rotation=90 if widest * len(groups) > 2.4 else 0)
    everyone = np.concatenate([values for _, values in groups])
    axes.set(xlim=(-0.6, len(groups) - 0.4), ylim=padded(usual_range(everyone)))
    labelled = [ids[row] for row in people] if ids else ()
    mark_outside(axes, np.concatenate(drawn), everyone, labelled)
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="x", length=0)
