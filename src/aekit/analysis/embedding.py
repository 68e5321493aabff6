"""Maps of codes in the plane, by t-SNE or PCA, and how faithful they are to the neighbourhoods of the codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aekit.analysis.pca import fit_pca, max_components

FloatArray = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]

MIN_POINTS = 6
# t-SNE's own phases: the points are first pulled together twelve times as hard, so that groups can pass each other.
EARLY_STEPS, STEPS = 250, 500
# Up to so many points Barnes-Hut's forces are faster than interpolated ones, which cost much whatever the number:
# 10,000 codes took 17 s and 25 s on two cores. openTSNE itself would change over at just 10,000.
BARNES_HUT_POINTS = 15_000
_REPORT_EVERY = 50
# Distances at a time: 64 MB, so that sixty thousand points never need a matrix of 29 GB.
_BLOCK_VALUES = 2**23
# A tree finds neighbours in the plane ten times as fast as all distances do, but loses with many dimensions.
_MAX_TREE_DIMENSIONS = 3


@dataclass(frozen=True)
class Neighbours:
    """The nearest neighbours of each point, itself left out, nearest first.

    Attributes:
        index: Which points they are, int64 (N, K).
        distance: Euclidean distances, float64 (N, K).
    """

    index: Indices
    distance: FloatArray


def find_neighbours(points: FloatArray, k: int, *, n_threads: int = 1) -> Neighbours:
    """Return the k nearest neighbours of each point, exactly.

    Args:
        points: (N, L).
        k: Neighbours, at most N - 1.
        n_threads: CPU threads.
    """
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    algorithm = "kd_tree" if points.shape[1] <= _MAX_TREE_DIMENSIONS else "brute"
    with threadpool_limits(n_threads):
        searcher = NearestNeighbors(n_neighbors=k, algorithm=algorithm, n_jobs=n_threads).fit(centred)
        distance, index = searcher.kneighbors()
    return Neighbours(index.astype(np.int64), distance)


def possible_perplexity(perplexity: float, n_points: int) -> float:
    """Return the perplexity, or as much of it as N points allow: t-SNE looks at three times as many neighbours."""
    return min(perplexity, (n_points - 1) / 3)


def possible_neighbours(k: int, n_points: int) -> int:
    """Return k, or as many neighbours as N points allow: trustworthiness is defined for k < N / 2."""
    return min(k, (n_points - 1) // 2)


def embed_tsne(
    codes: FloatArray,
    neighbours: Neighbours,
    *,
    perplexity: float = 30.0,
    seed: int = 0,
    n_threads: int = 1,
    on_progress: Callable[[int, int], object] | None = None,
) -> FloatArray:
    """Return the t-SNE map of codes, float64 (N, 2); the same seed and threads give the same map.

    It starts from the first two principal components, so that the seed has little to say. Exact neighbours take a
    tenth of the time of openTSNE's approximate ones (0.4 s for 4 s with 10,000 codes of 10 dimensions, one core), and
    unlike those they do not depend on which thread was first.

    Args:
        codes: (N, L), not all the same.
        neighbours: At least 3 * perplexity, rounded down, of each code.
        perplexity: Number of neighbours that count, softly; at least 1 and at most (N - 1) / 3.
        seed: Seed of the jitter that tells equal codes apart.
        n_threads: CPU threads.
        on_progress: Called now and then with the steps done and those there are.

    Source:
        van der Maaten & Hinton 2008, Visualizing data using t-SNE; start, learning rate and exaggeration as in Kobak &
        Berens 2019, doi:10.1038/s41467-019-13056-x; Poličar, Stražar & Zupan 2024, openTSNE, doi:10.18637/jss.v109.i03.
    """
    # It takes seconds to import, and PCA does without it.
    from openTSNE import TSNE
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    k = int(3 * perplexity + 1e-6)
    known = PrecomputedNeighbors(neighbours.index[:, :k], neighbours.distance[:, :k])
    affinities = PerplexityBasedNN(knn_index=known, perplexity=perplexity, n_jobs=n_threads)
    start = embed_pca(codes)[0]
    start *= 1e-4 / start[:, 0].std()
    start += np.random.default_rng(seed).normal(0, 1e-6, start.shape)
    tsne = TSNE(
        perplexity=perplexity,
        early_exaggeration_iter=EARLY_STEPS,
        n_iter=STEPS,
        n_jobs=n_threads,
        random_state=seed,
        negative_gradient_method="bh" if len(codes) <= BARNES_HUT_POINTS else "fft",
        callbacks=[_reporter(on_progress)] if on_progress is not None else None,
        callbacks_every_iters=_REPORT_EVERY,
    )
    with threadpool_limits(n_threads):
        return np.array(tsne.fit(affinities=affinities, initialization=start), dtype=np.float64)


def _reporter(on_progress: Callable[[int, int], object]) -> Callable[[int, float, FloatArray], bool]:
    done = 0  # openTSNE counts each phase from zero

    def report(iteration: int, error: float, embedding: FloatArray) -> bool:
        nonlocal done
        done += _REPORT_EVERY
        on_progress(min(done, EARLY_STEPS + STEPS), EARLY_STEPS + STEPS)
        return False  # True would end it here

    return report


def embed_pca(codes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the first two principal components of codes, float64 (N, 2), and their shares of the variance, (2,).

    Codes of a single dimension lie on a line: the second component is zero.

    Args:
        codes: (N, L), N >= 2, not all the same.
    """
    n_components = min(2, max_components(codes))
    pca = fit_pca(codes.astype(np.float64), n_components)
    points, shares = np.zeros((len(codes), 2)), np.zeros(2)
    points[:, :n_components] = pca.encode(codes, n_components)
    shares[:n_components] = pca.variance / pca.total_variance
    return points, shares


