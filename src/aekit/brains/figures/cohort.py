"""A cohort in figures: ages, volumes, correlations, trends with age, differences between sexes and sites, outliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from aekit.plotting.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SMALL_FONT_SIZE,
    VERMILION,
    build_figure,
    figure_style,
    lay_out,
)

FloatArray = npt.NDArray[np.floating]
SexArray = npt.NDArray[np.object_]

WIDTH = 9.2  # inches
MAX_POINTS = 5000  # of a panel; more only cover each other, and make files large
MAX_SITES = 40
_N_NAMED = 8
_SPLITS = {"train": (GREY, "o"), "val": (ORANGE, "^"), "test": (PURPLE, "s")}


class Group(NamedTuple):
    """How people of one sex are drawn: name, colour, marker and line."""

    label: str
    colour: str
    marker: str
    dashes: Literal["-", "--", ":"]


GROUPS = {
    "F": Group("women", VERMILION, "o", "-"),
    "M": Group("men", BLUE, "^", "--"),
    "": Group("sex not known", GREY, "s", ":"),
}


class Trend(NamedTuple):
    """A smooth line with the interval of the mean, each (G,)."""

    age_years: FloatArray
    value: FloatArray
    low: FloatArray
    high: FloatArray


class Estimate(NamedTuple):
    """A value with the ends of its interval, and the group of rows it is drawn with."""

    label: str
    value: float
    low: float
    high: float
    group: str = ""


def split_by_sex(sex: SexArray) -> dict[str, npt.NDArray[np.bool_]]:
    """Return who is "F", who is "M" and whose sex is not known (""), each (N,), in this order, without empty groups."""
    who = {"F": sex == "F", "M": sex == "M"}
    who[""] = ~(who["F"] | who["M"])
    return {key: rows for key, rows in who.items() if rows.any()}


def plot_ages(
    age_years: FloatArray, sex: SexArray, *, mean_years: float, median_years: float, title: str = ""
) -> Figure:
    """Return a stacked histogram of age by sex with the mean and the median age.

    Args:
        age_years: Ages, (N,), none missing.
        sex: "F", "M" or NaN, (N,).
        mean_years: Marked by a solid line.
        median_years: Marked by a dashed line.
        title: Written above.
    """
    edges = _age_edges(age_years)
    groups = split_by_sex(sex)
    with figure_style():
        figure = build_figure(WIDTH * 0.78, 3.1)
        axes = figure.subplots()
        axes.hist(
            [age_years[rows] for rows in groups.values()],
            bins=edges.tolist(),
            stacked=True,
            color=[GROUPS[key].colour for key in groups],
            edgecolor="white",
            linewidth=0.4,
            label=[f"{GROUPS[key].label} ({int(rows.sum()):,})" for key, rows in groups.items()],
        )
        for bars, key in zip(_containers(axes), groups, strict=True):
            if key == "M":  # told apart without colour too
                for bar in bars:
                    bar.set_hatch("////")
        axes.axvline(mean_years, color=BLACK, label=f"mean {mean_years:.1f}")
        axes.axvline(median_years, color=BLACK, linestyle="--", label=f"median {median_years:.1f}")
        axes.set(xlabel="age (years)", ylabel=f"people a bin of {edges[1] - edges[0]:g} years")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return _finish(figure, title)


def _containers(axes: Axes) -> list[list[Patch]]:
    return [list(container) for container in axes.containers]


def _age_edges(age_years: FloatArray) -> FloatArray:
    low, high = float(age_years.min()), float(age_years.max())
    width = next((width for width in (0.25, 0.5, 1, 2, 5) if (high - low) / width <= 45), 5)
    start = np.floor(low / width) * width
    return np.asarray(np.arange(start, high + 1.001 * width, width))


def plot_distributions(
    values: FloatArray, sex: SexArray, *, names: Sequence[str], unit: str = "", title: str = ""
) -> Figure:
    """Return a panel a measure with its distribution by sex as densities, and the medians as marks below.

    Args:
        values: Measures, (N, P), NaN where missing.
        sex: "F", "M" or NaN, (N,).
        names: What the measures are.
        unit: Of all of them.
        title: Written above.
    """
    groups = split_by_sex(sex)
    with figure_style():
        figure = build_figure(WIDTH, 2.8)
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
            axes.set(xlabel=_with_unit(name, unit), yticks=[])
            axes.grid(False)
            axes.spines["left"].set_visible(False)
            axes.xaxis.set_major_locator(MaxNLocator(5))
        all_axes[0].set_ylabel("density")
        _sex_legend(figure, groups, lines=True)
        return _finish(figure, title)


def _value_edges(known: FloatArray) -> FloatArray:
    """Return edges of bins over all but absurd values, whose bin ends would hide the others."""
    if len(known) == 0:
        return np.array([0.0, 1.0])
    low, high = _usual_range(known)
    inside = known[(known >= low) & (known <= high)]
    return np.asarray(np.histogram_bin_edges(inside, bins=int(np.clip(1.2 * np.sqrt(len(inside)), 8, 40))))


def _usual_range(known: FloatArray) -> tuple[float, float]:
    """Return the range of all but absurd values, which lie four interquartile ranges beyond the quartiles."""
    first, third = np.percentile(known, [25, 75])
    reach = 4 * (third - first)
    if reach == 0:
        return float(known.min()), float(known.max())
    return max(float(known.min()), first - reach), min(float(known.max()), third + reach)


def plot_correlations(
    matrices: Sequence[FloatArray], names: Sequence[Sequence[str]], *, captions: Sequence[str], title: str = ""
) -> Figure:
    """Return correlation matrices side by side with their values written in.

    Args:
        matrices: Each (P, P), in [-1, 1]; NaN is left blank.
        names: What the rows of each are.
        captions: Written above each.
        title: Written above all.
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
                axes.text(
                    j, i, f"{matrix[i, j]:+.2f}", ha="center", va="center", color=colour, fontsize=SMALL_FONT_SIZE
                )
        if image is not None:
            figure.colorbar(image, ax=all_axes.tolist(), label="Pearson r", shrink=0.75, pad=0.02)
        return _finish(figure, title)


