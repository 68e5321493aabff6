"""What a grid of runs came to: heat maps over two options, curves over one, and the learning curves of every cell."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aekit.config import Loss
from aekit.figures.curves import draw_history_panel, history_panels
from aekit.figures.style import BLACK, BLUE, GREY, build_figure, class_style, figure_style, lay_out

if TYPE_CHECKING:
    import pandas as pd

MAX_LINES = 12  # more of them could not be told apart
_TITLES = {
    "total": "Total loss (reconstruction + beta KL)",
    "reconstruction": "Reconstruction",
    "kl": "KL divergence",
    "mse": "Squared error",
}


def plot_sweep(
    results: pd.DataFrame, swept: Sequence[str], *, split: str, loss: Loss = "bernoulli", title: str = ""
) -> Figure:
    """Return a panel a measure of the cells of a grid.

    Over two swept options they are heat maps with the mean over seeds written into each cell, and its standard
    deviation if there are several; over one, curves of the mean with a band of one standard deviation; over more,
    curves over the one with the most values, one line a combination of the others.

    Args:
        results: A row a cell that was trained: the swept options, and ``<split>_total``, ``_reconstruction``, ``_kl``
            (may be missing throughout) and ``_mse``; columns are numbers or texts.
        swept: The swept options, the seed not among them.
        split: Whose figures to show.
        loss: The training loss, for the units.
        title: Written above all panels.
    """
    measures = [name for name in _TITLES if results[f"{split}_{name}"].notna().any()]
    if measures[0] == "total" and "kl" not in measures:
        measures.remove("total")  # without a KL divergence it is the reconstruction
    over = list(swept) or ["seed"]
    with figure_style():
        rows, columns = ceil(len(measures) / 2), min(2, len(measures))
        figure = build_figure(4.8 * columns + (1.6 if len(over) > 2 else 0), 3.4 * rows + 0.3)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, measure in zip(panels, measures, strict=False):
            column = f"{split}_{measure}"
            if len(over) == 2:
                _draw_heat_map(axes, results, over, column)
            else:
                _draw_curves(axes, results, over, column)
            unit = "MSE per pixel" if measure == "mse" or loss == "mse" else "nats per image"
            axes.set_title(f"{_TITLES[measure]}, {unit}")
        for axes in panels[len(measures) :]:
            axes.set_visible(False)
        if len(over) > 2:
            handles, labels = panels[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside right upper")
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
        return lay_out(figure)


def _draw_heat_map(axes: Axes, results: pd.DataFrame, over: Sequence[str], column: str) -> None:
    row, across = over
    grouped = results.groupby([row, across], sort=True, dropna=False)[column]
    mean, spread, count = (getattr(grouped, name)().unstack() for name in ("mean", "std", "count"))
    values = mean.to_numpy(dtype=float)
    image = np.ma.masked_invalid(values)
    axes.imshow(image, cmap="viridis", aspect="auto")
    low, high = (float(image.min()), float(image.max())) if image.count() else (0.0, 0.0)
    for (i, j), value in np.ndenumerate(values):
        text = "-" if np.isnan(value) else f"{value:.4g}"
        if not np.isnan(value) and count.iloc[i, j] > 1:
            text += f"\n± {spread.iloc[i, j]:.2g}"
        is_dark = not np.isnan(value) and (value - low) < 0.6 * (high - low)
        axes.text(j, i, text, ha="center", va="center", fontsize="x-small", color="white" if is_dark else BLACK)
    axes.set_xticks(range(len(mean.columns)), [_shown(value) for value in mean.columns])
    axes.set_yticks(range(len(mean.index)), [_shown(value) for value in mean.index])
    axes.set(xlabel=_name(across), ylabel=_name(row))
    axes.grid(False)
    axes.tick_params(length=0)


def _draw_curves(axes: Axes, results: pd.DataFrame, over: Sequence[str], column: str) -> None:
    numeric = [name for name in over if results[name].dtype.kind in "if"] or list(over)
    x_name = max(numeric, key=lambda name: results[name].nunique())
    others = [name for name in over if name != x_name]
    is_numeric = results[x_name].dtype.kind in "if"
    values = sorted(results[x_name].unique())
    lines = list(results.groupby(others, sort=True)) if others else [((), results)]
    for number, (key, rows) in enumerate(lines[:MAX_LINES]):
        colour, marker = class_style(number) if others else (BLUE, "o")
        grouped = rows.groupby(x_name)[column]
        mean, spread = grouped.mean(), grouped.std().fillna(0.0)
        x = mean.index.to_numpy() if is_numeric else [values.index(value) for value in mean.index]
        label = ", ".join(_named(name, value) for name, value in zip(others, key, strict=True))
        axes.plot(x, mean, color=colour, marker=marker, markersize=4, label=label, linestyle="-" if is_numeric else "")
        if grouped.count().max() > 1:
            axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
            each = rows[x_name] if is_numeric else [values.index(value) for value in rows[x_name]]
            axes.plot(each, rows[column], ".", color=colour if others else GREY, markersize=3, zorder=1)
    if is_numeric and min(values) > 0 and max(values) / min(values) >= 20:
        axes.set_xscale("log")
    if len(values) <= 10 or not is_numeric:
        at = values if is_numeric else range(len(values))
        axes.set_xticks(at, [_shown(value) for value in values])
        axes.minorticks_off()
    axes.set_xlabel(_name(x_name))


def plot_cells(
    histories: Sequence[pd.DataFrame], labels: Sequence[str], *, loss: Loss = "bernoulli", title: str = ""
) -> Figure:
    """Return the learning curves of every cell: a row of three panels each, as of a single run.

    Args:
        histories: The histories of the cells, as :func:`aekit.figures.curves.plot_history` takes them.
        labels: What tells each from the others.
        loss: The training loss, for the units.
        title: Written above all.
    """
    n_blocks = ceil(len(histories) / 16)
    n_rows = ceil(len(histories) / n_blocks)
    with figure_style():
        figure = build_figure(8.0 * n_blocks, 1.75 * n_rows + 0.6)
        grid = figure.subplots(n_rows, 3 * n_blocks, squeeze=False)
        for number, (history, label) in enumerate(zip(histories, labels, strict=True)):
            block, row = divmod(number, n_rows)
            for axes, panel in zip(grid[row, 3 * block : 3 * block + 3], history_panels(history), strict=True):
                is_last = row == n_rows - 1 or number == len(histories) - 1
                draw_history_panel(axes, history, panel, loss=loss, has_title=row == 0, has_xlabel=is_last)
            # Above the curves, and in the first row above what the panels show.
            heading = grid[row, 3 * block].get_title(loc="left")
            grid[row, 3 * block].set_title(f"{label}\n{heading}" if heading else label, weight="bold")
        for axes in grid.T.reshape(n_blocks, 3, n_rows).transpose(0, 2, 1).reshape(-1, 3)[len(histories) :].ravel():
            axes.set_visible(False)
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=len(names))
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
        return lay_out(figure)


def _name(option: str) -> str:
    return option.replace("_", " ")


def _named(option: str, value: Any) -> str:
    is_plain = option in ("model", "arch", "data")  # their values speak for themselves
    return _shown(value) if is_plain else f"{_name(option)} {_shown(value)}"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)
