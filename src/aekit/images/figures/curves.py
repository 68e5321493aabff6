"""Learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aekit.images.config import Loss
from aekit.plotting.style import BLACK, BLUE, VERMILION, build_figure, figure_style, lay_out, text_inches, write_title

if TYPE_CHECKING:
    import pandas as pd

MEASURES = {
    "total": "Total loss",
    "reconstruction": "Reconstruction",
    "kl": "KL divergence",
    "mse": "Mean squared error",
}
_PANEL_INCHES = {1: 5.0, 2: 3.6, 3: 3.0}  # width, by the number of panels


def plot_history(history: pd.DataFrame, *, loss: Loss = "bernoulli", title: str = "") -> Figure:
    """Return one panel per measure against the epoch: total loss, reconstruction, and KL divergence.

    An autoencoder has no KL divergence, and its total loss is the reconstruction: its panels show the latter and the
    squared error, or only the squared error if that is the loss. Training and held-out images have a line each; in a
    run with validation images, the final test is a marker.

    Args:
        history: Columns ``epoch`` (from 1), ``split`` (``train``, ``val`` or ``test``), ``total``, ``reconstruction``,
            ``kl`` (all missing for an autoencoder) and ``mse``; one row per epoch and split.
        loss: The training loss, for the units.
        title: Title above all panels.
    """
    columns = history_panels(history, loss=loss)
    width = len(columns) * _PANEL_INCHES[len(columns)]
    with figure_style():
        figure = build_figure(width, 3.0)
        for axes, column in zip(figure.subplots(1, len(columns), squeeze=False).flat, columns, strict=True):
            draw_history_panel(axes, history, column)
            axes.set(title=MEASURES[column], ylabel=unit(column, loss))
        room = write_legend(figure, figure.axes[0])
        write_title(figure, title, width, room=room)
        return lay_out(figure)


def history_panels(history: pd.DataFrame, *, loss: Loss = "bernoulli") -> tuple[str, ...]:
    """Return the columns of a history that are not redundant, one per panel."""
    if history["kl"].notna().any():
        return "total", "reconstruction", "kl"
    return ("mse",) if loss == "mse" else ("reconstruction", "mse")


def draw_history_panel(axes: Axes, history: pd.DataFrame, column: str, *, has_xlabel: bool = True) -> None:
    """Draw one column of a history against the epoch, with one line for training and one for held-out images.

    Args:
        axes: Axes to draw on.
        history: See :func:`plot_history`.
        column: ``total``, ``reconstruction``, ``kl`` or ``mse``.
        has_xlabel: Whether to label the x-axis "epoch".
    """
    held_out = "val" if (history["split"] == "val").any() else "test"
    for split, colour, marker in (("train", BLUE, "o"), (held_out, VERMILION, "s")):
        rows = history[history["split"] == split]
        size = 3 if len(rows) <= 25 else 0  # markers of many epochs would merge into a band
        axes.plot(rows["epoch"], rows[column], color=colour, marker=marker, markersize=size, label=split)
    final = history[history["split"] == "test"]
    if held_out == "val" and len(final):
        axes.plot(final["epoch"], final[column], "*", color=BLACK, markersize=7, label="test", clip_on=False, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    if history["epoch"].nunique() == 1:
        epoch = history["epoch"].iloc[0]
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
    return "nats per image" if loss is not None else "unit of each loss"


def heading(column: str, loss: Loss | None) -> str:
    """Return the name of a column of a history with its unit, where no axis has it."""
    return f"{MEASURES[column]} ({'per pixel' if column == 'mse' else unit(column, loss)})"
