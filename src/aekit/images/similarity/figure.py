"""Similarities of codes as matrices, a panel for each measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aekit.images.similarity.pairs import Pair
from aekit.plotting.style import (
    BLACK,
    SMALL_FONT_SIZE,
    TINY_FONT_SIZE,
    build_figure,
    figure_style,
    lay_out,
    shorten,
    text_inches,
    wrap_text,
    write_title,
)

MEASURES = {
    "cka": "Centred kernel alignment; 1: alike",
    "procrustes": "Procrustes disparity; 0: alike",
    "neighbours": "Shared nearest neighbours; 1: alike",
}
_CELL, _MOST = 0.4, 4.0  # inches of a cell with a number in it, and of the widest matrix
_NAME = 2.2  # inches of the name of a model
_MAX_WRAPPED = 12  # names in several lines; of more of them each has one, cut off after some letters
_MAX_LETTERS = 48


def plot_similarities(names: Sequence[str], pairs: Sequence[Pair], *, title: str = "") -> Figure:
    """Return a figure with a matrix for each measure, names on its left and numbers below.

    Args:
        names: Name of each code.
        pairs: All pairs of them.
        title: Written at the top.
    """
    numbered = [f"{number + 1}: {name}" for number, name in enumerate(names)]
    is_crowded = len(names) > _MAX_WRAPPED
    texts = [shorten(text, _MAX_LETTERS) if is_crowded else wrap_text(text, _NAME) for text in numbered]
    size = TINY_FONT_SIZE if is_crowded else SMALL_FONT_SIZE
    side = min(max(_CELL * len(names), 1.8), _MOST)
    side = max(side, sum(text_inches(text, size)[1] for text in texts) * 1.1)
    margin = max(text_inches(text, size)[0] for text in texts) + 0.3
    width = margin + 3 * (side + 0.35)
    with figure_style():
        figure = build_figure(width, side + 1.1)
        panels: Any = figure.subplots(1, 3, sharey=True)
        for axes, (measure, heading) in zip(panels, MEASURES.items(), strict=True):
            _draw(axes, pairs, measure, len(names), side / len(names))
            axes.set_title(wrap_text(heading, side))
        panels[0].set_yticks(range(len(names)), texts, fontsize=size)
        write_title(figure, title, width)
        return lay_out(figure)


def _draw(axes: Axes, pairs: Sequence[Pair], measure: str, n_codes: int, cell: float) -> None:
    matrix = np.full((n_codes, n_codes), np.nan)
    for pair in pairs:
        matrix[pair.first, pair.second] = matrix[pair.second, pair.first] = pair.intervals[measure].value
    alike_is_dark = measure != "procrustes"
    axes.imshow(matrix, cmap="Blues" if alike_is_dark else "Blues_r", vmin=0, vmax=1, aspect="auto")
    axes.grid(visible=False)
    for i, j in np.argwhere(np.isfinite(matrix)) if cell > 0.24 else ():
        value = matrix[i, j]
        is_dark = (value if alike_is_dark else 1 - value) > 0.55
        text = f"{value:.2f}" if value > 0.995 else f"{value:.2f}"[1:]
        axes.text(j, i, text, ha="center", va="center", fontsize=TINY_FONT_SIZE, color="white" if is_dark else BLACK)
    step = max(1, round(0.2 / cell))
    axes.set_xticks(range(0, n_codes, step), [str(number + 1) for number in range(0, n_codes, step)])
