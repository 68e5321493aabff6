"""The measures of a cohort: their distributions, correlations, and how they vary with age, sex and scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from aekit.brains.figures.sexes import (
    GROUPS,
    choose_points,
    describe_choice,
    draw_sex_legend,
    scatter_by_sex,
    split_by_sex,
)
from aekit.brains.measures.age_trend import SexArray, SmoothLine
from aekit.plotting.outside import is_outside, mark_outside, padded, usual_range
from aekit.plotting.style import (
    BLACK,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SMALL_FONT_SIZE,
    axis_label,
    build_figure,
    figure_style,
    finish_figure,
    shorten,
)

FloatArray = npt.NDArray[np.floating]

WIDTH_INCHES = 9.2


class Estimate(NamedTuple):
    """A value with its label, the ends of its interval, and the group of rows that it belongs to."""

    label: str
    value: float
    low: float
    high: float
    group: str = ""


def plot_distributions(
    values: FloatArray,
    sex: SexArray,
    *,
    names: Sequence[str],
    ids: Sequence[str] = (),
    unit: str = "",
    title: str = "",
) -> Figure:
    """Return one panel per measure with its density by sex, and the medians as marks on the axis.

    The axes span the usual values; participants beyond them are marked at the edge, with their names.

    Args:
        values: Measures, (N, P), NaN where missing.
        sex: "F", "M" or NaN, (N,).
        names: Names of the measures.
        ids: Names of the participants, (N,), or none.
        unit: Unit of all of them.
        title: Title of the figure.
    """
    groups = split_by_sex(sex)
    with figure_style():
        figure = build_figure(WIDTH_INCHES, 2.8)
        all_axes = np.atleast_1d(figure.subplots(1, len(names)))
        for axes, column, name in zip(all_axes, values.T, names, strict=True):
            known = column[np.isfinite(column)]
            edges = _value_edges(known)
            for key, rows in groups.items():
                own = column[rows & np.isfinite(column)]
                if len(own) == 0:
                    continue
                style = GROUPS[key]
                axes.hist(own, bins=edges.tolist(), density=True, color=style.colour, alpha=0.25)
                axes.hist(
                    own, bins=edges.tolist(), density=True, histtype="step", color=style.colour, linestyle=style.dashes
                )
                axes.plot(np.median(own), 0, marker=style.marker, color=style.colour, clip_on=False, zorder=5)
            axes.set(xlabel=axis_label(name, unit), yticks=[])
            axes.grid(False)
            axes.spines["left"].set_visible(False)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.set(xlim=padded((float(edges[0]), float(edges[-1]))), ylim=(0, axes.get_ylim()[1]))
            mark_outside(axes, column, np.zeros(len(column)), ids)
        all_axes[0].set_ylabel("density")
        draw_sex_legend(figure, groups, lines=True)
        return finish_figure(figure, title)


def _value_edges(known: FloatArray) -> FloatArray:
    """Return the edges of bins over the usual values: absurd ones would press all others into a single bin."""
    if len(known) == 0:
        return np.array([0.0, 1.0])
    inside = known[~is_outside(known, usual_range(known))]
    return np.asarray(np.histogram_bin_edges(inside, bins=int(np.clip(1.2 * np.sqrt(len(inside)), 8, 40))))


def plot_correlations(
    matrices: Sequence[FloatArray], names: Sequence[Sequence[str]], *, captions: Sequence[str], title: str = ""
) -> Figure:
    """Return correlation matrices side by side, with the coefficients written into the cells.

    Args:
        matrices: Each (P, P), in [-1, 1]; NaN is left blank.
        names: Names of the rows of each matrix.
        captions: Caption of each matrix.
        title: Title of the figure.
    """
    with figure_style():
        figure = build_figure(0.8 + 3.9 * len(matrices), 4.3)
        all_axes = np.atleast_1d(figure.subplots(1, len(matrices)))
        image = None
        for axes, matrix, labels, caption in zip(all_axes, matrices, names, captions, strict=True):
            image = axes.imshow(matrix, cmap=colormaps["RdBu_r"], vmin=-1, vmax=1)
            places = np.arange(len(labels))
            axes.set_xticks(places, labels, rotation=35, ha="right", rotation_mode="anchor")
            axes.set_yticks(places, labels)
            axes.tick_params(length=0)
            axes.grid(False)
            axes.spines[:].set_visible(False)
            axes.set_title(caption)
            for i, j in np.argwhere(np.isfinite(matrix)):
                colour = "white" if abs(matrix[i, j]) > 0.6 else "#222222"
                text = f"{matrix[i, j]:+.2f}".replace("-", "\N{MINUS SIGN}")
                axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=SMALL_FONT_SIZE)
        if image is not None:
            figure.colorbar(image, ax=all_axes.tolist(), label="Pearson r", shrink=0.75, pad=0.02)
        return finish_figure(figure, title)


def plot_against_age(
    age_years: FloatArray,
    values: FloatArray,
    sex: SexArray,
    *,
    names: Sequence[str],
    trends: Sequence[Mapping[str, SmoothLine]],
    ids: Sequence[str] = (),
    unit: str = "",
    title: str = "",
) -> Figure:
    """Return one panel per measure against age: points, and a smooth line with its interval for each sex.

    The axes span the usual values; participants beyond them are marked at the edge, with their names.

    Args:
        age_years: Ages, (N,), none missing.
        values: Measures, (N, P), NaN where missing.
        sex: "F", "M" or NaN, (N,).
        names: Names of the measures.
        trends: For each measure, the lines by sex ("F", "M", "" for unknown).
        ids: Names of the participants, (N,), or none.
        unit: Unit of all measures.
        title: Title of the figure.
    """
    groups = split_by_sex(sex)
    shown = choose_points(len(age_years))
    with figure_style():
        figure = build_figure(WIDTH_INCHES, 3.3)
        all_axes = np.atleast_1d(figure.subplots(1, len(names), sharex=True))
        for axes, column, name, lines in zip(all_axes, values.T, names, trends, strict=True):
            scatter_by_sex(axes, age_years, column, groups, shown)
            for key, line in lines.items():
                style = GROUPS[key]
                axes.fill_between(line.age_years, line.low, line.high, color=style.colour, alpha=0.22, linewidth=0)
                axes.plot(line.age_years, line.value, color="white", linewidth=3.0)
                axes.plot(line.age_years, line.value, color=style.colour, linestyle=style.dashes, linewidth=1.8)
            axes.set(xlim=padded(usual_range(age_years)), ylim=padded(usual_range(column)))
            mark_outside(axes, age_years, column, ids)
            axes.set(xlabel="age (years)", title=axis_label(name, unit))
        draw_sex_legend(figure, groups, lines=True, note=describe_choice(shown, len(age_years)))
        return finish_figure(figure, title)


def plot_sex_differences(
    estimates: Sequence[Estimate], given_age: Sequence[Estimate] = (), *, title: str = ""
) -> Figure:
    """Return Cohen's d of each measure with its interval, positive where male participants have more.

    Args:
        estimates: One per row, from top to bottom; rows of the same group must follow each other.
        given_age: The same at equal age, drawn with open markers below the others; empty for none.
        title: Title of the figure.
    """
    groups = list(dict.fromkeys(each.group for each in estimates))
    places = [-(row + 0.6 * groups.index(each.group)) for row, each in enumerate(estimates)]
    with figure_style():
        figure = build_figure(WIDTH_INCHES * 0.74, 1.3 + 0.34 * len(estimates))
        axes = figure.subplots()
        axes.axvspan(-0.2, 0.2, color="#eeeeee", zorder=0)
        axes.axvline(0, color="#444444", linewidth=0.8)
        _draw_estimates(axes, estimates, [place + 0.13 for place in places], groups, is_open=False)
        _draw_estimates(axes, given_age, [place - 0.15 for place in places][: len(given_age)], groups, is_open=True)
        axes.set_yticks(places, [each.label for each in estimates])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="Cohen's d, male minus female, with 95 % interval (positive: larger in males)")
        axes.set_ylim(min(places) - 0.7, 0.7)
        if given_age:
            keys = [
                Line2D([], [], color=GREY, marker="o", label="all ages"),
                Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linewidth=0.9, label="at the same age"),
            ]
            figure.legend(handles=keys, loc="outside lower center", ncols=2)
        return finish_figure(figure, title)


def _draw_estimates(
    axes: Axes, estimates: Sequence[Estimate], places: Sequence[float], groups: Sequence[str], *, is_open: bool
) -> None:
    for place, each in zip(places, estimates, strict=True):
        colour, marker = ((GREEN, "o"), (PURPLE, "s"), (ORANGE, "^"))[groups.index(each.group) % 3]
        axes.plot([each.low, each.high], [place, place], color=colour, linewidth=0.9 if is_open else 2)
        face = "white" if is_open else colour
        axes.plot(each.value, place, marker=marker, color=colour, markerfacecolor=face, markersize=5, linestyle="")


def plot_brain_volume(
    table_ml: FloatArray,
    brain_ml: FloatArray,
    sex: SexArray,
    *,
    slope: float,
    caption: str,
    columns: str = "gmv + wmv + csfv",
    ids: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Return the brain-mask volume of each scan against the volume of the head by the table.

    The axes span the usual values; scans beyond them are marked at the edge, with their names.

    Args:
        table_ml: Sum of the tissue volumes, or another volume of the head, in mL, (N,), NaN where missing.
        brain_ml: Brain-mask volume in mL, (N,), NaN where missing.
        sex: "F", "M" or NaN, (N,).
        slope: Median ratio of the two, drawn as a line next to that of equality.
        caption: Caption of the panel.
        columns: What ``table_ml`` is in the table.
        ids: Names of the participants, (N,), or none.
        title: Title of the figure.
    """
    groups = split_by_sex(sex)
    shown = choose_points(len(table_ml))
    with figure_style():
        figure = build_figure(WIDTH_INCHES * 0.6, 3.8)
        axes = figure.subplots()
        scatter_by_sex(axes, table_ml, brain_ml, groups, shown)
        both = np.isfinite(table_ml) & np.isfinite(brain_ml)
        limits = padded(usual_range(table_ml[both])), padded(usual_range(brain_ml[both]))
        axes.set(xlim=limits[0], ylim=limits[1])
        ends = np.array(limits[0])
        keys = []
        if np.isfinite(slope) and abs(slope - 1) > 0.02:
            keys += axes.plot(
                ends, slope * ends, color=BLACK, linewidth=0.9, zorder=1, label=f"{slope:.3g} times the table"
            )
        if 0.2 < slope < 5:
            keys += axes.plot(ends, ends, color=BLACK, linewidth=0.9, linestyle=":", zorder=1, label="equal")
        mark_outside(axes, table_ml, brain_ml, ids)
        axes.set(
            xlabel=f"{shorten(columns, 40)} of the table (mL)",
            ylabel="brain-mask volume of the scan (mL)",
            title=caption,
        )
        note = describe_choice(shown, len(table_ml))
        draw_sex_legend(figure, groups, lines=False, note=note, others=keys)
        return finish_figure(figure, title)
