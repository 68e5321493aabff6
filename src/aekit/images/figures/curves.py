"""Learning curves."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aekit.images.config import Loss
from aekit.images.term_names import TITLES, UNITLESS, USUAL
from aekit.plotting.style import BLACK, BLUE, VERMILION, build_figure, figure_style, lay_out, text_inches, write_title

_PANEL_INCHES = {1: 5.0, 2: 3.6, 3: 3.0}  # width, by the number of panels in a row
_OF_RUN = ("epoch", "split", "total", "seconds", "images_per_second", "active_units")  # columns that are not terms


class History(Protocol):
    """Columns by their names, in their order: a data frame, or lists of values, None where there is none."""

    def __getitem__(self, name: str, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


def plot_history(history: History, *, loss: Loss = "bernoulli", title: str = "") -> Figure:
    """Return one panel per measure against the epoch: total loss, reconstruction, KL divergence, an objective's own.

    An autoencoder has no KL divergence, and its total loss is the reconstruction: its panels show the latter and the
    squared error, or only the squared error if that is the loss. Training and held-out images have a line each; in a
    run with validation images, the final test is a marker.

    Args:
        history: Columns ``epoch`` (from 1), ``split`` (``train``, ``val`` or ``test``), ``total``, ``reconstruction``,
            ``kl`` (all missing for an autoencoder) and ``mse``, and other terms; one row per epoch and split.
        loss: The training loss, for the units.
        title: Title above all panels.
    """
    columns = history_panels(history, loss=loss)
    n_across = min(len(columns), 3 if len(columns) != 4 else 2)
    n_rows = ceil(len(columns) / n_across)
    width = n_across * _PANEL_INCHES[n_across]
    with figure_style():
        figure = build_figure(width, 3.0 if n_rows == 1 else 2.6 * n_rows + 0.4)
        panels = figure.subplots(n_rows, n_across, squeeze=False).flat
        for number, (axes, column) in enumerate(zip(panels, columns, strict=False)):
            draw_history_panel(axes, history, column, has_xlabel=number + n_across >= len(columns))
            axes.set(title=heading(column), ylabel=unit(column, loss))
        for axes in [*panels][len(columns) :]:
            axes.set_visible(False)
        room = write_legend(figure, figure.axes[0])
        write_title(figure, title, width, room=room)
        return lay_out(figure)


def history_panels(history: History, *, loss: Loss = "bernoulli") -> tuple[str, ...]:
    """Return the columns of a history that are not redundant, one per panel."""
    if _has_values(history, "kl"):
        # The total of an importance-weighted objective is its bound.
        own = [name for name in history if name not in (*_OF_RUN, *USUAL, "bound") and _has_values(history, name)]
        return "total", "reconstruction", "kl", *own
    return ("mse",) if loss == "mse" else ("reconstruction", "mse")


def _values(history: History, column: str) -> npt.NDArray[np.float64]:
    """Return a column of numbers, NaN where there is none."""
    return np.array(history[column], np.float64)


def _has_values(history: History, column: str) -> bool:
    return not np.isnan(_values(history, column)).all()


def draw_history_panel(axes: Axes, history: History, column: str, *, has_xlabel: bool = True) -> None:
    """Draw one column of a history against the epoch, with one line for training and one for held-out images.

    Args:
        axes: Axes to draw on.
        history: See :func:`plot_history`.
        column: ``total``, ``reconstruction``, ``kl``, ``mse`` or another term.
        has_xlabel: Whether to label the x-axis "epoch".
    """
    epochs, values, splits = np.array(history["epoch"]), _values(history, column), np.array(history["split"], object)
    held_out = "val" if "val" in splits else "test"
    for split, colour, marker in (("train", BLUE, "o"), (held_out, VERMILION, "s")):
        own = splits == split
        size = 3 if own.sum() <= 25 else 0  # markers of many epochs would merge into a band
        axes.plot(epochs[own], values[own], color=colour, marker=marker, markersize=size, label=split)
    final = splits == "test"
    if held_out == "val" and final.any():
        axes.plot(epochs[final], values[final], "*", color=BLACK, markersize=7, label="test", clip_on=False, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    if len(np.unique(epochs)) == 1:
        epoch = epochs[0]
        axes.set_xlim(epoch - 1, epoch + 1)
        axes.set_xticks([epoch])  # not those before and after it
    axes.set_xlabel("epoch" if has_xlabel else "")


def write_legend(figure: Figure, axes: Axes) -> float:
    """Write the legend that all panels of a history share above them, and return its width in inches.

    Args:
        figure: Figure to write on.
        axes: One of the panels.
    """
    handles, names = axes.get_legend_handles_labels()
    # Training images are measured while the weights change, the others at the end of the epoch.
    names = ["train (epoch mean)" if name == "train" else name for name in names]
    figure.legend(handles, names, loc="outside upper right", ncols=len(names), columnspacing=1.2, handlelength=1.8)
    return sum(text_inches(name)[0] for name in names) + 0.4 * len(names) + 0.15


def unit(column: str, loss: Loss | None) -> str:
    """Return the unit of a column of a history, for an axis; ``loss`` is None if it differs between runs."""
    if column == "mse" or loss == "mse":
        return "MSE per pixel"
    if column in UNITLESS:
        return "per batch"
    return "nats per image" if loss is not None else "unit of each loss"


def heading(column: str) -> str:
    """Return the name of a column of a history, as a heading."""
    return TITLES.get(column, column.replace("_", " "))


def heading_with_unit(column: str, loss: Loss | None) -> str:
    """Return the name of a column of a history with its unit, where no axis has it."""
    return f"{heading(column)} ({'per pixel' if column == 'mse' else unit(column, loss)})"
