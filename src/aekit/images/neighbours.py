"""Nearest neighbours of codes among others, without the image itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from aekit.images.data.image_set import Indices

Floats = npt.NDArray[np.float64]


class Neighbours(NamedTuple):
    """The nearest neighbours of N codes, nearest first.

    Attributes:
        distances: Euclidean distances, (N, k).
        rows: Their rows among the codes that were searched, (N, k).
    """

    distances: Floats
    rows: Indices


def nearest(among: Floats, codes: Floats, k: int, *, own_rows: Indices | None = None) -> Neighbours:
    """Return the k nearest of M codes for each of N, fewer if there are not as many.

    Args:
        among: The codes that are searched, (M, L).
        codes: Those whose neighbours are wanted, (N, L).
        k: Number of neighbours.
        own_rows: Row of each code among those that are searched, (N,), which is not its own neighbour; -1 if it is not
            there. None if none is.
    """
    search = NearestNeighbors(algorithm="brute").fit(among)
    if own_rows is None:
        return Neighbours(*search.kneighbors(codes, min(k, len(among))))
    k = min(k, len(among) - 1)
    distances, rows = search.kneighbors(codes, k + 1)
    is_own = rows == own_rows[:, None]
    is_own[~is_own.any(axis=1), -1] = True  # of those that are not there, the farthest is left out
    kept = ~is_own
    return Neighbours(distances[kept].reshape(len(codes), k), rows[kept].reshape(len(codes), k))
