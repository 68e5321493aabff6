"""Contact sheets of unusual images, of pairs and of suspect labels, and how well scores find known outliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from aekit.images.figures.grids import plot_rows
from aekit.images.outliers.detection import Detection
from aekit.images.outliers.request import TRIVIAL, Score
from aekit.plotting.style import BLUE, GREY, SMALL_FONT_SIZE, build_figure, figure_style, lay_out, write_title

Pixels = npt.NDArray[np.uint8]

_PANELS = {"auroc": "AUROC", "average_precision": "average precision", "fpr95": "false positives at 95 % recall"}
_WIDTH = 7.6


def plot_unusual(rows: Mapping[str, Pixels], *, title: str = "") -> Figure:
    """Return a figure with the most unusual images by each score, a row for each.

    Args:
        rows: Images by the name of the score, (n, C, H, W) each, the most unusual first.
        title: Written at the top.
    """
    return plot_rows(np.stack(list(rows.values())), list(rows), title=title)


def plot_suspects(groups: Sequence[Pixels], labels: Sequence[str], *, title: str = "") -> Figure:
    """Return a figure with a row for each suspect image: the image, then its twin, or its neighbours.

    Args:
        groups: Images of each row, (n, C, H, W) with different n.
        labels: What each row is called.
        title: Written at the top.
    """
    widest = max(map(len, groups))
    images = np.full((len(groups), widest, *groups[0].shape[1:]), 255, np.uint8)
    for row, group in zip(images, groups, strict=True):
        row[: len(group)] = group
    return plot_rows(images, labels, columns=widest, title=title)


def plot_detection(found: Mapping[Score, Detection], chance: float, *, title: str = "") -> Figure:
    """Return a figure of how well each score finds known outliers, with 95 % intervals and what chance gives.

    Args:
        found: Scores in the order of their rows.
        chance: Fraction of outliers among the images, which is the average precision of chance.
        title: Written at the top.
    """
    by_chance = {"auroc": 0.5, "average_precision": chance, "fpr95": 0.95}
    with figure_style():
        figure = build_figure(_WIDTH, 1.3 + 0.22 * len(found))
        panels: Any = figure.subplots(1, 3, sharey=True)
        for axes, (measure, heading) in zip(panels, _PANELS.items(), strict=True):
            for y, (name, detection) in enumerate(found.items()):
                value, low, high = getattr(detection, measure)
                colour = GREY if name in TRIVIAL else BLUE
                axes.plot([low, high], [y, y], color=colour)
                axes.plot(value, y, "o", color=colour, markersize=4, clip_on=False)
            axes.axvline(by_chance[measure], color=GREY, linestyle=":", linewidth=1)
            axes.set(xlim=(-0.02, 1.02), xlabel=heading)
        panels[0].set_yticks(range(len(found)), list(found), fontsize=SMALL_FONT_SIZE)
        panels[0].invert_yaxis()
        write_title(figure, title, _WIDTH)
        return lay_out(figure)
