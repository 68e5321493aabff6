"""Residuals of predictions by age, sex and site."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from aekit.brains.figures.sexes import GROUPS
from aekit.brains.figures.splits import Labels, draw_points, point_size, split_names, to_names
from aekit.brains.measures.regression import natural_key
from aekit.plotting.outside import mark_outside, padded, usual_range
from aekit.plotting.style import (
    BLACK,
    GREY,
    add_legend_below,
    axis_label,
    build_figure,
    class_style,
    figure_style,
    finish_figure,
    shorten,
)

FloatArray = npt.NDArray[np.floating]

_MAX_GROUPS = 12  # strips side by side; of more sites the largest are shown
_MIN_BOX = 3  # participants for a box
_NORMAL_95 = 1.96  # standard deviations either side hold 95 % of a normal distribution


def plot_residuals(
    residuals: FloatArray,
    *,
    age_years: FloatArray,
    sex: Labels,
    site: Labels | None = None,
    ids: Sequence[str] = (),
    quantity: str = "age",
    unit: str = "years",
    title: str = "",
) -> Figure:
    """Return residuals by age, sex and site, to show for which participants a model errs.

    Over age, a line joins the means of bins with equal numbers of participants, with their 95 % intervals. By sex and
    site, each participant is a point next to a box of the quartiles with whiskers to 1.5 interquartile ranges. The axes
    span the usual values; points beyond them are marked at the edge, in the first panel with the participant.

    Args:
        residuals: Predicted minus true values of participants that the model was not trained on, (N,).
        age_years: Their ages, (N,).
        sex: Their sexes, (N,); None and NaN are a group called ``missing``.
        site: Their sites, (N,), of which the twelve largest are shown, sorted by name; None leaves the panel out.
        ids: The participants, (N,), to name those beyond the axes; empty if they are not known.
        quantity: Name of what was predicted.
        unit: Its unit.
        title: Title of the figure.
    """
    by_site = [] if site is None else _largest_groups(site)
    widths = [3.6, 1.9] + ([max(1.9, 0.6 + 0.52 * len(by_site))] if by_site else [])
    with figure_style():
        figure = build_figure(sum(widths) + 0.6, 4.2 if any(map(_is_long, by_site)) else 3.0)
        grid = figure.subplots(1, len(widths), sharey=True, width_ratios=widths)
        grid[0].set(xlim=padded(usual_range(age_years)), ylim=padded(usual_range(residuals)))
        _draw_over_age(grid[0], age_years, residuals)
        mark_outside(grid[0], age_years, residuals, ids)
        _draw_strips(grid[1], residuals, sex, sorted(split_names(sex)), "sex")
        if site is not None:
            n_sites = len(split_names(site))
            heading = "site" if n_sites == len(by_site) else f"the {len(by_site)} largest of {n_sites} sites"
            _draw_strips(grid[2], residuals, site, by_site, heading)
        for axes in grid:
            axes.axhline(0, color=GREY, linewidth=0.9, zorder=1)
        grid[0].set_ylabel(axis_label(f"predicted minus true {quantity}", unit))
        add_legend_below(figure, _keys(len(residuals)))
        return finish_figure(figure, title)


def _n_bins(n: int) -> int:
    return int(np.clip(n // 12, 1, 10))


def _keys(n: int) -> list[Line2D]:
    """Return the entries of the legend for ``n`` participants."""
    keys = [Line2D([], [], color=GREY, marker="o", markersize=3.5, linestyle="none", label="a participant")]
    if n >= 2 * _n_bins(n):
        what = "mean of all" if _n_bins(n) == 1 else "means by age, of equal numbers of participants,"
        label = f"{what} with 95 % interval"
        keys.append(Line2D([], [], color=BLACK, linewidth=1.2, marker="o", markersize=3.5, label=label))
    if n >= _MIN_BOX:
        label = "median, quartiles, and whiskers of up to 1.5 interquartile ranges"
        box = Line2D(
            [], [], color=BLACK, marker="s", markersize=6, markerfacecolor="none", linestyle="none", label=label
        )
        keys.append(box)
    return keys


def _draw_over_age(axes: Axes, age_years: FloatArray, residuals: FloatArray) -> None:
    draw_points(axes, age_years, residuals, "")
    n_bins = _n_bins(len(residuals))
    binned = np.array_split(np.argsort(age_years, kind="stable"), n_bins)
    ages = [float(np.mean(age_years[rows])) for rows in binned]
    means = np.array([np.mean(residuals[rows]) for rows in binned])
    if len(residuals) >= 2 * n_bins:
        errors = np.array([np.std(residuals[rows], ddof=1) / np.sqrt(len(rows)) for rows in binned])
        axes.errorbar(
            ages, means, yerr=_NORMAL_95 * errors, color=BLACK, elinewidth=0.9, capsize=2, linewidth=1.2, marker="o",
            markersize=3.5, zorder=4,
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
    axes.set(xlabel="true age (years)", title="by age, with means of equal-sized bins" if n_bins > 1 else "by age")


def _draw_strips(axes: Axes, residuals: FloatArray, groups: Labels, shown: Sequence[str], heading: str) -> None:
    names = to_names(groups)
    generator = np.random.default_rng(0)
    ticks, outside = [], []
    for place, name in enumerate(shown):
        own = residuals[names == name]
        colour = _sex_colour(name) if heading == "sex" else class_style(place)[0]
        size = point_size(len(residuals))
        scatter = generator.uniform(-0.38, -0.05, len(own)) + place
        axes.scatter(scatter, own, s=size, color=colour, linewidths=0, alpha=0.7, rasterized=True)
        outside.append((scatter, own))
        if len(own) >= _MIN_BOX:
            line = {"color": BLACK, "linewidth": 0.9}
            axes.boxplot(
                own, positions=[place + 0.18], widths=0.26, showfliers=False, manage_ticks=False,
                boxprops=line, whiskerprops=line, capprops=line, medianprops={**line, "linewidth": 1.6},
            )  # fmt: skip
        ticks.append(f"{shorten(name, 22)}\n({len(own):,})")
    axes.set_xticks(range(len(shown)), ticks, rotation=90 if any(map(_is_long, shown)) else 0)
    axes.set(xlim=(-0.6, len(shown) - 0.4), title=f"by {heading}" if len(heading) < 8 else heading)
    mark_outside(axes, *np.concatenate([np.stack(pair) for pair in outside], axis=1), has_labels=False)
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="x", length=0)


def _sex_colour(name: str) -> str:
    return GROUPS[name].colour if name in GROUPS else GREY


def _is_long(name: str) -> bool:
    return len(name) > 8  # for a strip


def _largest_groups(labels: Labels) -> list[str]:
    names, counts = np.unique(to_names(labels).astype(str), return_counts=True)
    return sorted((str(name) for name in names[np.argsort(-counts, kind="stable")][:_MAX_GROUPS]), key=natural_key)