def plot_against_age(
    age_years: FloatArray,
    values: FloatArray,
    sex: SexArray,
    *,
    names: Sequence[str],
    trends: Sequence[Mapping[str, Trend]],
    unit: str = "",
    title: str = "",
) -> Figure:
    """Return a panel a measure against age, points and a smooth line with its interval for each sex.

    Args:
        age_years: Ages, (N,), none missing.
        values: Measures, (N, P), NaN where missing.
        sex: "F", "M" or NaN, (N,).
        names: What the measures are.
        trends: Of each measure, the line of each sex that has one ("F", "M", "" for not known).
        unit: Of all measures.
        title: Written above.
    """
    groups = split_by_sex(sex)
    shown = _thinned(len(age_years))
    with figure_style():
        figure = build_figure(WIDTH, 3.3)
        all_axes = np.atleast_1d(figure.subplots(1, len(names), sharex=True))
        for axes, column, name, lines in zip(all_axes, values.T, names, trends, strict=True):
            _scatter_by_sex(axes, age_years, column, groups, shown)
            for key, line in lines.items():
                style = GROUPS[key]
                axes.fill_between(line.age_years, line.low, line.high, color=style.colour, alpha=0.22, linewidth=0)
                axes.plot(line.age_years, line.value, color="white", linewidth=3.0)
                axes.plot(line.age_years, line.value, color=style.colour, linestyle=style.dashes, linewidth=1.8)
            _limit(axes, column)
            axes.set(xlabel="age (years)", title=_with_unit(name, unit))
        _sex_legend(figure, groups, lines=True, note=_thinned_note(shown, len(age_years)))
        return _finish(figure, title)


def plot_sex_differences(
    estimates: Sequence[Estimate], given_age: Sequence[Estimate] = (), *, title: str = ""
) -> Figure:
    """Return Cohen's d of each measure with its interval, positive where men have more, groups of rows apart.

    Args:
        estimates: One a row, from top to bottom; those of a group follow each other.
        given_age: The same among people of one age, drawn open below the others; empty for none.
        title: Written above.
    """
    groups = list(dict.fromkeys(each.group for each in estimates))
    places = [-(row + 0.6 * groups.index(each.group)) for row, each in enumerate(estimates)]
    with figure_style():
        figure = build_figure(WIDTH * 0.74, 1.3 + 0.34 * len(estimates))
        axes = figure.subplots()
        axes.axvspan(-0.2, 0.2, color="#eeeeee", zorder=0)
        axes.axvline(0, color="#444444", linewidth=0.8)
        _draw_estimates(axes, estimates, [place + 0.13 for place in places], groups, is_open=False)
        _draw_estimates(axes, given_age, [place - 0.15 for place in places][: len(given_age)], groups, is_open=True)
        axes.set_yticks(places, [each.label for each in estimates])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="Cohen's d with 95 % interval: women have more < 0 < men have more")
        axes.set_ylim(min(places) - 0.7, 0.7)
        if given_age:
            keys = [
                Line2D([], [], color=GREY, marker="o", label="as they are"),
                Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linewidth=0.9, label="of the same age"),
            ]
            figure.legend(handles=keys, loc="outside lower center", ncols=2)
        return _finish(figure, title)


