"""Scores of models beside those of trivial codes, and the importance of each dimension for each factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aekit.images.disentangle.agreement import INFORMATIVE
from aekit.images.disentangle.binning import Floats
from aekit.images.disentangle.measure import Measured
from aekit.images.disentangle.scores import SCORES
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

WIDTH = 9.0  # inches
MAX_MODELS = 8  # in the figure; more of them could not be distinguished
_LEGEND = 2.4  # inches of its text
_ROW = 0.36  # inches of a score
_CELL = 0.3  # inches of a cell with a number in it
_MIN_MAP = 2.0  # inches of the narrowest map, whose title needs room
_MARKERS = {"turned": "x", "permuted": "+", "factors": "|", "pca": "1", "projection": "2"}
_WORDS = {
    "turned": "axes turned at random",
    "permuted": "factors of other images: chance",
    "factors": "the factors as the code",
    "pca": "principal components",
    "projection": "random projections of pixels",
}


@dataclass(frozen=True)
class ImportancePanel:
    """How important each dimension of a model is for each factor.

    Attributes:
        label: What the model is called.
        importance: Importances, (L, F).
        factors: Names of the factors.
        kl: KL divergence of each dimension in nats, (L,).
    """

    label: str
    importance: Floats
    factors: tuple[str, ...]
    kl: Floats


def plot_disentanglement(
    models: Sequence[tuple[str, Sequence[Measured]]],
    baselines: Sequence[Measured],
    panels: Sequence[ImportancePanel],
    *,
    agreement: Sequence[tuple[str, float]] = (),
    title: str = "",
) -> Figure:
    """Return a figure with a row per score, and a map of importances per model below.

    Args:
        models: Name and scores of each model, with those of its codes turned and permuted.
        baselines: Scores of codes that need no model.
        panels: Importances of each model.
        agreement: Name and agreement of each model with the others (UDR).
        title: Written at the top.
    """
    scores = [name for name in SCORES if any(np.isfinite(own[0].interval(name).value) for _, own in models)]
    labels = [*(SCORES[name] for name in scores), *(["UDR"] if agreement else [])]
    names = list(dict.fromkeys([*(label for label, _ in models), *(label for label, _ in agreement)]))[:MAX_MODELS]
    maps = panels[:MAX_MODELS]
    with figure_style():
        n_lines = sum(wrap_text(name, _LEGEND).count("\n") + 1 for name in names) + len(_MARKERS)
        top = max(_ROW * len(labels), 0.17 * n_lines) + 0.9
        names_width = max((text_inches(factor)[0] for panel in maps for factor in panel.factors), default=0) + 0.2
        widths = [max(_CELL * len(panel.importance), _MIN_MAP) + names_width for panel in maps]
        columns = max(1, min(len(maps), int(WIDTH / max(widths, default=WIDTH))))
        rows = ceil(len(maps) / columns)
        width = WIDTH / columns - names_width - 0.2
        n_title = max((wrap_text(panel.label, width, FONT_SIZE).count("\n") + 1 for panel in maps), default=0)
        height = (_CELL * max((len(panel.factors) for panel in maps), default=0) + 0.6 + 0.17 * n_title) * rows
        figure = build_figure(WIDTH, top + height)
        parts: Any = figure.subfigures(2, 1, height_ratios=[top, height]) if maps else [figure]
        _draw_scores(parts[0].subplots(), models, baselines, scores, labels, names, agreement)
        write_title(parts[0], title, WIDTH)
        if maps:
            grid = parts[1].subplots(rows, columns, squeeze=False).ravel()
            for axes, panel in zip(grid, maps, strict=False):
                _draw_map(axes, panel, width)
            for axes in grid[len(maps) :]:
                axes.set_visible(False)
        return lay_out(figure)


def _draw_scores(
    axes: Axes,
    models: Sequence[tuple[str, Sequence[Measured]]],
    baselines: Sequence[Measured],
    scores: Sequence[str],
    labels: Sequence[str],
    names: Sequence[str],
    agreement: Sequence[tuple[str, float]],
) -> None:
    places = {name: place for place, name in enumerate(scores)}
    apart = 0.5 / max(len(names), 1)
    for number, name in enumerate(names):
        colour, marker = line_style(number)
        shift = (number - (len(names) - 1) / 2) * apart
        own = next((measured for label, measured in models if label == name), ())
        for score, place in places.items() if own else ():
            value, low, high = own[0].interval(score)
            axes.plot(value, place + shift, marker=marker, color=colour, markersize=5, linestyle="none", zorder=3)
            _draw_interval(axes, low, high, place + shift, colour, 1.2)
        for label, value in agreement:
            if label == name:
                axes.plot(value, len(scores) + shift, marker=marker, color=colour, markersize=5, zorder=3)
        for each in own[1:]:
            _draw_null(axes, each, places, shift, colour)
    for each in baselines:
        _draw_null(axes, each, places, 0.0, BLACK)
    known = [*(each for _, own in models[:1] for each in own[1:]), *baselines]
    keys = [_key(wrap_text(name, _LEGEND), *line_style(number)) for number, name in enumerate(names)]
    keys += [_key(_WORDS[code], BLACK, _MARKERS[code]) for code in dict.fromkeys(each.code for each in known)]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    has_draws = any(len(own[0].draws) > 1 for _, own in models)
    axes.set_xlabel("score: 1 is best" + ("; with its 95 % interval over draws of images" if has_draws else ""))
    axes.grid(axis="x", color=GREY, alpha=0.3)
    axes.legend(handles=keys, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=SMALL_FONT_SIZE)


def _draw_null(axes: Axes, each: Measured, places: Mapping[str, int], shift: float, colour: str) -> None:
    for score, place in places.items():
        value, low, high = each.interval(score)
        axes.plot(value, place + shift, marker=_MARKERS[each.code], color=colour, markersize=6, zorder=1)
        _draw_interval(axes, low, high, place + shift, colour, 0.5)


def _draw_interval(axes: Axes, low: float, high: float, place: float, colour: str, width: float) -> None:
    if np.isfinite(low):
        axes.plot([max(low, 0), min(high, 1)], [place] * 2, color=colour, linewidth=width, zorder=2)


def _key(text: str, colour: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=5, label=text)


def _draw_map(axes: Axes, panel: ImportancePanel, width: float) -> None:
    """Draw importances as shades with numbers, dimensions from left to right."""
    n_dimensions, n_factors = panel.importance.shape
    axes.imshow(panel.importance.T, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.grid(visible=False)
    has_room = width / n_dimensions > 0.22
    for j in range(n_dimensions) if has_room else ():
        for k in range(n_factors):
            value = panel.importance[j, k]
            colour = "white" if value > 0.55 else BLACK
            axes.text(j, k, f"{value:.2f}"[1:] if value < 0.995 else "1", ha="center", va="center", color=colour,
                      fontsize=TINY_FONT_SIZE)  # fmt: skip
    axes.set_yticks(range(n_factors), [factor.replace("_", " ") for factor in panel.factors])
    step = ceil(n_dimensions * text_inches("100", SMALL_FONT_SIZE)[0] * 1.3 / width)
    shown = range(0, n_dimensions, step)
    axes.set_xticks(shown, [str(j) for j in shown])
    for place, tick in zip(shown, axes.get_xticklabels(), strict=True):
        tick.set_color(GREY if panel.kl[place] <= INFORMATIVE else BLACK)
    axes.set_xlabel(f"dimension; grey: KL below {INFORMATIVE} nats" if (panel.kl <= INFORMATIVE).any() else "dimension")
    axes.set_title(wrap_text(panel.label, width, FONT_SIZE))
