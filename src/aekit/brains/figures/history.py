"""Learning curves of the networks, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from types import MappingProxyType

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from aekit.brains.figures.splits import build_panels, finish_panels, split_names, split_style
from aekit.plotting.style import figure_style


def plot_brain_history(
    history: pd.DataFrame,
    *,
    loss_label: str = "MSE of z-scores",
    other_losses: Mapping[str, str] = MappingProxyType({}),
    title: str = "",
) -> Figure:
    """Return learning curves, one panel per stage: the loss on train and held-out participants against the epoch.

    Several folds or seeds are thin lines; their mean is a thick one and ends where the first of them ends.

    Args:
        history: Columns ``stage``, ``epoch`` (from 1), ``split`` (``train``, ``val`` ...) and ``loss``, and ``fold``
            and ``seed`` where there are several; one row per epoch, split and run.
        loss_label: Name of the loss.
        other_losses: Its name in stages that have another one.
        title: Title of the figure.
    """
    stages = list(dict.fromkeys(history["stage"]))
    with figure_style():
        figure, grid = build_panels(len(stages), width=3.3, height=2.7)
        for axes, stage in zip(grid, stages, strict=True):
            _draw_curves(axes, history[history["stage"] == stage])
            axes.set(xlabel="epoch", ylabel=other_losses.get(str(stage), loss_label))
            axes.set_title(fill(str(stage), 36))
        return finish_panels(figure, list(dict.fromkeys(history["split"])), title, is_line=True)


def _draw_curves(axes: Axes, rows: pd.DataFrame) -> None:
    keys = [name for name in ("fold", "seed") if name in rows]
    losses = rows["loss"].to_numpy(float)
    for split in split_names(rows["split"].to_numpy(object)):
        colour, marker = split_style(split)
        own = rows[rows["split"] == split]
        runs = [run for _, run in own.groupby(keys, dropna=False)] if keys else [own]
        for run in runs if len(runs) > 1 else []:
            axes.plot(run["epoch"], run["loss"], color=colour, linewidth=0.6, alpha=0.35)
        by_epoch = own.groupby("epoch")["loss"].agg(["mean", "count"])
        mean = by_epoch.loc[by_epoch["count"] == len(runs), "mean"]
        size = 3 if len(mean) <= 25 else 0
        axes.plot(mean.index, mean, color=colour, marker=marker, markersize=size, label=split)
    if losses.min() > 0 and losses.max() / losses.min() > 20:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if losses.max() / losses.min() < 1000 else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # the default writes mathtext
        axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    if rows["epoch"].nunique() == 1:
        axes.set_xlim(rows["epoch"].iloc[0] - 1, rows["epoch"].iloc[0] + 1)
