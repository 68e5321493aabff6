"""Points in the plane, coloured by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from aekit.figures.style import GREY, class_style

FloatArray = npt.NDArray[np.floating]


def draw_classes(
    axes: Axes, points: FloatArray, labels: npt.NDArray[np.integer] | None, *, size: float = 3.0, seed: int = 0
) -> None:
    """Draw points in the colours and markers of their classes.

    They are drawn in a random order, so that no class covers the others, and as pixels, so that sixty thousand of them
    stay a small file.

    Args:
        axes: Where to draw.
        points: Places, (N, 2).
        labels: Class of each point, (N,); None draws all in grey.
        size: Diameter of a point in points of 1/72 inch.
        seed: Seed of the order.
    """
    order = np.random.default_rng(seed).permutation(len(points))
    kinds = np.zeros(len(points), np.int64) if labels is None else labels.astype(np.int64)
    styles = [class_style(kind) if labels is not None else (GREY, "o") for kind in range(int(kinds.max(initial=0)) + 1)]
    for marker in dict.fromkeys(marker for _, marker in styles):
        chosen = order[[styles[kind][1] == marker for kind in kinds[order]]]
        colours = [styles[kind][0] for kind in kinds[chosen]]
        x, y = points[chosen].T
        axes.scatter(x, y, s=size**2, c=colours, marker=marker, linewidths=0, alpha=0.8, rasterized=True)


def class_keys(labels: npt.NDArray[np.integer], class_names: Sequence[str]) -> list[Line2D]:
    """Return the entries of a legend, for ``axes.legend(handles=...)``: one a class that occurs.

    Args:
        labels: Classes that were drawn, (N,).
        class_names: One name a class.
    """
    keys = []
    for kind in np.unique(labels):
        colour, marker = class_style(int(kind))
        name = class_names[kind] if kind < len(class_names) else str(kind)
        keys.append(Line2D([], [], color=colour, marker=marker, markersize=5, linestyle="none", label=name))
    return keys
