"""Similarities of all pairs of codes, with intervals over images and what chance gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aekit.core.intervals import Interval
from aekit.core.threads import in_threads
from aekit.images.similarity.measures import (
    Floats,
    Integers,
    Similarity,
    kernel_alignment,
    nearest_neighbours,
    procrustes_disparity,
    shared_neighbours,
)
from aekit.images.similarity.request import SimilarityRequest


@dataclass(frozen=True)
class Pair:
    """Two codes.

    Attributes:
        first: Number of the first code.
        second: Number of the second one.
        intervals: The measures with their 95 % intervals over images, by name.
        chance: The measures with the images of the second code permuted.
    """

    first: int
    second: int
    intervals: dict[str, Interval]
    chance: Similarity


def measure_pairs(codes: Sequence[Floats], request: SimilarityRequest, *, jobs: int | None = None) -> list[Pair]:
    """Return the similarities of all pairs of codes of the same images, (N, L) each.

    Args:
        codes: At least two.
        request: What to measure.
        jobs: Threads; None takes every core.
    """
    k = min(request.neighbours, len(codes[0]) - 1)
    numbers = [(i, j) for i in range(len(codes)) for j in range(i + 1, len(codes))]

    def measure(pair: tuple[int, int]) -> Pair:
        i, j = pair
        return _measure_pair(i, j, codes, neighbours, request)

    # One thread of linear algebra in each: products inside scikit-learn's loops would take turns to set their number.
    with threadpool_limits(1, user_api="blas"):
        neighbours = list(in_threads(lambda own: nearest_neighbours(own, k), codes, jobs=jobs))
        return list(in_threads(measure, numbers, jobs=jobs))


def _measure_pair(
    i: int, j: int, codes: Sequence[Floats], neighbours: Sequence[Integers], request: SimilarityRequest
) -> Pair:
    x, y = codes[i], codes[j]
    if not (x.std(axis=0).any() and y.std(axis=0).any()):  # all alike, and their neighbours are those of any order
        missing = Interval(np.nan, np.nan, np.nan)
        return Pair(i, j, dict.fromkeys(Similarity._fields, missing), Similarity(np.nan, np.nan, np.nan))
    shared = shared_neighbours(neighbours[i], neighbours[j])
    statistics: dict[str, Callable[[Integers], float]] = {
        "cka": lambda rows: kernel_alignment(x[rows], y[rows]),
        "procrustes": lambda rows: procrustes_disparity(x[rows], y[rows]),
        "neighbours": lambda rows: float(shared[rows].mean()),
    }
    intervals = _intervals(statistics, len(x), request)
    order = np.random.default_rng([request.seed, 1]).permutation(len(x))
    chance = Similarity(
        kernel_alignment(x, y[order]),
        procrustes_disparity(x, y[order]),
        neighbours[i].shape[1] / (len(x) - 1),  # of neighbours drawn at random
    )
    return Pair(i, j, intervals, chance)


def _intervals(
    statistics: dict[str, Callable[[Integers], float]], n_images: int, request: SimilarityRequest
) -> dict[str, Interval]:
    """Return each statistic of all images with the percentiles over the same resamples, moved so that it is central.

    Resampled images that come twice make two codes look more alike, so the interval is about the mean of the resamples
    and not about the value itself; the percentiles are moved by that difference.
    """
    generator = np.random.default_rng(request.seed)
    draws = [generator.integers(0, n_images, n_images) for _ in range(request.bootstrap)]
    found = {}
    for name, statistic in statistics.items():
        value = statistic(np.arange(n_images))
        drawn = np.array([statistic(rows) for rows in draws])
        low, high = np.quantile(drawn, [0.025, 0.975]) - (drawn.mean() - value)
        found[name] = Interval(value, float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1)))
    return found
