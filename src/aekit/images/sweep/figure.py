"""Results of a grid of runs: heat maps over two options, curves over one, and the learning curves of every cell."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aekit.core.settings import in_words
from aekit.images.config import Loss
from aekit.images.figures.curves import (
    draw_history_panel,
    heading,
    heading_with_unit,
    history_panels,
    unit,
    write_legend,
)
from aekit.images.run_settings import MINIMISED
from aekit.images.sweep.tradeoff import draw_tradeoff
from aekit.plotting.style import (
    BLACK,
    FONT_SIZE,
    GREY,
    SMALL_FONT_SIZE,
    TINY_FONT_SIZE,
    build_figure,
    figure_style,
    lay_out,
    line_style,
    text_inches,
    wrap_text,
    write_title,
)

if TYPE_CHECKING:
    import pandas as pd

MAX_LINES = 12  # more of them could not be distinguished
# What objectives weigh besides the usual terms; the total correlation as it is measured for all of them.
_PENALISED = ("total_correlation", "dip", "mmd", "kl_free")
_ELBO = {"objective": "elbo", "capacity": None, "free_bits": None}
_PANEL, _HEIGHT = 4.2, 3.1  # inches of a panel, without labels
_MAX_PANEL = 14.0  # inches, of the widest heat map
_LEGEND = 2.6  # inches
_MAX_BLOCKS = 16  # cells in one column of the figure of all cells


def plot_sweep(
    results: pd.DataFrame,
    swept: Sequence[str],
    *,
    split: str,
    loss: Loss | None = "bernoulli",
    title: str = "",
    chosen: tuple[Hashable, str] | None = None,
) -> Figure:
    """Return a figure of the cells of a grid with a panel per measure.

    Where there is a KL divergence, the first panel is rate against distortion (:func:`draw_tradeoff`), which compares
    cells of different beta; the last one has its legend. A total is shown if it compares: of several beta, it is the
    negative evidence lower bound instead.

    Over two swept options they are heat maps with the mean over seeds written into each cell, and its standard
    deviation if there are several; over one, curves of the mean with a band of one standard deviation; over more,
    curves over the one with the most values, one line per combination of the others.

    Args:
        results: A row per trained cell: the swept options, and ``<split>_total``, ``_elbo``, ``_reconstruction``,
            ``_kl`` (may be missing throughout), ``_mse`` and what an objective penalises, such as ``_tc``; columns
            are numbers or texts.
        swept: The swept options, without the seed.
        split: The split whose results are shown.
        loss: The training loss, for the units; None if it differs from cell to cell.
        title: Written above all panels.
        chosen: The row that was chosen, by its index, and by what.
    """
    measures = shown_measures(results, split)
    if loss == "mse" and "reconstruction" in measures and "kl" not in measures:
        measures.remove("reconstruction")  # it is the squared error
    has_rate = "kl" in measures
    over = list(swept) or ["seed"]
    with figure_style():
        n_panels = len(measures) + 2 * has_rate
        rows, columns = ceil(n_panels / 2), min(2, n_panels)
        maps = {name: _HeatMap.of(results, over, f"{split}_{name}") for name in measures} if len(over) == 2 else {}
        width = max((each.width for each in maps.values()), default=_PANEL)
        height = max((each.height for each in maps.values()), default=_HEIGHT)
        legend = _LEGEND if len(over) > 2 else 0.0
        total_width = (width + 0.7) * columns + legend
        figure = build_figure(total_width, (height + 0.6) * rows + 0.3)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        shown = panels[1:-1] if has_rate else panels
        if has_rate:
            draw_tradeoff(
                panels[0], panels[-1], results, list(swept), split=split, loss=loss, chosen=chosen, width=width
            )
        for axes, measure in zip(shown, measures, strict=False):
            if measure in maps:
                maps[measure].draw(axes, _name(over[1]), _name(over[0]))
            else:
                _draw_curves(axes, results, over, f"{split}_{measure}", width)
            axes.set_title(_heading(measure, loss, is_elbo=not _differs(results, _ELBO)))
        for axes in shown[len(measures) :]:
            axes.set_visible(False)
        if legend:
            handles, labels = shown[0].get_legend_handles_labels()
            texts = [wrap_text(label, legend - 0.5) for label in labels]
            figure.legend(handles, texts, loc="outside right upper")
        write_title(figure, title, total_width, room=legend)
        return lay_out(figure)


def shown_measures(results: pd.DataFrame, split: str) -> list[str]:
    """Return the measures that the cells have and that compare them, without those that are another one by its name.

    Totals of different beta or objectives do not compare, the negative evidence lower bound does; otherwise the total
    is what was minimised. Without a KL divergence it is the reconstruction.
    """
    has_rate = results[f"{split}_kl"].notna().any()
    is_across = any(name in results and results[name].nunique(dropna=False) > 1 for name in MINIMISED)
    if not has_rate:
        return ["reconstruction", "mse"]
    # A bound is the total of its own cells, which is left out where cells differ in what they minimise.
    names = [*(("bound",) if is_across else ()), *_PENALISED]
    if not _has(results, f"{split}_tc"):  # no cell penalises it
        names.remove("total_correlation")
    own = [name for name in names if _has(results, f"{split}_{name}")]
    return ["elbo" if is_across else "total", "reconstruction", "kl", *own, "mse"]


def _has(results: pd.DataFrame, column: str) -> bool:
    return column in results and bool(results[column].notna().any())


def _differs(results: pd.DataFrame, defaults: Mapping[str, Any]) -> bool:
    """Return whether cells have other values of some options than those that are given."""
    return any(
        name in results and not results[name].map(lambda own, value=value: own == value or _is_missing(own)).all()
        for name, value in defaults.items()
    )


def _heading(measure: str, loss: Loss | None, *, is_elbo: bool) -> str:
    if measure == "elbo":
        return f"Negative ELBO, reconstruction + KL ({unit(measure, loss)})"
    text = heading_with_unit(measure, loss)
    return text.replace("Total loss", "Total loss, reconstruction + beta x KL") if is_elbo else text


@dataclass(frozen=True)
class _HeatMap:
    """Means of the cells of two options, as texts and as colours.

    Attributes:
        values: Means, (R, C); NaN where no cell was trained.
        texts: What is written into each cell, (R, C).
        rows: Names of the rows.
        columns: Names of the columns.
        points: Size of the letters in the cells; 0 if there are too many cells to write into.
        width: Inches of the map.
        height: Inches of the map.
    """

    values: npt.NDArray[np.float64]
    texts: npt.NDArray[np.object_]
    rows: list[str]
    columns: list[str]
    points: float
    width: float
    height: float

    @classmethod
    def of(cls, results: pd.DataFrame, over: Sequence[str], column: str) -> _HeatMap:
        """Return the map of a column of the results over two options, large enough for its texts."""
        grouped = results.groupby(list(over), sort=True, dropna=False)[column]
        order: dict[str, Any] = dict(zip(("index", "columns"), (_values(results[name]) for name in over), strict=True))
        mean, spread, count = (getattr(grouped, name)().unstack().reindex(**order) for name in ("mean", "std", "count"))
        values = mean.to_numpy(dtype=float)
        decimals = _decimals(values)
        texts = np.full(values.shape, "-", object)
        for i, j in np.argwhere(np.isfinite(values)):
            texts[i, j] = f"{values[i, j]:,.{decimals}f}"
            if count.iloc[i, j] > 1:
                texts[i, j] += f"\n± {spread.iloc[i, j]:,.{decimals}f}"
        rows, columns = ([wrap_text(_shown(value), 1.2) for value in names] for names in (mean.index, mean.columns))
        for points in (FONT_SIZE, SMALL_FONT_SIZE, TINY_FONT_SIZE):
            sizes = [text_inches(text, points) for text in texts.flat]
            cell_width, cell_height = (1.2 * max(size[side] for size in sizes) for side in (0, 1))
            width, height = max(_PANEL, cell_width * len(columns)), max(_HEIGHT, cell_height * len(rows))
            if width <= _PANEL and height <= _HEIGHT:
                return cls(values, texts, rows, columns, points, width, height)
        if width > _MAX_PANEL or height > _MAX_PANEL:
            return cls(values, texts, rows, columns, 0, min(width, 2 * _PANEL), min(height, 2 * _HEIGHT))
        return cls(values, texts, rows, columns, points, width, height)

    def draw(self, axes: Axes, xlabel: str, ylabel: str) -> None:
        """Draw the map; where numbers would not fit, a colour bar replaces them."""
        shown = np.ma.masked_invalid(self.values)
        image = axes.imshow(shown, cmap="viridis", aspect="auto")
        low, high = (float(shown.min()), float(shown.max())) if shown.count() else (0.0, 0.0)
        for (i, j), text in np.ndenumerate(self.texts) if self.points else ():
            is_dark = (self.values[i, j] - low) < 0.6 * (high - low)
            colour = "white" if is_dark else BLACK
            axes.text(j, i, text, ha="center", va="center", fontsize=self.points, color=colour)
        if not self.points:
            axes.figure.colorbar(image, ax=axes, pad=0.02)
        for axis, names, inches, side in (
            (axes.xaxis, self.columns, self.width, 0),
            (axes.yaxis, self.rows, self.height, 1),
        ):
            step = ceil(1.2 * max(text_inches(name)[side] for name in names) * len(names) / (0.92 * inches))
            axis.set_ticks(range(0, len(names), step), names[::step])
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.grid(False)
        axes.tick_params(length=0)


def _decimals(values: npt.NDArray[np.float64]) -> int:
    """Return how many decimals show four digits of the largest value; all cells of a map have the same number."""
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max(initial=0.0))
    return int(np.clip(3 - floor(log10(largest)), 0, 8)) if largest > 0 else 0


def _draw_curves(axes: Axes, results: pd.DataFrame, over: Sequence[str], column: str, width: float) -> None:
    numeric = [name for name in over if results[name].dtype.kind in "if"] or list(over)
    x_name = max(numeric, key=lambda name: results[name].nunique())
    others = [name for name in over if name != x_name]
    is_numeric = results[x_name].dtype.kind in "if"
    values = _values(results[x_name].dropna())
    lines = list(results.groupby(others, sort=False, dropna=False)) if others else [((), results)]
    for number, (key, rows) in enumerate(lines[:MAX_LINES]):
        colour, marker = line_style(number)
        grouped = rows.groupby(x_name)[column]
        mean, spread = grouped.mean(), grouped.std().fillna(0.0)
        x = mean.index.to_numpy() if is_numeric else [values.index(value) for value in mean.index]
        own = [(name, _plain(value)) for name, value in zip(others, key, strict=True) if not _is_missing(value)]
        label = ", ".join(in_words(name, value) for name, value in own)
        if not len(mean):  # an autoencoder has no beta: its line is level
            axes.axhline(rows[column].mean(), color=colour, linestyle="--", label=label)
            continue
        axes.plot(x, mean, color=colour, marker=marker, markersize=4, label=label, linestyle="-" if is_numeric else "")
        if grouped.count().max() > 1:
            axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
            each = rows[x_name] if is_numeric else [values.index(value) for value in rows[x_name]]
            axes.plot(each, rows[column], ".", color=colour if others else GREY, markersize=3, zorder=1)
    _set_ticks(axes, values, width, is_numeric=is_numeric)
    axes.set_xlabel(_name(x_name))


def _set_ticks(axes: Axes, values: Sequence[Any], width: float, *, is_numeric: bool) -> None:
    """Put a tick at each value, and label those that leave room for each other."""
    is_log = is_numeric and min(values) > 0 and max(values) / min(values) >= 20
    if is_log:
        axes.set_xscale("log")
    places = [log10(value) if is_log else value for value in values] if is_numeric else list(range(len(values)))
    scale = 0.85 * width / ((places[-1] - places[0]) or 1)
    texts = [wrap_text(_shown(value), 0.8 * width / len(values) if not is_numeric else width) for value in values]
    end = -np.inf
    for number, text in enumerate(texts):
        half, middle = text_inches(text)[0] / 2 + 0.03, scale * places[number]
        if middle - half < end:
            texts[number] = ""
        else:
            end = middle + half
    axes.set_xticks(values if is_numeric else places, texts)
    axes.minorticks_off()
    if len(values) == 1:
        axes.set_xlim((values[0] / 2, values[0] * 2) if is_log else (places[0] - 1, places[0] + 1))


def plot_cells(
    histories: Sequence[pd.DataFrame], labels: Sequence[str], *, losses: Sequence[Loss] = (), title: str = ""
) -> Figure:
    """Return the learning curves of every cell: a row of panels each, as for a single run.

    Args:
        histories: The histories of the cells, as :func:`aekit.images.figures.curves.plot_history` takes them.
        labels: What distinguishes each from the others.
        losses: The training loss of each cell, for the units; empty for ``bernoulli`` throughout.
        title: Written above all panels.
    """
    of_cells: Sequence[Loss] = losses or ["bernoulli"] * len(histories)
    panels = [history_panels(history, loss=loss) for history, loss in zip(histories, of_cells, strict=True)]
    n_across = max(map(len, panels))
    n_blocks = ceil(len(histories) / _MAX_BLOCKS)
    n_rows = ceil(len(histories) / n_blocks)
    block = 2.7 * n_across + (1.2 if n_across < 3 and n_blocks == 1 else 0.0)  # inches; room for the legend
    # The room right of the labels of the first panel; and bold letters are wider.
    texts = [wrap_text(label, 0.88 * (block - 0.8), FONT_SIZE) for label in labels]
    n_lines = max(text.count("\n") for text in texts) + 1
    width = block * n_blocks
    with figure_style():
        figure = build_figure(width, (1.65 + 0.16 * n_lines) * n_rows + 0.6)
        grid = figure.subplots(n_rows, n_across * n_blocks, squeeze=False)
        for axes in grid.flat:
            axes.set_visible(False)
        for number, (history, columns) in enumerate(zip(histories, panels, strict=True)):
            start, row = number // n_rows * n_across, number % n_rows
            is_last = row == n_rows - 1 or number == len(histories) - 1
            for axes, column in zip(grid[row, start : start + n_across], columns, strict=False):
                axes.set_visible(True)
                draw_history_panel(axes, history, column, has_xlabel=is_last)
                # In every panel, as a heading above the first row is far from the last one.
                axes.set_ylabel(f"{heading(column)}\n{unit(column, of_cells[number])}", fontsize=SMALL_FONT_SIZE)
            grid[row, start].set_title(texts[number], weight="bold")
        room = write_legend(figure, grid[0, 0])
        write_title(figure, title, width, room=room)
        return lay_out(figure)


def _name(option: str) -> str:
    return {"latent": "latent dimensions"}.get(option, option.replace("_", " "))


def _values(column: pd.Series) -> list[Any]:
    """Return the values of an option: numbers from the least to the largest, texts in the order of the cells."""
    values = list(column.unique())
    return sorted(values, key=lambda value: (_is_missing(value), value)) if column.dtype.kind in "if" else values


def _is_missing(value: Any) -> bool:
    return bool(value != value)  # NaN


def _shown(value: Any) -> str:
    if _is_missing(value):
        return "none"
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)


def _plain(value: Any) -> Any:
    """Return a number of NumPy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value
