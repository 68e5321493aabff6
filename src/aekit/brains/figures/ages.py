"""The ages of a cohort: their histogram, and how alike the splits are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from aekit.brains.figures.sexes import GROUPS, BoolArray, split_by_sex
from aekit.brains.measures.age_trend import SexArray
from aekit.plotting.outside import mark_outside, padded, usual_range
from aekit.plotting.style import (
    BLACK,
    ORANGE,
    PURPLE,
    SMALL_FONT_SIZE,
    build_figure,
    figure_style,
    finish_figure,
)

FloatArray = npt.NDArray[np.floating]

_SPLITS = {"train": (BLACK, "o"), "val": (ORANGE, "^"), "test": (PURPLE, "s")}


def plot_ages(
    age_years: FloatArray,
    sex: SexArray,
    *,
    mean_years: float,
    median_years: float,
    ids: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Return a stacked histogram of age by sex with the mean and the median age.

    The axis spans the usual ages; participants beyond them are marked at the edge, with their names.

    Args:
        age_years: Ages, (N,), none missing.
        sex: "F", "M" or NaN, (N,).
        mean_years: Mean age, marked by a solid line.
        median_years: Median age, marked by a dashed line.
        ids: Names of the participants, (N,), or none.
        title: Title of the figure.
    """
    edges = _age_edges(age_years)
    groups = split_by_sex(sex)
    with figure_style():
        figure = build_figure(7.2, 3.1)
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
            if key == "M":  # the sexes can be distinguished without colour too
                for bar in bars:
                    bar.set_hatch("////")
        axes.axvline(mean_years, color=BLACK, label=f"mean {mean_years:.1f}")
        axes.axvline(median_years, color=BLACK, linestyle="--", label=f"median {median_years:.1f}")
        axes.set(xlabel="age (years)", ylabel=f"participants per {edges[1] - edges[0]:g}-year bin")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="x", visible=False)
        axes.set(xlim=padded((float(edges[0]), float(edges[-1]))), ylim=(0, axes.get_ylim()[1]))
        mark_outside(axes, age_years, np.zeros(len(age_years)), ids)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return finish_figure(figure, title)


def _containers(axes: Axes) -> list[list[Patch]]:
    return [list(container) for container in axes.containers]


def _age_edges(age_years: FloatArray) -> FloatArray:
    low, high = usual_range(age_years)
    width = next((width for width in (0.25, 0.5, 1, 2, 5) if (high - low) / width <= 45), 5)
    start = np.floor(low / width) * width
    return np.asarray(np.arange(start, high + 1.001 * width, width))


def plot_split(
    age_years: FloatArray,
    sex: SexArray,
    split: npt.NDArray[np.object_],
    *,
    ids: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Return the cumulative distribution of age in each split, the same curve in a good split, and its sexes.

    The axis spans the usual ages; participants beyond them are marked at the edge, with their names.

    Args:
        age_years: Ages, (N,), none missing.
        sex: "F", "M" or NaN, (N,).
        split: "train", "val" or "test", (N,).
        ids: Names of the participants, (N,), or none.
        title: Title of the figure.
    """
    names = [name for name in _SPLITS if (split == name).any()]
    groups = split_by_sex(sex)
    with figure_style():
        figure = build_figure(7.8, 2.9)
        left, right = figure.subplots(1, 2, width_ratios=[2.2, 1])
        for name in names:
            ages = np.sort(age_years[split == name])
            colour, marker = _SPLITS[name]
            places = (np.arange(len(ages)) + 1) / len(ages)
            left.step(
                ages,
                places,
                where="post",
                color=colour,
                linewidth=1.4,
                marker=marker,
                markevery=max(1, len(ages) // 12),
                markersize=4,
                label=f"{name} ({len(ages):,})",
            )
        left.set(xlabel="age (years)", ylabel="cumulative fraction of participants", ylim=(0, 1.02))
        left.set_xlim(padded(usual_range(age_years)))
        mark_outside(left, age_years, np.where(age_years < np.median(age_years), 0.0, 1.02), ids)
        left.legend(loc="lower right")
        _stack_fractions(right, names, split, groups)
        return finish_figure(figure, title)


def _stack_fractions(
    axes: Axes, names: Sequence[str], split: npt.NDArray[np.object_], groups: Mapping[str, BoolArray]
) -> None:
    start = np.zeros(len(names))
    for key, rows in groups.items():
        fraction = np.array([rows[split == name].mean() for name in names])
        style = GROUPS[key]
        hatch = "////" if key == "M" else None
        axes.bar(
            np.arange(len(names)),
            fraction,
            bottom=start,
            color=style.colour,
            width=0.62,
            edgecolor="white",
            hatch=hatch,
            label=style.label,
        )
        for place, (low, height) in enumerate(zip(start, fraction, strict=True)):
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
        start += fraction
    axes.set_xticks(np.arange(len(names)), names)
    axes.set(ylabel="fraction of participants", ylim=(0, 1))
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
