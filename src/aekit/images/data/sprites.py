"""Antialiased outlines of shapes, turned and scaled: what the generated data sets are drawn with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from aekit.images.data.pixels import Pixels

Coordinates = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Inside = Callable[[Coordinates, Coordinates], Mask]

SAMPLES = 5  # per pixel and axis: coverage comes in steps of 1/25


def _square(u: Coordinates, v: Coordinates) -> Mask:
    return np.asarray(np.maximum(abs(u), abs(v)) <= 0.5**0.5)


def _ellipse(u: Coordinates, v: Coordinates) -> Mask:
    return np.asarray(u**2 + (v / 0.55) ** 2 <= 1)


def _heart(u: Coordinates, v: Coordinates) -> Mask:
    # The sextic curve, upright with v pointing down, moved so that the circle around it is the unit circle.
    x, y = 1.25 * u, 0.25 - 1.25 * v
    return np.asarray((x * x + y * y - 1) ** 3 <= x * x * y * y * y)


def _triangle(u: Coordinates, v: Coordinates) -> Mask:
    return np.asarray(np.maximum(v, 0.75**0.5 * abs(u) - 0.5 * v) <= 0.5)


# Whether points (u, v) are inside of a shape, each of which reaches to 1 from its centre and no further.
SHAPES: dict[str, Inside] = {"square": _square, "ellipse": _ellipse, "heart": _heart, "triangle": _triangle}


def draw_sprites(shape: str, scales: Sequence[float], degrees: Sequence[float], radius: int) -> Pixels:
    """Return the coverage of pixels by a shape about the middle pixel, 0 to 255, uint8 (scales, degrees, S, S).

    Args:
        shape: A name in :data:`SHAPES`.
        scales: Distance from the centre to the furthest point, in radii, up to 1.
        degrees: Angles by which it is turned, counterclockwise.
        radius: Whole pixels, so that S = 2 * radius + 1.
    """
    n_pixels = 2 * radius + 1
    places = ((np.arange(n_pixels * SAMPLES) + 0.5) / SAMPLES - n_pixels / 2) / radius
    y, x = np.meshgrid(places.astype(np.float32), places.astype(np.float32), indexing="ij")
    sprites = np.empty((len(scales), len(degrees), n_pixels, n_pixels), np.uint8)
    for i, angle in enumerate(np.radians(degrees, dtype=np.float32)):
        u, v = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
        for j, scale in enumerate(scales):
            inside = SHAPES[shape](u / np.float32(scale), v / np.float32(scale))
            coverage = inside.reshape(n_pixels, SAMPLES, n_pixels, SAMPLES).mean((1, 3))
            sprites[j, i] = np.round(255 * coverage)
    return sprites