def _draw_estimates(
    axes: Axes, estimates: Sequence[Estimate], places: Sequence[float], groups: Sequence[str], *, is_open: bool
) -> None:
    for place, each in zip(places, estimates, strict=True):
        colour, marker = ((GREEN, "o"), (PURPLE, "s"), (ORANGE, "^"))[groups.index(each.group) % 3]
        axes.plot([each.low, each.high], [place, place], color=colour, linewidth=0.9 if is_open else 2)
        face = "white" if is_open else colour
        axes.plot(each.value, place, marker=marker, color=colour, markerfacecolor=face, markersize=5, linestyle="")


def plot_sites(
    ages: Mapping[str, FloatArray], differences: Mapping[str, Sequence[Estimate]], *, title: str = ""
) -> Figure:
    """Return ages by site as boxes, and for each measure the sites' differences given age and sex.

    Args:
        ages: Ages of each site's people, largest site first; a box is drawn from 25 to 75 %, its line from 5 to 95 %.
        differences: Of each measure, an estimate a site in SDs, labelled by the site.
        title: Written above; more than forty sites are cut to the largest.
    """
    sites = list(ages)[:MAX_SITES]
    places = {site: -row for row, site in enumerate(sites)}
    with figure_style():
        figure = build_figure(WIDTH, 1.3 + 0.27 * len(sites))
        all_axes = np.atleast_1d(figure.subplots(1, 1 + len(differences), sharey=True))
        for site in sites:
            _draw_box(all_axes[0], ages[site], places[site])
        all_axes[0].set_yticks(list(places.values()), [f"{_short(site)} ({len(ages[site]):,})" for site in sites])
        all_axes[0].set(xlabel="age (years)", ylim=(-len(sites) + 0.4, 0.6))
        for axes, (name, estimates) in zip(all_axes[1:], differences.items(), strict=True):
            axes.axvline(0, color="#444444", linewidth=0.8)
            for each in estimates:
                if each.label in places:
                    place = places[each.label]
                    axes.plot([each.low, each.high], [place, place], color=BLUE, linewidth=2)
                    axes.plot(each.value, place, "o", color=BLUE, markersize=4)
            axes.set(xlabel=f"{name} (SD)")
            axes.tick_params(axis="y", length=0)
        return _finish(figure, title)


def _draw_box(axes: Axes, values: FloatArray, place: float) -> None:
    low, first, middle, third, high = np.percentile(values, [5, 25, 50, 75, 95])
    axes.plot([low, high], [place, place], color="#444444", linewidth=0.8)
    axes.barh(place, third - first, left=first, height=0.55, color="#d9e8f2", edgecolor="#444444", linewidth=0.7)
    axes.plot([middle, middle], [place - 0.27, place + 0.27], color=BLACK)


def plot_outliers(
    z: FloatArray,
    squared: FloatArray,
    flagged: npt.NDArray[np.bool_],
    *,
    names: Sequence[str],
    ids: Sequence[str],
    z_limit: float,
    squared_limit: float,
    title: str = "",
) -> Figure:
    """Return robust z of each measure and the Mahalanobis distance, outliers marked and the most extreme named.

    Args:
        z: Residuals given age and sex in robust SDs, (N, P), NaN where missing.
        squared: Squared Mahalanobis distances, (N,), NaN where missing.
        flagged: Who is an outlier, (N,).
        names: What the measures are.
        ids: What the people are called, (N,).
        z_limit: Drawn on both sides of each measure.
        squared_limit: Drawn for the distance.
        title: Written above.
    """
    with figure_style():
        figure = build_figure(WIDTH, 3.4)
        left, right = figure.subplots(1, 2, width_ratios=[len(names), 1.6])
        _strips(left, z, flagged, names)
        for limit in (-z_limit, z_limit):
            left.axhline(limit, color=BLACK, linestyle="--", linewidth=0.8)
        left.set(ylabel="robust z given age and sex")
        distance = np.sqrt(squared)[:, None]
        _strips(right, distance, flagged, ["all together"])
        # Not as far as the names at the right, which it would strike out.
        right.plot([-0.5, 0.38], [np.sqrt(squared_limit)] * 2, color=BLACK, linestyle="--", linewidth=0.8)
        right.set(ylabel="Mahalanobis distance")
        _name_extremes(right, distance[:, 0], flagged, ids)
        keys = [
            Line2D([], [], marker="o", linestyle="", color=GREY, label="within limits"),
            Line2D([], [], marker="X", linestyle="", color=VERMILION, label=f"outliers ({int(flagged.sum()):,})"),
            Line2D([], [], color=BLACK, linestyle="--", linewidth=0.8, label="limit"),
        ]
        figure.legend(handles=keys, loc="outside lower center", ncols=3)
        return _finish(figure, title)


