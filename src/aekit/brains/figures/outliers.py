"""The outliers of a cohort: robust z values, Mahalanobis distances, and the names of the most extreme."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aekit.brains.figures.measures import WIDTH_INCHES
from aekit.brains.figures.sexes import BoolArray, choose_points
from aekit.plotting.outside import mark_outside, padded
from aekit.plotting.style import BLACK, GREY, VERMILION, build_figure, figure_style, finish_figure, shorten

FloatArray = npt.NDArray[np.floating]

_N_NAMED = 8
_MOST_LIMITS = 3.0  # times the limit; values beyond would press the others together


def plot_outliers(
    z: FloatArray,
    squared: FloatArray,
    flagged: BoolArray,
    *,
    names: Sequence[str],
    ids: Sequence[str],
    z_limit: float,
    squared_limit: float,
    title: str = "",
) -> Figure:
    """Return the robust z of each measure and the Mahalanobis distance, with the most extreme outliers named.

    Values of more than three times the limit are marked at the edge of the axes, with the participant and the value.

    Args:
        z: Residuals given age and sex in robust SDs, (N, P), NaN where missing.
        squared: Squared Mahalanobis distances, (N,), NaN where missing.
        flagged: Which participants are outliers, (N,).
        names: Names of the measures.
        ids: Ids of the participants, (N,).
        z_limit: Limit of the robust z, drawn on both sides.
        squared_limit: Limit of the squared distance; its root is drawn.
        title: Title of the figure.
    """
    with figure_style():
        figure = build_figure(WIDTH_INCHES, 3.4)
        left, right = figure.subplots(1, 2, width_ratios=[len(names), 1.6])
        _strips(left, z, flagged, names)
        for limit in (-z_limit, z_limit):
            left.axhline(limit, color=BLACK, linestyle="--", linewidth=0.8)
        left.set(ylabel="robust z given age and sex", ylim=_limits(z, z_limit, -z_limit))
        places = np.arange(z.shape[1]) + _jitter(len(z))[:, None]
        mark_outside(left, places.ravel(), z.ravel(), [one for one in ids for _ in names])
        distance = np.sqrt(squared)[:, None]
        _strips(right, distance, flagged, ["all measures"])
        right.axhline(float(np.sqrt(squared_limit)), color=BLACK, linestyle="--", linewidth=0.8, zorder=0.9)
        right.set(ylabel="Mahalanobis distance", ylim=_limits(distance, float(np.sqrt(squared_limit)), 0.0))
        right.set_xlim(-0.5, 1.6)  # room for names
        mark_outside(right, _jitter(len(z)), distance[:, 0], has_labels=False)
        _name_extremes(right, distance[:, 0], flagged, ids)
        figure.legend(handles=_keys(int(flagged.sum())), loc="outside lower center", ncols=3)
        return finish_figure(figure, title)


def _keys(n_outliers: int) -> list[Line2D]:
    """Return the entries of the legend; an outlier is a cross at every measure."""
    keys = [Line2D([], [], marker="o", linestyle="", color=GREY, label="participants within the limits")]
    if n_outliers:
        label = f"outliers: {n_outliers:,} participant{'s' * (n_outliers != 1)}, shown at every measure"
        keys.append(Line2D([], [], marker="X", linestyle="", color=VERMILION, label=label))
    return [*keys, Line2D([], [], color=BLACK, linestyle="--", linewidth=0.8, label="limit")]


def _jitter(n: int) -> FloatArray:
    return np.random.default_rng(0).uniform(-0.28, 0.28, n)


def _limits(values: FloatArray, *limits: float) -> tuple[float, float]:
    """Return limits of an axis with the limits of what is usual and all values within three times the largest."""
    near = values[np.abs(values) <= _MOST_LIMITS * max(limits)]
    return padded((float(min(near.min(initial=0), *limits)), float(max(near.max(initial=0), *limits))))


def _strips(axes: Axes, values: FloatArray, flagged: BoolArray, names: Sequence[str]) -> None:
    jitter = _jitter(len(values))
    shown = np.flatnonzero(~flagged)[choose_points(int((~flagged).sum()))]
    size = 18 if flagged.sum() <= 100 else 7
    for place, column in enumerate(values.T):
        axes.scatter(place + jitter[shown], column[shown], s=6, color=GREY, alpha=0.8, linewidth=0)
        axes.scatter(place + jitter[flagged], column[flagged], s=size, color=VERMILION, marker="X", linewidth=0)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)


def _name_extremes(axes: Axes, values: FloatArray, flagged: BoolArray, ids: Sequence[str]) -> None:
    """Write the ids of the most extreme at the right edge, without overlaps."""
    order = [row for row in np.argsort(-values) if flagged[row] and np.isfinite(values[row])][:_N_NAMED]
    jitter = _jitter(len(values))
    low, high = axes.get_ylim()
    gap = 0.062 * (high - low)
    last = np.inf
    for row in order:
        at = min(float(values[row]), high - 0.012 * (high - low))
        last = place = min(at, last - gap)
        axes.annotate(
            shorten(ids[row], 22) + (f" ({values[row]:,.0f})" if values[row] > high else ""),
            (jitter[row], at),
            (0.42, place),
            va="center",
            fontsize=6.5,
            annotation_clip=False,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},  # over the line of the limit
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": GREY, "shrinkA": 0, "shrinkB": 3},
        )
