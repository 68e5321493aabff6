"""Generated images of shapes, whose factors of variation are known: every combination of them is one image.

``shapes`` has the factors and the grid of dSprites: a white shape on black. ``shapes-colour`` has those of 3D Shapes,
drawn flat: a shape before a wall and a floor of other hues.

Source:
    The grids: Matthey et al. 2017, dSprites; Burgess & Kim 2018, 3D Shapes.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from aekit.core.progress import SILENT, Progress
from aekit.core.threads import in_threads
from aekit.images.data.factors import FactorGrid, Indices
from aekit.images.data.pixels import Pixels
from aekit.images.data.sprites import draw_sprites

SIDE = 64  # pixels
BLOCK = 512  # images that a thread draws at a time
_TURNS = 40
_PLACES = 32  # one pixel apart
_RADIUS = SIDE // 2 - _PLACES // 2  # a shape at the outermost place just touches the edge
_HUES = tuple(i / 10 for i in range(10))
_COLOUR_RADIUS = 22
_HORIZON, _CENTRE = 40, (36, 32)  # rows of wall above the floor; row and column of the middle of the shape
# Lightness differs, so that a shape of the wall's hue is seen.
_SATURATION = {"floor": (0.55, 0.45), "wall": (0.45, 0.75), "object": (0.9, 1.0)}


def _even(low: float, high: float, n_values: int) -> tuple[float, ...]:
    return tuple(round(low + (high - low) * i / (n_values - 1), 6) for i in range(n_values))


SHAPES = FactorGrid(
    ("shape", "scale", "orientation", "x", "y"),
    (
        ("square", "ellipse", "heart"),
        _even(0.5, 1, 6),
        tuple(360 / _TURNS * i for i in range(_TURNS)),  # degrees, counterclockwise
        _even(0, 1, _PLACES),  # from the left
        _even(0, 1, _PLACES),  # from the top
    ),
)
COLOURED = FactorGrid(
    ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation"),
    (
        *(_HUES, _HUES, _HUES),
        _even(0.5, 1, 8),
        ("square", "ellipse", "heart", "triangle"),
        _even(-30, 30, 15),  # degrees, counterclockwise
    ),
)


@dataclass(frozen=True)
class Generated:
    """A generated data set.

    Attributes:
        grid: Its factors.
        image_shape: (channels, height, width).
        draw: Draws images with the factors at some indices, (K, F), into zeros, uint8 (K, C, H, W).
    """

    grid: FactorGrid
    image_shape: tuple[int, int, int]
    draw: Callable[[Indices, Pixels], None]

    def render(self, rows: Indices, *, progress: Progress = SILENT, what: str = "drawing images") -> Pixels:
        """Return the images of some rows of the grid, uint8 (K, C, H, W), drawn in threads."""
        images = np.zeros((len(rows), *self.image_shape), np.uint8)
        blocks = list(self.grid.blocks(rows, BLOCK))
        done = in_threads(lambda block: self.draw(block[1], images[block[0] : block[0] + BLOCK]), blocks)
        for number, _ in enumerate(done):
            progress.update(what, min((number + 1) * BLOCK, len(rows)), len(rows))
        return images


@cache
def _white_sprites() -> Pixels:
    shapes, scales, degrees = SHAPES.values[:3]
    return np.stack([draw_sprites(str(shape), _numbers(scales), _numbers(degrees), _RADIUS) for shape in shapes])


@cache
def _coloured_sprites() -> npt.NDArray[np.float32]:
    """Return coverage from 0 to 1, (scales, shapes, degrees, S, S)."""
    scales, shapes, degrees = COLOURED.values[3:]
    of_shapes = [draw_sprites(str(shape), _numbers(scales), _numbers(degrees), _COLOUR_RADIUS) for shape in shapes]
    return np.stack(of_shapes, axis=1).astype(np.float32) / np.float32(255)


@cache
def _palette(part: str) -> npt.NDArray[np.float32]:
    """Return red, green and blue of each hue of a part of the picture, 0 to 255, (10, 3)."""
    colours = [colorsys.hsv_to_rgb(hue, *_SATURATION[part]) for hue in _HUES]
    return np.round(255 * np.array(colours)).astype(np.float32)


def _numbers(values: tuple[float | str, ...]) -> list[float]:
    return [float(value) for value in values]


def _draw_white(factors: Indices, images: Pixels) -> None:
    sprites = _white_sprites()
    side = sprites.shape[-1]
    for image, (shape, scale, turn, x, y) in zip(images, factors.tolist(), strict=True):
        image[0, y : y + side, x : x + side] = sprites[shape, scale, turn]


def _draw_coloured(factors: Indices, images: Pixels) -> None:
    floor, wall, thing = (
        _palette(part)[factors[:, i], :, None, None] for i, part in enumerate(("floor", "wall", "object"))
    )
    images[:, :, :_HORIZON] = wall
    images[:, :, _HORIZON:] = floor
    coverage = _coloured_sprites()[factors[:, 3], factors[:, 4], factors[:, 5], None]
    row, column = (middle - _COLOUR_RADIUS for middle in _CENTRE)
    end = row + coverage.shape[-1]
    for behind, part in ((wall, slice(row, _HORIZON)), (floor, slice(_HORIZON, end))):
        own = coverage[:, :, part.start - row : part.stop - row]
        mixed = own * (thing - behind) + (behind + 0.5)
        images[:, :, part, column : column + coverage.shape[-1]] = mixed


GENERATED = {
    "shapes": Generated(SHAPES, (1, SIDE, SIDE), _draw_white),
    "shapes-colour": Generated(COLOURED, (3, SIDE, SIDE), _draw_coloured),
}


def n_bytes(generated: Generated, n_images: int) -> int:
    """Return the size of some images in memory or on disk."""
    return n_images * math.prod(generated.image_shape)
