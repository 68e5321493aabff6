"""Mean absolute errors with their intervals: by decade of age, and by hypothesis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from aekit.brains.figures.splits import split_key, split_names, split_style
from aekit.brains.measures.regression import MIN_INTERVAL, GroupError
from aekit.plotting.outside import usual_range
from aekit.plotting.style import (
    BLACK,
    SMALL_FONT_SIZE,
    add_legend_below,
    axis_label,
    build_figure,
    class_style,
    figure_style,
    finish_figure,
    shorten,
)


def plot_decades(
    errors: Mapping[str, Sequence[GroupError]], *, unit: str = "years", quantity: str = "age", title: str = ""
) -> Figure:
    """Return the mean absolute error in each decade of age, one bar per model with its 95 % interval if it has one.

    The axis spans the usual errors; a bar beyond it has its error written on it.

    Args:
        errors: For each model, or a label of it, its errors by group, all for the same participants.
        unit: Unit of the errors.
        quantity: Name of what was predicted.
        title: Title of the figure.
    """
    first = next(iter(errors.values()))
    inches = float(np.clip(1.2 + 0.62 * len(first) + 0.13 * len(first) * len(errors), 4.2, 13.0))
    with figure_style():
        figure = build_figure(inches, 3.2)
        axes = figure.subplots()
        width = 0.84 / len(errors)
        keys: list[Artist] = []
        for number, (model, rows) in enumerate(errors.items()):
            found = {row.group: row for row in rows}
            colour, _ = class_style(number)
            keys.append(Patch(color=colour, label=shorten(model, 60)))
            for place, group in enumerate(row.group for row in first):
                if group in found:
                    x = place + (number - (len(errors) - 1) / 2) * width
                    _draw_bar(axes, x, width * 0.92, found[group], colour)
        axes.set_xticks(range(len(first)), [f"{row.group}\n({row.n:,})" for row in first])
        axes.set(xlim=(-0.6, len(first) - 0.4), xlabel="true age in years (number of participants)")
        axes.set_ylabel(axis_label("mean absolute error" if quantity == "age" else f"MAE of {quantity}", unit))
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="x", visible=False)
        rows = [row for own in errors.values() for row in own]
        top = _top(rows)
        axes.set_ylim(0, top)
        _mark_beyond(axes, errors, [row.group for row in first], top)
        if any(map(_has_interval, rows)):
            lacks = any(not _has_interval(row) and row.n < MIN_INTERVAL for row in rows)
            label = f"95 % interval, with at least {MIN_INTERVAL} participants" if lacks else "95 % interval"
            keys.append(_bar_key(label))
        add_legend_below(figure, keys)
        return finish_figure(figure, title)


def _top(rows: Sequence[GroupError]) -> float:
    """Return the upper end of an axis for the usual errors and their intervals."""
    ends = np.array([row.high if _has_interval(row) else row.mae for row in rows])
    highest = max(usual_range(ends)[1], usual_range(np.array([row.mae for row in rows]))[1])
    return 1.05 * highest if highest > 0 else 1.0


def _mark_beyond(axes: Axes, errors: Mapping[str, Sequence[GroupError]], groups: Sequence[str], top: float) -> None:
    """Write on each bar that ends above the axis its error."""
    width = 0.84 / len(errors)
    for number, rows in enumerate(errors.values()):
        for row in rows:
            if row.mae > top:
                x = groups.index(row.group) + (number - (len(errors) - 1) / 2) * width
                text = f"\N{UPWARDS ARROW}{row.mae:.0f}"
                axes.annotate(
                    text, (x, top), (0, -3), textcoords="offset points", rotation=90, ha="center", va="top",
                    fontsize=SMALL_FONT_SIZE, color="white", fontweight="bold",
                )  # fmt: skip


def _has_interval(row: GroupError) -> bool:
    return bool(np.isfinite(row.low) and np.isfinite(row.high))


def _bar_key(label: str) -> Artist:
    """Return the entry of a legend for an error bar."""
    return Line2D([], [], color=BLACK, marker="|", markersize=9, markeredgewidth=0.8, linestyle="none", label=label)


def _draw_bar(axes: Axes, x: float, width: float, row: GroupError, colour: str) -> None:
    axes.bar(x, row.mae, width=width, color=colour, linewidth=0)
    if _has_interval(row):
        ends = [[row.mae - row.low], [row.high - row.mae]]
        axes.errorbar(x, row.mae, yerr=ends, color=BLACK, elinewidth=0.8, capsize=min(2.0, 20 * width), linestyle="")


def plot_hypotheses(
    results: pd.DataFrame, *, floor: Mapping[str, float] | None = None, unit: str = "years", title: str = ""
) -> Figure:
    """Return the mean absolute error of every hypothesis with its 95 % interval, one panel per model.

    Args:
        results: Columns ``hypothesis``, ``model``, ``split``, ``mae``, ``mae_low`` and ``mae_high`` (NaN without an
            interval), in the order to be shown.
        floor: MAE of the mean predictor in each split, drawn as a line.
        unit: Unit of the errors.
        title: Title of the figure.
    """
    models = list(dict.fromkeys(results["model"]))
    names = list(dict.fromkeys(results["hypothesis"]))
    splits = split_names(results["split"].to_numpy(object))
    with figure_style():
        figure = build_figure(1.4 + 3.1 * len(models), 1.3 + 0.16 * len(names) * (1 + len(splits)))
        grid = figure.subplots(1, len(models), sharex=True, sharey=True, squeeze=False)[0]
        for axes, model in zip(grid, models, strict=True):
            _draw_hypotheses(axes, results[results["model"] == model], names, splits)
            for split, value in (floor or {}).items():
                colour, _ = split_style(split)
                axes.axvline(value, color=colour, linewidth=1.0, linestyle=":", zorder=1)
            axes.set(title=fill(str(model), 36), xlabel=axis_label("mean absolute error", unit))
        grid[0].set_yticks(range(len(names)), [fill(str(name), 30) for name in names])
        grid[0].set_ylim(len(names) - 0.4, -0.6)
        handles = [split_key(split) for split in splits]
        handles += [
            Line2D([], [], color=split_style(split)[0], linewidth=1.0, linestyle=":", label=f"mean predictor, {split}")
            for split in floor or {}
        ]
        add_legend_below(figure, handles)
        return finish_figure(figure, title)


def _draw_hypotheses(axes: Axes, rows: pd.DataFrame, names: Sequence[str], splits: Sequence[str]) -> None:
    for number, split in enumerate(splits):
        colour, marker = split_style(split)
        own = rows[rows["split"] == split]
        shift = 0.0 if len(splits) == 1 else (number / (len(splits) - 1) - 0.5) * 0.44
        y = [names.index(name) + shift for name in own["hypothesis"]]
        mae, low, high = (own[name].to_numpy(float) for name in ("mae", "mae_low", "mae_high"))
        ends = np.nan_to_num(np.stack([mae - low, high - mae]))
        axes.errorbar(mae, y, xerr=ends, color=colour, marker=marker, markersize=4.5, linestyle="", capsize=2.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
