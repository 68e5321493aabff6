"""Errors of age at each site: mean absolute error, and whether a model's ages are too high or too low there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aekit.brains.figures.sites import MAX_SITES
from aekit.plotting.outside import mark_outside, padded, usual_range
from aekit.plotting.style import (
    BLACK,
    GREY,
    add_legend_below,
    build_figure,
    class_style,
    figure_style,
    finish_figure,
    shorten,
)

_HEIGHT_OF_POINT = 0.14  # inches


def plot_site_errors(table: pd.DataFrame, models: Sequence[str], *, title: str = "") -> Figure:
    """Return two panels with a row per site: MAE, and mean of predicted minus true age, with 95 % intervals.

    The axes span the usual values; those beyond are marked at the edge, with site and model.

    Args:
        table: Columns ``model``, ``site``, ``n``, ``mae``, ``mae_low``, ``mae_high``, ``bias``, ``bias_low`` and
            ``bias_high`` in years; intervals may be NaN. Of more than forty sites the largest are drawn.
        models: Models to draw, in this order; those that the table lacks are left out.
        title: Title of the figure.
    """
    drawn = [model for model in models if (table["model"] == model).any()]
    sizes = table[table["model"] == drawn[0]].set_index("site")["n"].sort_values(ascending=False, kind="stable")
    sites = sorted(sizes.index[:MAX_SITES])
    with figure_style():
        figure = build_figure(7.6, 1.3 + len(sites) * (0.14 + _HEIGHT_OF_POINT * len(drawn)))
        left, right = figure.subplots(1, 2, sharey=True)
        shifts = {model: (number - (len(drawn) - 1) / 2) * 0.7 / len(drawn) for number, model in enumerate(drawn)}
        for number, model in enumerate(drawn):
            own = table[table["model"] == model].set_index("site")
            for axes, name in ((left, "mae"), (right, "bias")):
                _draw_points(axes, own, sites, name, shifts[model], number)
        left.set_yticks(range(len(sites)), [f"{shorten(str(site), 24)} ({sizes[site]:,})" for site in sites])
        left.set_ylim(len(sites) - 0.4, -0.6)
        left.set(xlabel="mean absolute error (years)", ylabel="site (participants)")
        shown = table[table["model"].isin(drawn) & table["site"].isin(sites)]
        left.set_xlim(0, 1.05 * _usual_ends(shown, "mae")[1] or 1.0)
        right.set_xlim(padded(_usual_ends(shown, "bias")))
        right.set_xlabel("mean of predicted minus true age (years)")
        right.axvline(0, color=GREY, linewidth=0.9, zorder=1)
        for axes, name in ((left, "mae"), (right, "bias")):
            labels = [f"{row.site}, {row.model}" for row in shown.itertuples()]
            y = np.array([sites.index(site) for site in shown["site"]], float)
            mark_outside(axes, shown[name].to_numpy(float), y + shown["model"].map(shifts).to_numpy(float), labels)
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
            for place in range(1, len(sites)):
                axes.axhline(place - 0.5, color="#e3e3e3", linewidth=0.6, zorder=0)
        keys = [_key(number, model) for number, model in enumerate(drawn)]
        keys.append(Line2D([], [], color=BLACK, linewidth=1.1, label="95 % interval"))
        add_legend_below(figure, keys)
        return finish_figure(figure, title)


def _usual_ends(table: pd.DataFrame, name: str) -> tuple[float, float]:
    """Return the usual range of a column and of the ends of its intervals."""
    low, high = usual_range(table[name].to_numpy(float))
    ends = usual_range(table[[f"{name}_low", f"{name}_high"]].to_numpy(float), table[name].to_numpy(float))
    return min(low, ends[0]), max(high, ends[1])


def _draw_points(axes: Axes, own: pd.DataFrame, sites: Sequence[str], name: str, shift: float, number: int) -> None:
    colour, marker = class_style(number)
    present = [site for site in sites if site in own.index]
    y = [sites.index(site) + shift for site in present]
    value, low, high = (own.loc[present, column].to_numpy(float) for column in (name, f"{name}_low", f"{name}_high"))
    ends = np.nan_to_num(np.stack([value - low, high - value]))
    axes.errorbar(value, y, xerr=ends, color=colour, marker=marker, markersize=4.5, linestyle="", elinewidth=1.1)


def _key(number: int, model: str) -> Line2D:
    colour, marker = class_style(number)
    return Line2D([], [], color=colour, marker=marker, markersize=4.5, linestyle="none", label=shorten(model, 40))
