"""Accuracy against the number of labels."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log
from typing import TYPE_CHECKING, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from aekit.plotting.style import (
    BLACK,
    BLUE,
    FONT_SIZE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    build_figure,
    figure_style,
    lay_out,
    wrap_text,
    write_title,
)

if TYPE_CHECKING:
    import pandas as pd

# A method looks the same in every figure, with whichever others; baselines without a trained encoder are dashed.
STYLES: dict[str, tuple[str, str, Literal["-", "--"], str]] = {
    "spread": (GREEN, "D", "-", "spread: label spreading on the codes"),
    "finetune": (VERMILION, "s", "-", "finetune: encoder and head trained"),
    "frozen": (BLUE, "o", "-", "frozen: head on the frozen encoder"),
    "logistic": (SKY, "^", "-", "logistic: regression on the codes"),
    "scratch": (ORANGE, "s", "--", "scratch: trained from random weights"),
    "pca": (PURPLE, "^", "--", "pca: regression on PCA codes"),
    "pixels": (BLACK, "^", "--", "pixels: regression on pixels"),
}
_MAX_COLUMNS = 4
_LEGEND_WIDTH = 2.7  # inches
_DIGIT, _GAP = 4.8, 4.0  # points of 1/72 inch: width of a digit in a tick label, and smallest gap between two labels


def plot_probe(accuracies: pd.DataFrame, *, chance: float, title: str = "") -> Figure:
    """Return one panel per checkpoint: mean accuracy on test images against the number of labels, a line per method.

    Bands are one standard deviation over draws to each side. The legend is ordered by mean accuracy.

    Args:
        accuracies: Columns ``panel``, ``method``, ``labels`` and ``accuracy`` in [0, 1], one row per draw.
        chance: Accuracy of the most frequent class, in [0, 1].
        title: Written above all panels.
    """
    panels = list(dict.fromkeys(accuracies["panel"]))
    n_columns = min(len(panels), _MAX_COLUMNS)
    n_rows = ceil(len(panels) / n_columns)
    width, height = (4.6, 3.9) if len(panels) == 1 else (3.1, 2.7)
    with figure_style():
        figure = build_figure(n_columns * width + _LEGEND_WIDTH, n_rows * height + 0.3)
        grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
        for axes, panel in zip(grid.flat, panels, strict=False):
            _draw_panel(axes, accuracies[accuracies["panel"] == panel], chance, width_points=0.8 * 72 * width)
            if len(panels) > 1:
                axes.set_title(wrap_text(str(panel), 0.85 * width, FONT_SIZE))
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for number, axes in enumerate(grid.flat[: len(panels)]):
            if number + n_columns >= len(panels):  # nothing below
                axes.set_xlabel("labelled images")
                axes.tick_params(labelbottom=True)
        for axes in grid[:, 0]:
            axes.set_ylabel("accuracy on test images")
        low = min(accuracies["accuracy"].min(), chance)
        grid[0, 0].set_ylim(max(0.0, low - 0.04), 1.0)
        grid[0, 0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        # With several rows of panels, it belongs next to the upper ones.
        figure.legend(handles=_keys(accuracies), loc="outside right center" if n_rows == 1 else "outside right upper")
        total_width = float(figure.get_figwidth())
        write_title(figure, title, total_width, room=0.0 if n_rows == 1 else _LEGEND_WIDTH)
        return lay_out(figure)


def _draw_panel(axes: Axes, rows: pd.DataFrame, chance: float, *, width_points: float) -> None:
    sizes = sorted(set(rows["labels"]))
    axes.axhline(chance, color=GREY, linestyle=":", linewidth=1)
    for method, own in rows.groupby("method", sort=False):
        colour, marker, line, _ = STYLES[str(method)]
        by_size = own.groupby("labels")["accuracy"]
        mean, spread = by_size.mean(), by_size.std().fillna(0.0)
        axes.fill_between(mean.index, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
        axes.plot(mean.index, mean, color=colour, marker=marker, linestyle=line, markersize=3.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sizes, _tick_labels(sizes, width_points))


def _tick_labels(sizes: Sequence[int], width_points: float) -> list[str]:
    """Return the sizes as texts, empty for those that would overlap another; the first and last are always there."""
    texts = [f"{size:,}" for size in sizes]
    scale = 0.9 * width_points / (log(sizes[-1] / sizes[0]) or 1.0)
    centres = [scale * log(size / sizes[0]) for size in sizes]
    halves = [_DIGIT * len(text) / 2 for text in texts]
    shown = [len(sizes) - 1]
    for i in range(len(sizes) - 1):
        after, before = shown[0], shown[-1]
        fits_after = centres[i] + halves[i] + _GAP <= centres[after] - halves[after]
        fits_before = before == after or centres[before] + halves[before] + _GAP <= centres[i] - halves[i]
        if i == 0 or (fits_after and fits_before):
            shown.append(i)
    return [text if i in shown else "" for i, text in enumerate(texts)]


def _keys(accuracies: pd.DataFrame) -> list[Line2D]:
    order = accuracies.groupby("method")["accuracy"].mean().sort_values(ascending=False, kind="stable").index
    keys = []
    for method in order:
        colour, marker, line, text = STYLES[str(method)]
        keys.append(Line2D([], [], color=colour, marker=marker, linestyle=line, markersize=3.5, label=text))
    return [*keys, Line2D([], [], color=GREY, linestyle=":", linewidth=1, label="most frequent class")]
