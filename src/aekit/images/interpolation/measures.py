"""Paths between codes, walks along a direction, and measures of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from aekit.core.later import Later

if TYPE_CHECKING:
    from scipy import stats
else:
    stats = Later("scipy.stats")

FloatArray = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]

# Below this sine two directions count as equal or opposite: the directions of float32 codes are not more precise.
_MIN_SINE = 1e-6
_BLOCK = 100  # rows of distances at a time, which to 60,000 codes take 48 MB


def lerp(first: FloatArray, second: FloatArray, alphas: FloatArray) -> FloatArray:
    """Return the points (1 - alpha) first + alpha second of a straight line, float64 (S, ...).

    Args:
        first: The point at alpha 0, a code (L,) or an image (C, H, W).
        second: The point at alpha 1, of the same shape.
        alphas: (S,); outside [0, 1] the line continues beyond its ends.
    """
    weights = alphas.reshape(-1, *[1] * first.ndim)
    points: FloatArray = (1 - weights) * first.astype(np.float64) + weights * second.astype(np.float64)
    return points


def arc_angle(first: FloatArray, second: FloatArray) -> float:
    """Return the angle between two vectors, (L,), in radians in [0, pi]; NaN if one of them is zero."""
    a, b = (vector.astype(np.float64) for vector in (first, second))
    if not (a.any() and b.any()):
        return float("nan")
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    # Accurate for small angles and for those near pi, where the arc cosine of the product is not (Kahan).
    return float(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b)))


def has_arc(first: FloatArray, second: FloatArray) -> bool:
    """Return whether a single shortest arc joins two vectors, (L,): neither is zero and they are not opposite."""
    angle = arc_angle(first, second)
    return bool(angle < np.pi - _MIN_SINE)  # False for NaN


def slerp(first: FloatArray, second: FloatArray, alphas: FloatArray, *, centre: FloatArray | None = None) -> FloatArray:
    """Return points of the arc from one vector to the other around a centre, float64 (S, L).

    If both ends have the same distance from the centre, all points have it. Otherwise the distance changes along the
    arc, which meets both ends in any case. Vectors of the same direction are joined by a straight line, the limit.

    Args:
        first: The point at alpha 0, (L,).
        second: The point at alpha 1, (L,).
        alphas: (S,); outside [0, 1] the arc continues beyond its ends.
        centre: Centre of the arc, (L,); the origin if None.

    Raises:
        ValueError: No single arc joins them; check with :func:`has_arc` first.

    Source:
        Shoemake 1985, Animating rotation with quaternion curves, SIGGRAPH; for codes White 2016, arXiv:1609.04468.
    """
    middle = np.zeros(first.shape) if centre is None else centre.astype(np.float64)
    a, b = first - middle, second - middle
    if not has_arc(a, b):
        raise ValueError("no arc joins a zero vector with another, nor two opposite ones")
    angle = arc_angle(a, b)
    if np.sin(angle) < _MIN_SINE:
        return lerp(first, second, alphas)
    weights = np.sin(np.stack([1 - alphas, alphas]) * angle) / np.sin(angle)  # (2, S)
    points: FloatArray = middle + weights[0][:, None] * a + weights[1][:, None] * b
    return points


def walk(start: FloatArray, direction: FloatArray, alphas: FloatArray) -> FloatArray:
    """Return the points start + alpha direction, float64 (S, ...), for a code (L,) or an image (C, H, W)."""
    return lerp(start, start.astype(np.float64) + direction, alphas)


def step_lengths(images: FloatArray) -> FloatArray:
    """Return the distance of each image of a path from the previous one, float64 (S,); NaN for the first.

    The distance is the root mean square over pixels and channels, in units of the pixels' range: 1 from black to white.

    Args:
        images: A path's images in order, (S, C, H, W) in [0, 1].
    """
    rows = images.reshape(len(images), -1).astype(np.float64)
    return np.concatenate([[np.nan], np.sqrt(np.square(np.diff(rows, axis=0)).mean(axis=1))])


@dataclass(frozen=True)
class PathShape:
    """The shape of a path through pixel space; NaN where all its images are the same.

    Attributes:
        length: Sum of the step lengths, as in :func:`step_lengths`.
        length_ratio: Length over the distance from the first image to the last: 1 for a straight line, more for a
            detour. It is that of a polygon, and grows slightly with the number of steps.
        unevenness: Standard deviation of the step lengths over their mean: 0 for equal steps, large for a path that
            pauses and then jumps.
    """

    length: float
    length_ratio: float
    unevenness: float


def path_shape(images: FloatArray) -> PathShape:
    """Return length, straightness and evenness of a path, (S, C, H, W) with S >= 2, in pixel space.

    Source:
        The length of a decoded curve: Shao, Kumar & Fletcher 2018, arXiv:1711.08014.
    """
    steps = step_lengths(images)[1:]
    direct = float(step_lengths(images[[0, -1]])[1])
    length = float(steps.sum())
    return PathShape(
        length=length,
        # Rounded: a straight line has a ratio of exactly 1, and equal steps an unevenness of exactly 0.
        length_ratio=round(length / direct, 9) if direct > 0 else np.nan,
        unevenness=round(float(steps.std() / steps.mean()), 9) if length > 0 else np.nan,
    )


def nearest_distances(z: FloatArray, codes: FloatArray, left_out: Indices | None = None) -> FloatArray:
    """Return the Euclidean distance from each point to the nearest code, float64 (S,); NaN if no code is left.

    Args:
        z: Points, (S, L).
        codes: Codes of images, (N, L).
        left_out: Codes that do not count for a point, (S, K) indices.
    """
    nearest = np.full(len(z), np.nan)
    for start in range(0, len(z), _BLOCK):
        rows = slice(start, start + _BLOCK)
        distances = cdist(z[rows], codes)
        if left_out is not None:
            np.put_along_axis(distances, left_out[rows], np.inf, axis=1)
        nearest[rows] = distances.min(axis=1, initial=np.inf)
    return np.where(np.isinf(nearest), np.nan, nearest)


def typical_distance(codes: FloatArray, *, n_queries: int = 1000, seed: int = 0) -> float:
    """Return the typical distance between codes: the median distance from one to the nearest other.

    Args:
        codes: Codes of images, (N, L) with N >= 2.
        n_queries: Number of codes to measure from; drawn if there are more.
        seed: Seed of the draw.
    """
    asked = np.arange(len(codes))
    if len(codes) > n_queries:
        asked = np.sort(np.random.default_rng(seed).choice(len(codes), n_queries, replace=False))
    return float(np.median(nearest_distances(codes[asked], codes, asked[:, None])))


def roc_auc(scores: FloatArray, has: npt.NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve: the probability that an image with the attribute scores above one without.

    Args:
        scores: One per image, (N,); ties count one half.
        has: Which images have it, (N,).

    Returns:
        In [0, 1], 0.5 for uninformative scores; NaN if all images have it, or none.

    Source:
        Hanley & McNeil 1982, Radiology 143, the Mann-Whitney statistic.
    """
    n_with, n_without = int(has.sum()), int((~has).sum())
    if not (n_with and n_without):
        return float("nan")
    rank_sum = float(stats.rankdata(scores)[has].sum())
    return (rank_sum - n_with * (n_with + 1) / 2) / (n_with * n_without)
