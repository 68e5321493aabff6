"""Pictures of scans: the middle slices of each on the common grid, with its name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aekit.brains.volumes.gridding import TOP
from aekit.plotting.style import (
    BLACK,
    SMALL_FONT_SIZE,
    VERMILION,
    build_figure,
    figure_style,
    finish_figure,
    hide_axes,
    shorten,
)

FloatArray = npt.NDArray[np.floating]

MAX_SCANS = 24
_COLUMNS, _PANEL_INCHES = 4, 1.95
_GAP = 1  # voxels between slices
_MAX_SIDE = 64  # voxels: finer images are shown coarser, which keeps the file small
_GREYS = colormaps["gray"].resampled(32)  # shades that can be told apart; 256 would make the file twice as large
_WRAPPED, _MOST_LINES = 32, 2  # characters of a reason per line, and lines


@dataclass(frozen=True, eq=False)
class ScanPicture:
    """One scan to be shown.

    Attributes:
        image: On the common grid, (X, Y, Z), axes R-A-S, in [0, 1.28].
        name: Name of the participant or file.
        reason: What is doubtful about it; empty for a usual scan.
    """

    image: FloatArray
    name: str
    reason: str = ""


def plot_scans(pictures: Sequence[ScanPicture], *, title: str = "") -> Figure:
    """Return the middle axial, coronal and sagittal slice of each scan, with its name and reason below.

    Args:
        pictures: At least one scan, at most ``MAX_SCANS`` are shown; in the order in which they are drawn.
        title: Title of the figure.
    """
    step = -(-max(pictures[0].image.shape) // _MAX_SIDE)
    shown = [replace(one, image=one.image[::step, ::step, ::step]) for one in pictures[:MAX_SCANS]]
    n_columns = min(_COLUMNS, len(shown))
    n_rows = math.ceil(len(shown) / n_columns)
    n_lines = 1 + max(len(_wrap(one.reason)) for one in shown)
    x, y, _ = shown[0].image.shape
    width = 2 * x + y + 2 * _GAP
    height = max(shown[0].image.shape[1:])
    tall = _PANEL_INCHES * height / width + n_lines * SMALL_FONT_SIZE * 1.3 / 72 + 0.08
    with figure_style():
        figure = build_figure(_PANEL_INCHES * n_columns + 0.1, tall * n_rows + 0.3)
        grid = np.atleast_1d(figure.subplots(n_rows, n_columns, squeeze=False)).ravel()
        for axes, one in zip(grid, shown, strict=False):
            _draw(axes, one, n_lines)
        for axes in grid[len(shown) :]:
            axes.set_axis_off()
        return finish_figure(figure, title)


def middle_slices(image: FloatArray) -> FloatArray:
    """Return the middle axial, coronal and sagittal slice next to each other, upwards and to the right as usual.

    Args:
        image: Axes R-A-S, (X, Y, Z).

    Returns:
        Float32 (max(Y, Z), X + X + Y + 2), the first row at the bottom.
    """
    x, y, z = (side // 2 for side in image.shape)
    slices = [image[:, :, z].T, image[:, y].T, image[x].T]
    height = max(one.shape[0] for one in slices)
    parts = []
    for number, one in enumerate(slices):
        below = (height - one.shape[0]) // 2
        parts.append(np.pad(one, ((below, height - one.shape[0] - below), (0, _GAP if number < 2 else 0))))
    joined: FloatArray = np.concatenate(parts, axis=1).astype(np.float32)
    return joined


def _draw(axes: Axes, picture: ScanPicture, n_lines: int) -> None:
    slices = middle_slices(picture.image)
    axes.imshow(slices, cmap=_GREYS, vmin=0, vmax=TOP / 1.15, origin="lower", interpolation="none")
    hide_axes(axes)
    lines = [shorten(picture.name, 30), *_wrap(picture.reason)]
    text = "\n".join([*lines, *[" "] * (n_lines - len(lines))])
    colour = VERMILION if picture.reason else BLACK
    axes.set_xlabel(text, fontsize=SMALL_FONT_SIZE, color=colour, labelpad=2)


def _wrap(text: str) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= _WRAPPED:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], f"{lines[_MOST_LINES - 1][: _WRAPPED - 2]} ..."]
    return lines
