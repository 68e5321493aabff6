"""Learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aekit.config import Loss
from aekit.figures.style import BLACK, BLUE, VERMILION, build_figure, figure_style, lay_out

if TYPE_CHECKING:
    import pandas as pd

_TITLES = {"total": "Total loss", "reconstruction": "Reconstruction", "kl": "KL divergence", "mse": "Squared error"}


def plot_history(history: pd.DataFrame, *, loss: Loss = "bernoulli", title: str = "") -> Figure:
    """Return three panels against the epoch: total loss, reconstruction, and KL divergence.

    An autoencoder has no KL divergence; its third panel shows the squared error. Train and held-out images have a line
    each; the final test of a run that was watched on validation images is a marker.

    Args:
        history: Columns ``epoch`` (from 1), ``split`` (``train``, ``val`` or ``test``), ``total``, ``reconstruction``,
            ``kl`` (all missing for an autoencoder) and ``mse``; one row an epoch and split.
        loss: The training loss, for the units.
        title: Written above all panels.
    """
    with figure_style():
        figure = build_figure(9.0, 2.9)
        for axes, column in zip(figure.subplots(1, 3), history_panels(history), strict=True):
            draw_history_panel(axes, history, column, loss=loss)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.axes[-1].legend(handles, labels, loc="best")
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
        return lay_out(figure)


def history_panels(history: pd.DataFrame) -> tuple[str, str, str]:
    """Return the columns that the three panels of a history show."""
    return "total", "reconstruction", "mse" if history["kl"].isna().all() else "kl"


def draw_history_panel(
    axes: Axes,
    history: pd.DataFrame,
    column: str,
    *,
    loss: Loss = "bernoulli",
    has_title: bool = True,
    has_xlabel: bool = True,
) -> None:
    """Draw one column of a history against the epoch, a line for train and one for held-out images.

    Args:
        axes: Where to draw.
        history: See :func:`plot_history`.
        column: ``total``, ``reconstruction``, ``kl`` or ``mse``.
        loss: The training loss, for the unit.
        has_title: Whether to say above it what it shows.
        has_xlabel: Whether to write "epoch" below it.
    """
    held_out = "val" if (history["split"] == "val").any() else "test"
    for split, colour, marker in (("train", BLUE, "o"), (held_out, VERMILION, "s")):
        rows = history[history["split"] == split]
        size = 3 if len(rows) <= 25 else 0  # markers of many epochs would run into a band
        axes.plot(rows["epoch"], rows[column], color=colour, marker=marker, markersize=size, label=split)
    final = history[history["split"] == "test"]
    if held_out == "val" and len(final):
        axes.plot(final["epoch"], final[column], "*", color=BLACK, markersize=7, label="test", clip_on=False, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    if history["epoch"].nunique() == 1:
        axes.set_xlim(history["epoch"].iloc[0] - 1, history["epoch"].iloc[0] + 1)
    axes.set(title=_TITLES[column] if has_title else "", xlabel="epoch" if has_xlabel else "")
    axes.set_ylabel(_unit(column, loss))


def _unit(column: str, loss: Loss) -> str:
    if column == "mse" or loss == "mse":
        return "MSE per pixel"
    return "nats per image"
