"""Predictions against the truth, a panel per model, and how well both agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from textwrap import fill

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from aekit.brains.figures.splits import Labels, build_panels, draw_points, finish_panels, split_names, to_names
from aekit.plotting.outside import is_outside, mark_outside, padded, usual_range
from aekit.plotting.style import GREEN, GREY, SMALL_FONT_SIZE, axis_label, figure_style

FloatArray = npt.NDArray[np.floating]

_MIN_R2 = 10  # participants; with fewer it means nothing
_NORMAL_95 = 1.96  # standard deviations either side hold 95 % of a normal distribution
_TEXT_LINE = 9.5  # points of 1/72 inch: height of a line of errors


@dataclass(frozen=True)
class Predicted:
    """One model's predictions of one quantity.

    Attributes:
        name: The model, written above the panel.
        truth: True values, (N,).
        prediction: Predicted values, (N,).
        split: Split of each participant, (N,): ``train``, ``val``, ``test``, ``cv``, ``dropped`` or another name.
        quantity: Name of what is predicted.
        unit: Its unit; empty for proportions.
        ids: Participants, (N,), to name those beyond the axes; empty if they are not known.
    """

    name: str
    truth: FloatArray
    prediction: FloatArray
    split: Labels
    quantity: str = "age"
    unit: str = "years"
    ids: Sequence[str] = ()


def plot_predictions(panels: Sequence[Predicted], *, title: str = "") -> Figure:
    """Return predicted against true values, one panel per model, with the identity line and each split's MAE and R^2.

    R^2 compares with the mean of the split, and is left out for fewer than ten participants, with the reason. The axes
    span the usual values; points beyond them are marked at the edge, with the participant and the prediction.

    Args:
        panels: At least one.
        title: Title of the figure.
    """
    with figure_style():
        n_lines = max(len(split_names(panel.split)) for panel in panels)
        figure, grid = build_panels(len(panels), width=3.1, height=3.1 + n_lines * _TEXT_LINE / 72)
        for axes, panel in zip(grid, panels, strict=True):
            _draw_predictions(axes, panel, n_lines)
        splits = [split for panel in panels for split in split_names(panel.split)]
        identity = Line2D([], [], color=GREY, linewidth=0.9, label="predicted = true")
        return finish_panels(figure, splits, title, others=[identity])


def _draw_predictions(axes: Axes, panel: Predicted, n_lines: int) -> None:
    splits = to_names(panel.split)
    limits = padded(usual_range(panel.truth, panel.prediction), 0.06)
    axes.axline((limits[0], limits[0]), slope=1, color=GREY, linewidth=0.9, zorder=1)
    lines = []
    for name in split_names(panel.split):
        rows = splits == name
        draw_points(axes, panel.truth[rows], panel.prediction[rows], name)
        lines.append(f"{name}: {_error_text(panel.truth[rows], panel.prediction[rows], panel.unit)}")
    # Equal limits on nearly square axes: with equal aspect as well, the layout lets labels of two rows overlap.
    axes.set(xlim=limits, ylim=limits, xlabel=axis_label(f"true {panel.quantity}", panel.unit))
    axes.set_ylabel(axis_label(f"predicted {panel.quantity}", panel.unit))
    mark_outside(axes, panel.truth, panel.prediction, panel.ids)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=5))
    # Above the axes, where no points are.
    axes.set_title(fill(panel.name, 39), pad=4 + n_lines * _TEXT_LINE)
    axes.annotate(
        "\n".join(lines), (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", va="bottom",
        fontsize=SMALL_FONT_SIZE - 0.5,
    )  # fmt: skip


def plot_bland_altman(panels: Sequence[Predicted], *, title: str = "") -> Figure:
    """Return predicted minus true against the mean of both, one panel per model, with bias and limits of agreement.

    The limits are bias +- 1.96 SD and contain 95 % of participants if the differences are normal; all three have their
    95 % interval as a band. The axes span the usual values, as in :func:`plot_predictions`. Participants that the model
    was trained on are left out, unless there are no others. Every regression shows a slope, as predictions vary less
    than the truth.

    Args:
        panels: At least one.
        title: Title of the figure.

    Source:
        Bland & Altman 1999, doi:10.1177/096228029900800204, sections 2 and 3 (intervals of the limits: section 2.1).
    """
    with figure_style():
        figure, grid = build_panels(len(panels), width=3.3, height=2.9)
        shown = [_held_out(panel) for panel in panels]
        for axes, panel in zip(grid, shown, strict=True):
            _draw_bland_altman(axes, panel)
        splits = [split for panel in shown for split in split_names(panel.split)]
        has_limits = any(len(panel.truth) > 1 for panel in shown)
        return finish_panels(figure, splits, title, others=_agreement_keys(has_limits=has_limits))


def _agreement_keys(*, has_limits: bool) -> list[Artist]:
    keys: list[Artist] = [
        Line2D([], [], color=GREY, linewidth=0.7, label="predicted = true"),
        Line2D([], [], color=GREEN, linewidth=1.1, label="bias: mean difference"),
    ]
    if has_limits:
        limits = f"limits of agreement: bias ± {_NORMAL_95} SD"
        keys.append(Line2D([], [], color=GREEN, linewidth=1.1, linestyle="--", label=limits))
        keys.append(Patch(color=GREEN, alpha=0.13, linewidth=0, label="95 % intervals of the bias and the limits"))
    return keys


def _draw_bland_altman(axes: Axes, panel: Predicted) -> None:
    splits = to_names(panel.split)
    middle, difference = (panel.truth + panel.prediction) / 2, panel.prediction - panel.truth
    for name in split_names(panel.split):
        draw_points(axes, middle[splits == name], difference[splits == name], name)
    usual = usual_range(difference)
    inside = ~is_outside(difference, usual)
    ends = [value + sign * half for value, half in _agreement(difference[inside]) for sign in (-1, 1)]
    axes.set_xlim(padded(usual_range(middle[inside]), 0.08))
    axes.set_ylim(padded((min(usual[0], *ends), max(usual[1], *ends)), 0.08))
    axes.axhline(0, color=GREY, linewidth=0.7, zorder=1)
    for number, (value, half) in enumerate(_agreement(difference)):
        axes.axhline(value, color=GREEN, linewidth=1.1, linestyle="--" if number else "-", zorder=2)
        if half:
            axes.axhspan(value - half, value + half, color=GREEN, alpha=0.13, linewidth=0, zorder=0)
        low, high = axes.get_ylim()
        beyond = "\N{UPWARDS ARROW}" if value > high else "\N{DOWNWARDS ARROW}" if value < low else ""
        axes.annotate(
            beyond + _signed(value, difference), (1, np.clip(value, low, high)), xycoords=("axes fraction", "data"),
            xytext=(2, 0), textcoords="offset points", va="center", fontsize=SMALL_FONT_SIZE, color=GREEN,
            annotation_clip=False,
        )  # fmt: skip
    mark_outside(axes, middle, difference, panel.ids)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.set_xlabel(fill(axis_label(f"mean of true and predicted {panel.quantity}", panel.unit), 46))
    axes.set_ylabel(axis_label("predicted minus true", panel.unit))
    axes.set_title(fill(panel.name, 36))


def _agreement(difference: FloatArray) -> list[tuple[float, float]]:
    """Return the bias, the upper and the lower limit of agreement, each with half of its 95 % interval.

    A single participant has a bias without an interval, and no limits.
    """
    n, bias = len(difference), float(difference.mean())
    if n < 2:
        return [(bias, 0.0)]
    spread = float(difference.std(ddof=1))
    of_bias, of_limit = spread / np.sqrt(n), spread * np.sqrt(1 / n + _NORMAL_95**2 / (2 * (n - 1)))
    limits = [(bias + sign * _NORMAL_95 * spread, float(_NORMAL_95 * of_limit)) for sign in (1, -1)]
    return [(bias, float(_NORMAL_95 * of_bias)), *limits]


def _error_text(truth: FloatArray, prediction: FloatArray, unit: str) -> str:
    error = f"MAE {f'{np.abs(prediction - truth).mean():#.3g}'.rstrip('.')} {unit}".rstrip()
    n, spread = len(truth), float(np.square(truth - truth.mean()).sum())
    if n < _MIN_R2:
        return f"{error}, no R² from only {n}"
    if spread == 0:
        return f"{error}, no R² as all are equal"
    return f"{error}, R² {1 - float(np.square(prediction - truth).sum()) / spread:.2f}"


def _signed(value: float, values: FloatArray) -> str:
    spread = float(np.std(values))
    n_decimals = int(np.clip(2 - np.floor(np.log10(spread)), 0, 6)) if spread > 0 else 2
    return f"{value:+.{n_decimals}f}".replace("-", "\N{MINUS SIGN}")


def _held_out(panel: Predicted) -> Predicted:
    splits = to_names(panel.split)
    rows = splits != "train"
    if not rows.any():
        return panel
    ids = tuple(np.array(panel.ids, object)[rows]) if panel.ids else ()
    return replace(panel, truth=panel.truth[rows], prediction=panel.prediction[rows], split=splits[rows], ids=ids)
