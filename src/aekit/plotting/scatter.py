"""Points in the plane, coloured by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from aekit.plotting.style import GREY, class_style

FloatArray = npt.NDArray[np.floating]

_FAINTEST = 0.25  # opacity of a cell with a single point: still visible on white


def draw_classes(
    axes: Axes, points: FloatArray, labels: npt.NDArray[np.integer] | None, *, size: float = 3.0, seed: int = 0
) -> None:
    """Draw points in the colours and markers of their classes.

    They are drawn in random order, so that no class covers the others, and rasterised, so that sixty thousand of them
    make a small file.

    Args:
        axes: Axes to draw on.
        points: Positions, (N, 2).
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


def draw_density(
    axes: Axes,
    points: FloatArray,
    labels: npt.NDArray[np.integer] | None,
    *,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    n_cells: int,
) -> None:
    """Draw the density of points as an image of square cells, for when dots would cover each other.

    The colour of a cell is the mean of its points' class colours; its opacity grows with their number, on a logarithmic
    scale from a single point to the fullest hundredth of the cells.

    Args:
        axes: Axes to draw on.
        points: Positions, (N, 2).
        labels: Class of each point, (N,); None draws all in grey. There are no markers, so
            with more than twenty classes some look the same.
        x_range: Left and right edge of the cells.
        y_range: Lower and upper edge of the cells.
        n_cells: Cells along each edge.
    """
    cells = np.zeros(len(points), np.int64)
    for values, (low, high), step in zip(points.T, (x_range, y_range), (1, n_cells), strict=True):
        cells += step * np.clip((values - low) * (n_cells / (high - low)), 0, n_cells - 1).astype(np.int64)
    kinds = np.zeros(len(points), np.int64) if labels is None else labels.astype(np.int64)
    colours = [class_style(kind)[0] if labels is not None else GREY for kind in range(int(kinds.max(initial=0)) + 1)]
    palette = np.array([to_rgb(colour) for colour in colours])
    counts = np.bincount(cells, minlength=n_cells**2)
    picture = np.zeros((n_cells**2, 4))
    for channel in range(3):
        sums = np.bincount(cells, palette[kinds, channel], minlength=n_cells**2)
        picture[:, channel] = sums / np.maximum(counts, 1)
    many = max(float(np.quantile(counts[counts > 0], 0.99)), 2.0)
    opacity = np.clip(np.log(np.maximum(counts, 1)) / np.log(many), 0, 1)
    picture[:, 3] = np.where(counts > 0, _FAINTEST + (1 - _FAINTEST) * opacity, 0)
    grid = picture.reshape(n_cells, n_cells, 4)
    axes.imshow(grid, origin="lower", extent=(*x_range, *y_range), interpolation="nearest", aspect="auto")


def class_keys(labels: npt.NDArray[np.integer], class_names: Sequence[str]) -> list[Line2D]:
    """Return the entries of a legend, for ``axes.legend(handles=...)``: one for each class that occurs.

    Args:
        labels: Classes that were drawn, (N,).
        class_names: One name per class.
    """
    keys = []
    for kind in np.unique(labels):
        colour, marker = class_style(int(kind))
        name = class_names[kind] if kind < len(class_names) else str(kind)
        keys.append(Line2D([], [], color=colour, marker=marker, markersize=5, linestyle="none", label=name))
    return keys
