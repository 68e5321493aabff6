"""Images in rows and columns, each pixel drawn as a whole number of pixels of the figure."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aekit.plotting.style import DPI, FONT_SIZE, build_figure, hide_axes, keep_places, text_inches, text_size, wrap_text

Array = npt.NDArray[np.generic]
FloatArray = npt.NDArray[np.floating]

GAP = 2  # pixels between images
PAD = 8  # pixels between text and adjacent elements
# An image is enlarged up to the first size, as long as all images together stay within the second (width, height).
_MAX_TILE = 128
_MAX_ENLARGED = (1400, 2100)
# Beyond this side length, for example with hundreds of large photographs, images are reduced by averaging instead.
_MAX_SIDE = 5000
# A title is wrapped rather than making a figure of few images wider than this.
_TITLE_WIDTH = 750


@dataclass(frozen=True)
class Layout:
    """Positions of the images of a mosaic, in pixels of the figure.

    Attributes:
        scale: Pixels of the figure per pixel of an image, if above 1.
        reduction: Pixels of an image per pixel of the figure, if above 1.
        lefts: Left edge of each column, (n_columns,).
        tops: Top edge of each row, (n_rows,), downwards.
        tile_width: Width of an image.
        tile_height: Height of an image.
    """

    scale: int
    reduction: int
    lefts: npt.NDArray[np.int64]
    tops: npt.NDArray[np.int64]
    tile_width: int
    tile_height: int

    @property
    def width(self) -> int:
        """Return the total width."""
        return int(self.lefts[-1]) + self.tile_width

    @property
    def height(self) -> int:
        """Return the total height."""
        return int(self.tops[-1]) + self.tile_height

    @property
    def centres_x(self) -> FloatArray:
        """Return the horizontal centre of each column, (n_columns,)."""
        return self.lefts + self.tile_width / 2

    @property
    def centres_y(self) -> FloatArray:
        """Return the vertical centre of each row, (n_rows,), downwards."""
        return self.tops + self.tile_height / 2


def build_layout(n_rows: int, n_columns: int, size: tuple[int, int], *, gap: int = GAP, pair_gap: int = 0) -> Layout:
    """Return a layout that enlarges images as far as they fit on a screen, and reduces only very large mosaics.

    Args:
        n_rows: Number of rows.
        n_columns: Number of columns.
        size: (height, width) of an image in its own pixels.
        gap: Pixels of the figure between neighbours.
        pair_gap: Additional pixels after every second row.
    """
    height, width = size
    room_x, room_y = _MAX_ENLARGED[0] // (n_columns * width), _MAX_ENLARGED[1] // (n_rows * height)
    scale = max(1, min(_MAX_TILE // max(size), room_x, room_y))
    reduction = ceil(max(n_columns * width, n_rows * height) / _MAX_SIDE)
    tile_height, tile_width = height * scale // reduction, width * scale // reduction
    rows, columns = np.arange(n_rows), np.arange(n_columns)
    lefts, tops = columns * (tile_width + gap), rows * (tile_height + gap) + rows // 2 * pair_gap
    return Layout(scale, reduction, lefts, tops, tile_width, tile_height)


def as_unit_floats(images: Array) -> FloatArray:
    """Return images as float32 in [0, 1], from uint8 or from floats, which are clipped."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    return np.clip(images.astype(np.float32), 0, 1)


def draw_mosaic(
    images: Array,
    layout: Layout,
    *,
    left: int = PAD,
    right: int = PAD,
    top: int = PAD,
    bottom: int = PAD,
    title: str = "",
) -> tuple[Figure, Axes]:
    """Return a figure of the images and its axes, whose coordinates are the pixels of the layout, downwards.

    Args:
        images: At most as many as the layout has positions, (N, C, H, W), row by row; unused positions are white.
        layout: Positions of the images.
        left: Pixels to leave for labels.
        right: Pixels to leave for labels.
        top: Pixels to leave for labels, below the title.
        bottom: Pixels to leave for labels.
        title: Title above everything.
    """
    total_width = left + layout.width + right
    if title:
        title = wrap_text(title, (max(total_width, _TITLE_WIDTH) - 2 * PAD) / DPI, FONT_SIZE)
        total_width = max(total_width, ceil(text_inches(title, FONT_SIZE)[0] * DPI) + 2 * PAD)
    title_height = ceil(text_inches(title, FONT_SIZE)[1] * DPI) + PAD if title else 0
    total_height = title_height + top + layout.height + bottom
    figure = build_figure(total_width / DPI, total_height / DPI)
    keep_places(figure)
    if title:
        figure.text(PAD / total_width, 1 - PAD / total_height, title, ha="left", va="top", fontsize=FONT_SIZE)
    box = (left / total_width, bottom / total_height, layout.width / total_width, layout.height / total_height)
    axes = figure.add_axes(box)
    hide_axes(axes)
    mosaic = _fill(as_unit_floats(images), layout)
    # RGB even if grey: Matplotlib would otherwise normalise and colour-map each pixel, which is ten times slower.
    axes.imshow(mosaic, interpolation="nearest", extent=(0, layout.width, layout.height, 0), aspect="auto")
    return figure, axes


def _fill(images: FloatArray, layout: Layout) -> npt.NDArray[np.uint8]:
    n_columns = len(layout.lefts)
    mosaic = np.full((layout.height, layout.width, 3), 255, np.uint8)
    for number, image in enumerate(images):
        y, x = layout.tops[number // n_columns], layout.lefts[number % n_columns]
        pixels = np.rint(_resize(image, layout) * 255).astype(np.uint8).transpose(1, 2, 0)
        mosaic[y : y + layout.tile_height, x : x + layout.tile_width] = pixels
    return mosaic


def _resize(image: FloatArray, layout: Layout) -> FloatArray:
    if layout.reduction > 1:
        n, height, width = layout.reduction, layout.tile_height, layout.tile_width
        blocks = image[:, : height * n, : width * n].reshape(len(image), height, n, width, n)
        reduced: FloatArray = blocks.mean(axis=(2, 4))
        return reduced
    return image.repeat(layout.scale, axis=1).repeat(layout.scale, axis=2)


def overhang(labels: list[str], pitch: float) -> int:
    """Return by how many pixels the widest label, centred on a column of ``pitch`` pixels, exceeds it on each side."""
    return max(0, ceil((max(text_size(label)[0] for label in labels) - pitch) / 2))


def label_step(labels: list[str], pitch: float, *, horizontal: bool = True) -> int:
    """Return the smallest n such that every n-th label, ``pitch`` pixels apart, does not touch the next."""
    sizes = [text_size(label)[0 if horizontal else 1] for label in labels]
    return ceil((max(sizes) + PAD) / pitch)
