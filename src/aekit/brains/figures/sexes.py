"""How the sexes are drawn in the figures of a cohort: their colours, markers, lines and legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aekit.brains.measures.age_trend import SexArray
from aekit.plotting.style import BLUE, GREY, VERMILION, add_legend_below

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

MAX_POINTS = 5000  # per panel; more only cover each other and make the file large


class SexStyle(NamedTuple):
    """How participants of one sex are drawn: name, colour, marker and line."""

    label: str
    colour: str
    marker: str
    dashes: Literal["-", "--", ":"]


GROUPS = {
    "F": SexStyle("female", VERMILION, "o", "-"),
    "M": SexStyle("male", BLUE, "^", "--"),
    "": SexStyle("sex unknown", GREY, "s", ":"),
}


def split_by_sex(sex: SexArray) -> dict[str, BoolArray]:
    """Return the rows with "F", "M" and an unknown sex (""), each (N,), in this order, without empty groups."""
    who = {"F": sex == "F", "M": sex == "M"}
    who[""] = ~(who["F"] | who["M"])
    return {key: rows for key, rows in who.items() if rows.any()}


def scatter_by_sex(
    axes: Axes,
    x: FloatArray,
    y: FloatArray,
    groups: Mapping[str, BoolArray],
    shown: npt.NDArray[np.int64],
) -> None:
    """Draw the points ``shown`` in the colours and markers of the groups from :func:`split_by_sex`."""
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


def choose_points(n: int) -> npt.NDArray[np.int64]:
    """Return which of ``n`` points to draw: all, or a random choice that is the same every time."""
    if n <= MAX_POINTS:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, MAX_POINTS, replace=False)).astype(np.int64)


def describe_choice(shown: npt.NDArray[np.int64], n: int) -> str:
    """Return a note for the legend if only some of ``n`` participants are drawn, else an empty text."""
    return "" if len(shown) == n else f"{len(shown):,} of {n:,} participants drawn; lines from all"


def draw_sex_legend(
    figure: Figure, groups: Mapping[str, BoolArray], *, lines: bool, note: str = "", others: Sequence[Line2D] = ()
) -> None:
    """Draw a legend of the sexes below the figure, with lines or only markers, then others and a note."""
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
    keys += others
    if note:
        keys.append(Line2D([], [], linestyle="", label=note))
    if others:  # too many for one line
        add_legend_below(figure, keys)
        return
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), handlelength=2.6)