def _strips(axes: Axes, values: FloatArray, flagged: npt.NDArray[np.bool_], names: Sequence[str]) -> None:
    jitter = np.random.default_rng(0).uniform(-0.28, 0.28, len(values))
    shown = np.flatnonzero(~flagged)[_thinned(int((~flagged).sum()))]
    size = 18 if flagged.sum() <= 100 else 7
    for place, column in enumerate(values.T):
        axes.scatter(place + jitter[shown], column[shown], s=6, color=GREY, alpha=0.8, linewidth=0)
        axes.scatter(place + jitter[flagged], column[flagged], s=size, color=VERMILION, marker="X", linewidth=0)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)


def _name_extremes(axes: Axes, values: FloatArray, flagged: npt.NDArray[np.bool_], ids: Sequence[str]) -> None:
    """Write the names of the most extreme at the right edge, none over another."""
    order = [row for row in np.argsort(-np.nan_to_num(values, nan=-1.0)) if flagged[row]][:_N_NAMED]
    jitter = np.random.default_rng(0).uniform(-0.28, 0.28, len(values))
    low, high = axes.get_ylim()
    axes.set_xlim(-0.5, 1.6)
    gap = 0.062 * (high - low)
    last = np.inf
    for row in order:
        place = min(float(values[row]), last - gap)
        last = place
        axes.annotate(
            _short(ids[row], 22),
            (jitter[row], values[row]),
            (0.42, place),
            va="center",
            fontsize=6.5,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": GREY, "shrinkA": 0, "shrinkB": 3},
        )


