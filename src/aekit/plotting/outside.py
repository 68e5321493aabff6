"""Axes that a few absurd values do not stretch: limits by the usual values, and the others marked at the edge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from aekit.plotting.style import BLACK, GREY, shorten

FloatArray = npt.NDArray[np.floating]
Limits = tuple[float, float]

_REACH = (
    3.0  # interquartile ranges from the quartiles, as Tukey's "far out"; of normal values two in a million lie beyond
)
_BEARABLE = 3.0  # times the range of the usual values: what lies within does not press them together
_MIN_VALUES = 5  # with fewer, nobody can tell which are usual
_PADDING = 0.05
_N_NAMED = 4  # in one panel
_NAME_LENGTH = 22
_FONT_SIZE, _LINE = 6.5, 9.0  # points of 1/72 inch: of a label, and the height of its line
_INSET = 0.012  # fraction of the axes between a mark and the edge


def usual_range(*values: FloatArray) -> Limits:
    """Return the smallest and largest usual value: a few absurd ones would press all others together.

    Usual is what lies within three interquartile ranges of the quartiles; the values next to it are shown as well, as
    long as the whole is at most three times as wide.

    Args:
        values: Any shapes, NaN and infinities are left out; arrays share the axis, and the widest one decides what is
            usual. Without any finite value the result is (0, 1).
    """
    known = [own[np.isfinite(own)] for own in (np.asarray(each, np.float64).ravel() for each in values)]
    known = [own for own in known if len(own)]
    if not known:
        return 0.0, 1.0
    everything = np.concatenate(known)
    low, high = float(everything.min()), float(everything.max())
    quartiles = np.array([np.percentile(own, [25, 75]) for own in known])
    reach = _REACH * float((quartiles[:, 1] - quartiles[:, 0]).max())
    if reach == 0 or len(everything) < _MIN_VALUES:
        return low, high
    usual = (everything >= quartiles[:, 0].min() - reach) & (everything <= quartiles[:, 1].max() + reach)
    first, last = float(everything[usual].min()), float(everything[usual].max())
    return _grown((first, last), everything[~usual])


def _grown(limits: Limits, others: FloatArray) -> Limits:
    """Return the limits with others, the nearest first, as long as the usual values keep a third of the axis."""
    low, high = limits
    for value in others[np.argsort(np.maximum(low - others, others - high))].tolist():
        grown = min(low, value), max(high, value)
        if grown[1] - grown[0] > _BEARABLE * (limits[1] - limits[0]):
            break
        low, high = grown
    return low, high


def padded(limits: Limits, fraction: float = _PADDING) -> Limits:
    """Return limits with some room on both sides; equal ones are moved apart."""
    low, high = limits
    room = fraction * (high - low) or max(abs(low) * _PADDING, 0.5)
    return low - room, high + room


def is_outside(values: FloatArray, limits: Limits) -> npt.NDArray[np.bool_]:
    """Return which values lie beyond the limits, the shape of ``values``; NaN does not."""
    low, high = sorted(limits)
    return np.asarray((values < low) | (values > high))


def mark_outside(
    axes: Axes, x: FloatArray, y: FloatArray, names: Sequence[str] = (), *, has_labels: bool = True
) -> int:
    """Mark the points beyond the limits of the axes at their edge, label the farthest four, and return their number.

    A label is the name of the point and its value; without names it is the value alone.

    Args:
        axes: Axes with linear scales and settled limits.
        x: Horizontal positions, (N,); NaN is not drawn.
        y: Vertical positions, (N,).
        names: Of the points, N of them or none.
        has_labels: Write labels, and not marks alone.
    """
    limits = axes.get_xlim(), axes.get_ylim()
    away = [_excess(values, own) for values, own in zip((x, y), limits, strict=True)]
    far = np.maximum(np.nan_to_num(away[0]), np.nan_to_num(away[1]))
    far[~(np.isfinite(x) & np.isfinite(y))] = 0
    order = [int(row) for row in np.argsort(-far, kind="stable") if far[row] > 0]
    rows = {"top": 0, "bottom": 0}
    for place, row in enumerate(order):
        at = [
            float(np.clip((values[row] - own[0]) / (own[1] - own[0]), _INSET, 1 - _INSET))
            for values, own in zip((x, y), limits, strict=True)
        ]
        is_across = away[0][row] > away[1][row]
        marker = (">" if at[0] > 0.5 else "<") if is_across else ("^" if at[1] > 0.5 else "v")
        axes.plot(*at, marker=marker, color=BLACK, markersize=4, zorder=6, transform=axes.transAxes, clip_on=False)
        if has_labels and place < _N_NAMED:
            edge = "top" if at[1] >= 0.5 else "bottom"
            value = (x if is_across else y)[row]
            text = _label(names[row] if names else "", float(value))
            if place == _N_NAMED - 1 and len(order) > _N_NAMED:
                text += f" and {len(order) - _N_NAMED:,} more"
            _write_label(axes, text, at, edge, rows[edge])
            rows[edge] += 1
    return len(order)


def _excess(values: FloatArray, limits: Limits) -> FloatArray:
    """Return how far values are beyond the limits, in widths of the axis, (N,); 0 within."""
    low, high = sorted(limits)
    return np.asarray(np.maximum(np.maximum(low - values, values - high), 0) / (high - low))


def _label(name: str, value: float) -> str:
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    text = text.replace("-", "\N{MINUS SIGN}")
    return f"{shorten(name, _NAME_LENGTH)}: {text}" if name else text


def _write_label(axes: Axes, text: str, at: Sequence[float], edge: str, row: int) -> None:
    """Write a label in a line of its own at the upper or lower edge, with a line to its mark."""
    is_right, sign = at[0] > 0.5, -1 if edge == "top" else 1
    down = ScaledTranslation(0, sign * (row + 0.8) * _LINE / 72, axes.figure.dpi_scale_trans)
    axes.annotate(
        text,
        (at[0], at[1]),
        (0.94 if is_right else 0.06, 1 if edge == "top" else 0),
        xycoords="axes fraction",
        textcoords=axes.transAxes + down,
        ha="right" if is_right else "left",
        va="center",
        fontsize=_FONT_SIZE,
        zorder=7,
        annotation_clip=False,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
        arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": GREY, "shrinkA": 0, "shrinkB": 2},
    )
