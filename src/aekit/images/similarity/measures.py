"""Similarity of two codes of the same images: kernel alignment, Procrustes, shared neighbours.

All are the same if a code is shifted, scaled as a whole, or its axes are turned or reflected, as none of this changes
what a decoder or a linear classifier can make of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg

from aekit.images.neighbours import nearest

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Similarity(NamedTuple):
    """How alike two codes are.

    Attributes:
        cka: Centred kernel alignment with linear kernels, 0 to 1: 1 if they are alike.
        procrustes: What remains of one after the other is moved onto it, 0 to 1: 0 if they are alike.
        neighbours: Fraction of an image's nearest neighbours that both share, 0 to 1: 1 if they are alike.
    """

    cka: float
    procrustes: float
    neighbours: float


def kernel_alignment(x: Floats, y: Floats) -> float:
    """Return the centred kernel alignment of codes (N, L) and (N, M) with linear kernels; 0 if one does not vary.

    Source:
        Kornblith, Norouzi, Lee & Hinton 2019, arXiv:1905.00414, equation 5.
    """
    x, y = x - x.mean(0), y - y.mean(0)
    size = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.square(np.linalg.norm(x.T @ y)) / size) if size else 0.0


def procrustes_disparity(x: Floats, y: Floats) -> float:
    """Return the squared distance of codes (N, L) and (N, M) of unit size after the best rotation and scaling, 0 to 1.

    A code of fewer dimensions is filled up with zeros. It is 1 if one of them does not vary.

    Source:
        Gower 1975, Psychometrika 40; the disparity of ``scipy.spatial.procrustes``.
    """
    x, y = x - x.mean(0), y - y.mean(0)
    size = np.linalg.norm(x) * np.linalg.norm(y)
    if not size:
        return 1.0
    alignment = linalg.svdvals(x.T @ y).sum() / size
    return float(np.clip(1 - np.square(alignment), 0, 1))


def nearest_neighbours(codes: Floats, k: int) -> Integers:
    """Return the k images nearest to each image by Euclidean distance, without itself, nearest first, (N, k)."""
    return nearest(codes, codes, k, own_rows=np.arange(len(codes))).rows


def shared_neighbours(first: Integers, second: Integers) -> Floats:
    """Return the fraction of the neighbours of each image, (N, k), that both have, (N,).

    Source:
        Huh, Cheung, Wang & Isola 2024, arXiv:2405.07987, on mutual nearest neighbours.
    """
    n_images, k = first.shape
    offset = n_images * np.arange(n_images)[:, None]  # the pair of image and neighbour as one number
    shared = np.isin(first + offset, second + offset)
    fraction: Floats = shared.sum(1) / k
    return fraction