def point_trustworthiness(
    codes: FloatArray, in_codes: Neighbours, in_map: Neighbours, k: int, *, n_threads: int = 1
) -> FloatArray:
    """Return the trustworthiness of the map around each point, (N,), whose mean is that of the map.

    A neighbour in the map that is none in code space costs r - k, if it is the r-th nearest there. The mean over all
    points is 1 if no neighbour in the map is new, and about 0.5 for points that are thrown at random. Ranks are exact,
    at any N, and found without a matrix of all distances: most are among the neighbours that are known anyway.

    Args:
        codes: (N, L).
        in_codes: At least k neighbours in code space; the more, the faster.
        in_map: At least k neighbours in the map.
        k: Neighbours that count, below N / 2.
        n_threads: CPU threads.

    Source:
        Venna & Kaski 2001, Neighborhood preservation in nonlinear projection methods, doi:10.1007/3-540-44668-0_68.
    """
    n_points, n_known = in_codes.index.shape
    if not 1 <= k < n_points / 2:
        raise ValueError(f"trustworthiness of {n_points} points is not defined for {k} neighbours")
    ranks = np.zeros((n_points, k), np.int64)  # 1 is the nearest; 0 is not known yet
    for place in range(k):
        matches = in_codes.index == in_map.index[:, place, None]  # (N, K)
        ranks[:, place] = np.where(matches.any(axis=1), matches.argmax(axis=1) + 1, 0)
    unknown = np.flatnonzero((ranks == 0).any(axis=1))
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    squares = np.square(centred).sum(axis=1)
    n_rows = max(1, _BLOCK_VALUES // n_points)
    with threadpool_limits(n_threads):
        for start in range(0, len(unknown), n_rows):
            rows = unknown[start : start + n_rows]
            # Squared distances, but for the square of the row itself, which does not change their order.
            distance = squares - 2 * centred[rows] @ centred.T
            for place in range(k):
                here = np.flatnonzero(ranks[rows, place] == 0)
                other = in_map.index[rows[here], place]
                closer = (distance[here] < distance[here, other][:, None]).sum(axis=1)  # counts the point itself
                ranks[rows[here], place] = np.maximum(closer, n_known + 1)
    cost = np.maximum(ranks - k, 0).sum(axis=1)
    trust: FloatArray = 1 - cost * (2 / (k * (2 * n_points - 3 * k - 1)))
    return trust


def same_label_votes(neighbours: Indices, labels: Indices) -> npt.NDArray[np.bool_]:
    """Return for each point whether its neighbours vote for its label, bool (N,): the mean is the kNN accuracy.

    The point itself has no vote, so this is leave-one-out; a draw goes to the lower class, as in scikit-learn.

    Args:
        neighbours: (N, k).
        labels: Classes, int64 (N,).
    """
    right = np.empty(len(labels), np.bool_)
    n_rows = max(1, _BLOCK_VALUES // neighbours.shape[1] ** 2)
    for start in range(0, len(labels), n_rows):
        voted = np.sort(labels[neighbours[start : start + n_rows]], axis=1)  # (B, k)
        counts = (voted[:, :, None] == voted[:, None, :]).sum(axis=2)
        winners = voted[np.arange(len(voted)), counts.argmax(axis=1)]
        right[start : start + n_rows] = winners == labels[start : start + n_rows]
    return right


def outlier_scores(neighbours: Indices, labels: Indices) -> FloatArray:
    """Return the share of each point's neighbours that have another label, (N,), in [0, 1].

    Args:
        neighbours: (N, k).
        labels: Classes, (N,).
    """
    scores: FloatArray = (labels[neighbours] != labels[:, None]).mean(axis=1)
    return scores


def worst_outliers(neighbours: Neighbours, labels: Indices, k: int, n: int) -> Indices:
    """Return the n points with the highest outlier scores, (n,); among equals, those that lie closest to the others.

    A point in the midst of another class looks more like a wrong label than one that is far from everything.

    Args:
        neighbours: At least k of each point.
        labels: Classes, (N,).
        k: Neighbours that count.
        n: Points to name, fewer if fewer have any neighbour with another label.
    """
    scores = outlier_scores(neighbours.index[:, :k], labels)
    order = np.lexsort((neighbours.distance[:, :k].mean(axis=1), -scores))
    return order[scores[order] > 0][:n].astype(np.int64)
