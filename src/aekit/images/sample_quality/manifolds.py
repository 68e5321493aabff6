"""Whether samples lie where images do, and the other way round: balls that reach to an image's k-th neighbour.

Sources:
    Kynkäänniemi et al. 2019, arXiv:1904.06991 (precision, recall); Naeem et al. 2020, arXiv:2002.09797 (density,
    coverage, which a few images far from all others change less).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aekit.images.neighbours import nearest

Floats = npt.NDArray[np.float64]

_BLOCK = 500  # samples whose distances to all images are in memory at once


class Overlap(NamedTuple):
    """How two sets of N and M features overlap.

    Attributes:
        precision: Fraction of samples inside the ball of some image.
        recall: Fraction of images inside the ball of some sample.
        density: Number of images' balls that a sample is in, divided by k: a mean, about 1 for equal distributions.
        coverage: Fraction of images whose ball has a sample in it.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def radii(features: Floats, k: int) -> Floats:
    """Return the distance of each of N features, (N, D), to its k-th nearest neighbour among them, (N,)."""
    return nearest(features, features, k, own_rows=np.arange(len(features))).distances[:, -1]


def overlap(samples: Floats, images: Floats, image_radii: Floats, k: int) -> Overlap:
    """Return how samples, (N, D), and images, (M, D), overlap.

    Args:
        samples: Features of samples.
        images: Features of held-out images.
        image_radii: Their radii, (M,), see :func:`radii`.
        k: Neighbours that the radii reach to.
    """
    sample_radii = radii(samples, k)
    n_inside = np.zeros(len(samples), np.int64)
    is_recalled = np.zeros(len(images), bool)
    is_covered = np.zeros(len(images), bool)
    squares = np.square(images).sum(axis=1)
    for start in range(0, len(samples), _BLOCK):
        block = samples[start : start + _BLOCK]
        distance = np.square(block).sum(axis=1)[:, None] + squares - 2 * block @ images.T
        is_inside = distance <= np.square(image_radii)
        n_inside[start : start + _BLOCK] = is_inside.sum(axis=1)
        is_covered |= is_inside.any(axis=0)
        is_recalled |= (distance <= np.square(sample_radii[start : start + _BLOCK])[:, None]).any(axis=0)
    return Overlap(
        float((n_inside > 0).mean()), float(is_recalled.mean()), float(n_inside.mean() / k), float(is_covered.mean())
    )
