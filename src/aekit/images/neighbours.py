"""Exact nearest neighbours of codes among others, in blocks, without the image itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aekit.images.data.image_set import Indices

Floats = npt.NDArray[np.float64]

_BLOCK_VALUES = 1 << 18  # of the searched codes, and of distances, at a time: 2 MB each, which a cache holds
_BLOCK_QUERIES = 128
_MARGIN = 8 * np.finfo(np.float64).eps  # bounds the rounding of a squared norm and a product, per term


class Neighbours(NamedTuple):
    """The nearest neighbours of N codes, nearest first.

    Attributes:
        distances: Euclidean distances, (N, k).
        rows: Their rows among the codes that were searched, (N, k).
    """

    distances: Floats
    rows: Indices


def nearest(
    among: npt.NDArray[np.floating],
    codes: npt.NDArray[np.floating],
    k: int,
    *,
    own_rows: Indices | None = None,
) -> Neighbours:
    """Return the k nearest of M codes for each of N, fewer if there are not as many; of equal distances the first rows.

    The search is exact: products of matrices leave out what is certainly farther away, and what remains is measured as
    the root of the sum of squared differences in 64-bit floats. Memory is that of a block of codes and one of
    distances, besides what is given.

    Args:
        among: The codes that are searched, finite, (M, L), in floats of 32 or 64 bits.
        codes: Those whose neighbours are wanted, finite, (N, L).
        k: Number of neighbours.
        own_rows: Row of each code among those that are searched, (N,), which is not its own neighbour; -1 if it is not
            there. None if none is.
    """
    if own_rows is None:
        return _search(among, codes, min(k, len(among)))
    k = min(k, len(among) - 1)
    distances, rows = _search(among, codes, k + 1)
    is_own = rows == own_rows[:, None]
    is_own[~is_own.any(axis=1), -1] = True  # of those that are not there, the farthest is left out
    kept = ~is_own
    return Neighbours(distances[kept].reshape(len(codes), k), rows[kept].reshape(len(codes), k))


def _search(among: npt.NDArray[np.floating], codes: npt.NDArray[np.floating], k: int) -> Neighbours:
    found = Neighbours(np.full((len(codes), k), np.inf), np.zeros((len(codes), k), np.int64))
    for start in range(0, len(codes) if k else 0, _BLOCK_QUERIES):
        queries = slice(start, start + _BLOCK_QUERIES)
        found.distances[queries], found.rows[queries] = _search_block(among, codes[queries].astype(np.float64), k)
    return found


def _search_block(among: npt.NDArray[np.floating], codes: Floats, k: int) -> Neighbours:
    """Return the k nearest, k <= M, for as many codes as are searched at a time."""
    n_codes, n_dimensions = codes.shape
    best = Neighbours(np.full((n_codes, k), np.inf), np.full((n_codes, k), np.iinfo(np.int64).max))
    norms = np.einsum("ij,ij->i", codes, codes)[:, None]
    factors = np.concatenate([-2 * codes, np.ones((n_codes, 1))], axis=1)
    n_rows = max(1, _BLOCK_VALUES // max(n_codes, n_dimensions + 1))
    for start in range(0, len(among), n_rows):
        block = np.empty((len(among[start : start + n_rows]), n_dimensions + 1))
        block[:, :-1] = among[start : start + n_rows]
        block[:, -1] = np.einsum("ij,ij->i", block[:, :-1], block[:, :-1])
        relative = factors @ block.T  # squared distances but for the squared norm of the code itself
        # What the rounding of these products can make of a distance is far below what tells most codes apart.
        margin = _MARGIN * (n_dimensions + 2) * (norms + block[:, -1].max())
        limit = np.square(best.distances[:, -1:]) * (1 + _MARGIN) - norms + margin
        if len(block) > k and not np.isfinite(limit).all():
            limit = np.fmin(limit, np.partition(relative, k - 1, axis=1)[:, k - 1 : k] + 2 * margin)
        pairs = np.flatnonzero(~(relative > limit))  # of one axis: several times as fast as of two
        if len(pairs):
            best = _merge(best, codes, block[:, :-1], start, *np.divmod(pairs, len(block)))
    return best


def _merge(best: Neighbours, codes: Floats, block: Floats, start: int, of: Indices, rows: Indices) -> Neighbours:
    """Return the best of those found before and of pairs of a code and a row of a block, whose distances are measured.

    Args:
        best: Those found before, in rows before the block.
        codes: The codes, (n, L).
        block: Codes that are searched, (m, L).
        start: The row of the first of them.
        of: The code of each pair, (P,), ascending.
        rows: Its row of the block, (P,).
    """
    n_codes, k = best.distances.shape
    n_pairs = max(1, _BLOCK_VALUES // max(codes.shape[1], 1))  # so that a block of equal codes is not a copy of each
    parts = [slice(first, first + n_pairs) for first in range(0, len(of), n_pairs)]
    measured = [np.sqrt(np.square(block[rows[part]] - codes[of[part]]).sum(axis=1)) for part in parts]
    distances = np.concatenate([best.distances.ravel(), *measured])
    all_rows = np.concatenate([best.rows.ravel(), rows + start])
    of_all = np.concatenate([np.repeat(np.arange(n_codes), k), of])
    order = np.lexsort((all_rows, distances, of_all))
    firsts = np.searchsorted(of_all[order], np.arange(n_codes))
    kept = order[firsts[:, None] + np.arange(k)]
    return Neighbours(distances[kept], all_rows[kept])
