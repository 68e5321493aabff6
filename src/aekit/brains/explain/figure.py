"""Maps over slices of a brain in three views, with the same colours for as much in either direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure, SubFigure

from aekit.brains.explain.maps import Floats
from aekit.plotting.style import (
    BLUE,
    SMALL_FONT_SIZE,
    TINY_FONT_SIZE,
    VERMILION,
    build_figure,
    figure_style,
    finish_figure,
    hide_axes,
    wrap_text,
)

N_SLICES = 6  # per view
_WIDTH_INCHES, _PANEL_INCHES, _TITLE_INCHES = 7.2, 3.5, 0.4
_SPREAD = (0.18, 0.86)  # slices lie between these quantiles of the brain along an axis, so that none is nearly empty
_LIMIT_PERCENTILE = 99.5  # of absolute values: a single voxel must not make all others pale
_COLOURS = LinearSegmentedColormap.from_list("age", [BLUE, "#e9e9e9", VERMILION])
# Name, axis that is cut, and what is left, right, below and above.
_VIEWS = (
    ("axial", 2, ("L", "R", "P", "A")),
    ("coronal", 1, ("L", "R", "I", "S")),
    ("sagittal", 0, ("P", "A", "I", "S")),
)


@dataclass(frozen=True)
class Panel:
    """One map to draw.

    Attributes:
        title: Above it.
        unit: Of its values, such as ``years``.
        values: The map, (X, Y, Z), along right, anterior and superior.
        image: The brain under it, scaled intensities, 0 outside the brain, (X, Y, Z).
        spacing_mm: Voxel size.
    """

    title: str
    unit: str
    values: Floats
    image: Floats
    spacing_mm: float


def plot_maps(panels: Sequence[Panel], *, title: str = "") -> Figure:
    """Return a figure with slices of each map in three views, and its scale, symmetric about 0."""
    with figure_style():
        figure = build_figure(_WIDTH_INCHES, _PANEL_INCHES * len(panels) + _TITLE_INCHES)
        parts = figure.subfigures(len(panels), 1, squeeze=False)[:, 0]
        for part, panel in zip(parts, panels, strict=True):
            _draw(part, panel)
        return finish_figure(figure, title)


def limit_of(values: Floats, brain: npt.NDArray[np.bool_]) -> float:
    """Return the value at the end of the colour scale: a high percentile of absolute values; 1 for an empty map."""
    inside = np.abs(values[brain])
    limit = float(np.percentile(inside, _LIMIT_PERCENTILE)) if inside.size else 0.0
    return limit or float(inside.max(initial=0.0)) or 1.0


def slices_of(brain: npt.NDArray[np.bool_], axis: int) -> list[int]:
    """Return which slices along an axis are shown: evenly spaced over the middle of the brain, ascending."""
    profile = np.count_nonzero(brain, axis=tuple(other for other in range(3) if other != axis))
    below = np.cumsum(profile) / max(1, int(profile.sum()))
    first, last = (int(np.searchsorted(below, quantile)) for quantile in _SPREAD)
    # Where a brain is thinner than the row is long, its slices are shown once each.
    return sorted({round(place) for place in np.linspace(first, last, N_SLICES)})


def _draw(part: SubFigure, panel: Panel) -> None:
    brain = panel.image > 0
    limit = limit_of(panel.values, brain)
    part.suptitle(wrap_text(panel.title, _WIDTH_INCHES - 0.4), x=0.01, ha="left", fontsize=SMALL_FONT_SIZE)
    grid = part.subplots(len(_VIEWS), N_SLICES, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
    for row, (view, axis, letters) in zip(grid, _VIEWS, strict=True):
        places = slices_of(brain, axis)
        for axes in row:
            hide_axes(axes)
        for axes, place in zip(row, places, strict=False):
            colours = blend(np.take(panel.values, place, axis), np.take(panel.image, place, axis), limit)
            axes.imshow(colours.transpose(1, 0, 2), origin="lower", interpolation="nearest")
            mm = (place - (brain.shape[axis] - 1) / 2) * panel.spacing_mm
            axes.set_title(f"{mm:+.0f} mm", fontsize=TINY_FONT_SIZE, loc="center", pad=1)
        row[0].set_ylabel(view, fontsize=SMALL_FONT_SIZE)
        _letter(row[0], letters)
    scale = ScalarMappable(Normalize(-limit, limit), _COLOURS)
    bar = part.colorbar(scale, ax=grid, shrink=0.8, aspect=30, pad=0.02)
    bar.set_label(panel.unit, fontsize=SMALL_FONT_SIZE)
    bar.outline.set_visible(False)


def _letter(axes: Axes, letters: tuple[str, str, str, str]) -> None:
    """Write on a slice which way is which."""
    places = ((0.02, 0.5, "left"), (0.98, 0.5, "right"), (0.5, 0.04, "center"), (0.5, 0.96, "center"))
    for letter, (x, y, side) in zip(letters, places, strict=True):
        axes.text(
            x, y, letter, transform=axes.transAxes, ha=side, va="center", fontsize=TINY_FONT_SIZE, color="#555555"
        )


def blend(values: Floats, image: Floats, limit: float) -> Floats:
    """Return a slice of a map over a light grey slice of the brain as colours, (H, W, 3) in [0, 1].

    The stronger a value, the less of the brain is seen under it; at 0 there is only the brain.
    """
    grey = np.where(image > 0, 0.35 + 0.6 * np.clip(image / max(float(image.max()), 1e-9), 0, 1), 1.0)[..., None]
    strength = np.clip(values / limit, -1, 1)
    ends = np.array(_COLOURS([0.0, 1.0]))[:, :3]
    colour = np.where(strength[..., None] < 0, ends[0], ends[1])
    alpha = np.abs(strength)[..., None] * (image > 0)[..., None]
    blended: Floats = grey * (1 - alpha) + colour * alpha
    return blended
