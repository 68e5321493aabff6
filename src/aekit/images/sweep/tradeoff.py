"""Rate against distortion: what compares the cells of a grid across beta, with a point for each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from aekit.core.settings import in_words
from aekit.images.config import Loss
from aekit.images.figures.curves import unit
from aekit.plotting.style import BLACK, BLUE, COLOURS, GREY, hide_axes, wrap_text

if TYPE_CHECKING:
    import pandas as pd

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_MAX_KEYS = 8  # values of an option in the legend; of more numbers some stand for all
_ROWS = 14  # of the legend, before it has a second column


@dataclass(frozen=True)
class _Channel:
    """An option that the points show, by colour or by marker.

    Attributes:
        name: The option; empty if there is none.
        looks: A colour or a marker for each of its values.
    """

    name: str
    looks: dict[Any, Any]

    def of(self, row: pd.Series, otherwise: Any) -> Any:
        """Return the look of a cell."""
        return self.looks[row[self.name]] if self.name else otherwise

    def named(self) -> list[tuple[str, Any]]:
        """Return the values that a legend names, in words, with their looks; the first and the last among them."""
        values = list(self.looks)
        places = np.unique(np.linspace(0, len(values) - 1, min(len(values), _MAX_KEYS)).round().astype(int))
        return [(in_words(self.name, _plain(values[place])), self.looks[values[place]]) for place in places]


def draw_tradeoff(
    axes: Axes,
    legend: Axes,
    results: pd.DataFrame,
    over: Sequence[str],
    *,
    split: str,
    loss: Loss | None,
    chosen: tuple[Hashable, str] | None,
    width: float,
) -> None:
    """Draw the reconstruction of each cell against its KL divergence, and what the points are into another panel.

    Colour is beta, or else the option with the most values; the marker is the next one that has few. A line goes
    through all pairs whose sum is the lowest that was reached: the negative evidence lower bound.

    Args:
        axes: Axes to draw on.
        legend: Axes that take the legend.
        results: See :func:`aekit.images.sweep.figure.plot_sweep`.
        over: The swept options, without seeds.
        split: The split whose results are shown.
        loss: The training loss, for the units; None if it differs from cell to cell.
        chosen: The row that was chosen, by its index, and by what.
        width: Inches of the legend.
    """
    points = results[results[f"{split}_kl"].notna()]
    rate, distortion = (points[f"{split}_{name}"].to_numpy(dtype=float) for name in ("kl", "reconstruction"))
    colour, marker, hidden = _channels(points, over)
    for x, y, (_, row) in zip(rate, distortion, points.iterrows(), strict=True):
        face, shape = colour.of(row, BLUE), marker.of(row, "o")
        axes.plot(x, y, shape, color=face, markersize=6, markeredgecolor="white", markeredgewidth=0.4, alpha=0.9)
    keys: list[Artist] = [_key(text, "o", face) for text, face in colour.named()]
    keys += [_key(text, shape, GREY) for text, shape in marker.named()]
    if chosen is not None and chosen[0] in points.index:
        place = points.index.get_loc(chosen[0])
        axes.plot(rate[place], distortion[place], "o", markersize=13, fillstyle="none", color=BLACK, zorder=4)
        keys.append(_key(f"chosen: {chosen[1]}", "o", BLACK, fillstyle="none", markersize=10))
    axes.margins(0.1)
    if loss is not None:
        keys.append(_draw_lowest(axes, rate + distortion))
    axes.set_xlabel(f"rate: KL divergence ({unit('kl', 'bernoulli')})")
    axes.set_ylabel(f"distortion: reconstruction ({unit('reconstruction', loss)})")
    axes.set_title("Rate against distortion, one point per cell")
    remarks = [f"{', '.join(hidden).replace('_', ' ')}: not distinguished"] if hidden else []
    if n_without := len(results) - len(points):
        remarks.append(f"{n_without} autoencoder{'s have' if n_without > 1 else ' has'} no rate")
    _write_legend(legend, [*keys, *(_key(text, "", GREY) for text in remarks)], width)


def _channels(points: pd.DataFrame, over: Sequence[str]) -> tuple[_Channel, _Channel, list[str]]:
    """Return what colour and marker stand for, and the options that neither shows."""
    values = {name: _values(points, name) for name in over}
    order = sorted(
        (name for name in over if len(values[name]) > 1), key=lambda name: (name != "beta", -len(values[name]))
    )
    colour, marker = _Channel("", {}), _Channel("", {})
    hidden = []
    for name in [name for name in order if len(values[name]) > 1]:
        own = values[name]
        if not colour.name and (_are_numbers(own) or len(own) <= len(COLOURS)):
            colour = _Channel(name, dict(zip(own, _colours(own), strict=True)))
        elif not marker.name and len(own) <= len(_MARKERS):
            marker = _Channel(name, dict(zip(own, _MARKERS, strict=False)))
        else:
            hidden.append(name)
    return colour, marker, hidden


def _values(points: pd.DataFrame, name: str) -> list[Any]:
    """Return the values of an option: numbers from the least to the largest, names as they come."""
    values = list(points[name].unique())
    return sorted(values) if _are_numbers(values) else values


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float, np.number)) for value in values)


def _colours(values: Sequence[Any]) -> Sequence[Any]:
    """Return a scale for numbers, by their rank, and colours that differ for names."""
    if not _are_numbers(values):
        return COLOURS[: len(values)]
    scale: npt.NDArray[np.float64] = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(values)))
    return list(scale)


def _draw_lowest(axes: Axes, sums: npt.NDArray[np.float64]) -> Artist:
    """Draw the line of pairs with the lowest sum, within what is shown already, and return its key."""
    lowest = float(sums.min())
    x_range, y_range = axes.get_xlim(), axes.get_ylim()
    text = f"reconstruction + KL = {lowest:.5g}, the lowest"
    (line,) = axes.plot(x_range, [lowest - x for x in x_range], "--", color=GREY, linewidth=1, zorder=0.5, label=text)
    axes.set(xlim=x_range, ylim=y_range)
    return line


def _key(text: str, marker: str, colour: Any, *, fillstyle: Any = "full", markersize: float = 6) -> Line2D:
    return Line2D(
        [], [], linestyle="", marker=marker, color=colour, label=text, fillstyle=fillstyle, markersize=markersize
    )


def _write_legend(legend: Axes, keys: Sequence[Artist], width: float) -> None:
    """Write what the points are, in as many columns as the height needs, with texts as wide as there is room."""
    hide_axes(legend)
    n_columns = 2 if len(keys) > _ROWS else 1
    texts = [wrap_text(str(key.get_label()), width / n_columns - 0.6) for key in keys]
    legend.legend(
        keys,
        texts,
        loc="upper left",
        ncols=n_columns,
        borderaxespad=0,
        title="Rate against distortion",
        alignment="left",
    )


def _plain(value: Any) -> Any:
    """Return a number of NumPy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value