def plot_split(age_years: FloatArray, sex: SexArray, split: npt.NDArray[np.object_], *, title: str = "") -> Figure:
    """Return the cumulated ages of each split, which lie on each other in a good one, and its sexes.

    Args:
        age_years: Ages, (N,), none missing.
        sex: "F", "M" or NaN, (N,).
        split: "train", "val" or "test", (N,).
        title: Written above.
    """
    names = [name for name in _SPLITS if (split == name).any()]
    groups = split_by_sex(sex)
    with figure_style():
        figure = build_figure(WIDTH * 0.85, 2.9)
        left, right = figure.subplots(1, 2, width_ratios=[2.2, 1])
        for name in names:
            ages = np.sort(age_years[split == name])
            colour, marker = _SPLITS[name]
            places = (np.arange(len(ages)) + 1) / len(ages)
            left.step(
                ages,
                places,
                where="post",
                color=colour if name != "train" else BLACK,
                linewidth=1.4,
                marker=marker,
                markevery=max(1, len(ages) // 12),
                markersize=4,
                label=f"{name} ({len(ages):,})",
            )
        left.set(xlabel="age (years)", ylabel="share of people not older", ylim=(0, 1.02))
        left.legend(loc="lower right")
        _stack_shares(right, names, split, groups)
        return _finish(figure, title)


def _stack_shares(
    axes: Axes, names: Sequence[str], split: npt.NDArray[np.object_], groups: Mapping[str, npt.NDArray[np.bool_]]
) -> None:
    start = np.zeros(len(names))
    for key, rows in groups.items():
        share = np.array([rows[split == name].mean() for name in names])
        style = GROUPS[key]
        hatch = "////" if key == "M" else None
        axes.bar(
            np.arange(len(names)),
            share,
            bottom=start,
            color=style.colour,
            width=0.62,
            edgecolor="white",
            hatch=hatch,
            label=style.label,
        )
        for place, (low, height) in enumerate(zip(start, share, strict=True)):
            if height > 0.08:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.9}
                axes.text(
                    place,
                    low + height / 2,
                    f"{100 * height:.0f} %",
                    ha="center",
                    va="center",
                    fontsize=SMALL_FONT_SIZE,
                    bbox=box,
                )
        start += share
    axes.set_xticks(np.arange(len(names)), names)
    axes.set(ylabel="share", ylim=(0, 1))
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def plot_brain_volume(
    table_ml: FloatArray, brain_ml: FloatArray, sex: SexArray, *, slope: float, caption: str, title: str = ""
) -> Figure:
    """Return the brain-mask volume of each scan against the sum of the table's volumes, with two lines to read it by.

    Args:
        table_ml: Sum of the tissue volumes in mL, (N,), NaN where missing.
        brain_ml: Brain-mask volume in mL, (N,), NaN where missing.
        sex: "F", "M" or NaN, (N,).
        slope: Median ratio of the two, one of the lines; the other is equality.
        caption: Written above the panel.
        title: Written above it all.
    """
    groups = split_by_sex(sex)
    shown = _thinned(len(table_ml))
    with figure_style():
        figure = build_figure(WIDTH * 0.6, 3.8)
        axes = figure.subplots()
        _scatter_by_sex(axes, table_ml, brain_ml, groups, shown)
        both = np.isfinite(table_ml) & np.isfinite(brain_ml)
        ends = np.array([table_ml[both].min(), table_ml[both].max()])
        if np.isfinite(slope) and abs(slope - 1) > 0.02:
            axes.plot(ends, slope * ends, color=BLACK, linewidth=0.9, zorder=1, label=f"{slope:.3g} times the table")
        if 0.2 < slope < 5:
            axes.plot(ends, ends, color=BLACK, linewidth=0.9, linestyle=":", zorder=1, label="equal")
        axes.set(
            xlabel="grey + white matter + CSF of the table (mL)", ylabel="brain mask of the scan (mL)", title=caption
        )
        axes.legend(loc="upper left")
        _sex_legend(figure, groups, lines=False, note=_thinned_note(shown, len(table_ml)))
        return _finish(figure, title)


def _scatter_by_sex(
    axes: Axes,
    x: FloatArray,
    y: FloatArray,
    groups: Mapping[str, npt.NDArray[np.bool_]],
    shown: npt.NDArray[np.int64],
) -> None:
    alpha = float(np.clip(25 / np.sqrt(max(len(shown), 1)), 0.2, 0.75))
    for key, rows in groups.items():
        own = shown[rows[shown]]
        style = GROUPS[key]
        axes.scatter(
            x[own],
            y[own],
            s=9 if len(shown) < 1500 else 4,
            color=style.colour,
            marker=style.marker,
            alpha=alpha,
            linewidth=0,
        )


def _limit(axes: Axes, values: FloatArray) -> None:
    """Set the range so that a few absurd values do not press all others into a line; they lie beyond it."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return
    bottom, top = _usual_range(known)
    if top > bottom:
        axes.set_ylim(bottom - 0.05 * (top - bottom), top + 0.05 * (top - bottom))


def _thinned(n: int) -> npt.NDArray[np.int64]:
    """Return which points are drawn: all, or a draw that is the same every time."""
    if n <= MAX_POINTS:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, MAX_POINTS, replace=False)).astype(np.int64)


def _thinned_note(shown: npt.NDArray[np.int64], n: int) -> str:
    return "" if len(shown) == n else f"{len(shown):,} of {n:,} people drawn; lines from all"


def _sex_legend(figure: Figure, groups: Mapping[str, npt.NDArray[np.bool_]], *, lines: bool, note: str = "") -> None:
    keys = [
        Line2D(
            [],
            [],
            color=GROUPS[key].colour,
            marker=GROUPS[key].marker,
            linestyle=GROUPS[key].dashes if lines else "none",
            markersize=5,
            label=f"{GROUPS[key].label} ({int(rows.sum()):,})",
        )
        for key, rows in groups.items()
    ]
    if note:
        keys.append(Line2D([], [], linestyle="", label=note))
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), handlelength=2.6)


def _with_unit(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def _short(text: str, n_letters: int = 18) -> str:
    # In the middle, as names of one study differ at their ends.
    return text if len(text) <= n_letters else f"{text[: n_letters // 2 - 1]}…{text[len(text) - n_letters // 2 :]}"


def _finish(figure: Figure, title: str) -> Figure:
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
    return lay_out(figure)
