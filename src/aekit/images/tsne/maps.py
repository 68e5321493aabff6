"""The map of one checkpoint's codes, with outlier scores and measures of how faithful it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, count
from aekit.images.data.image_set import ImageSet
from aekit.images.embedding import (
    PLACING_NEIGHBOURS,
    Neighbours,
    draw_rows,
    embed_pca,
    embed_tsne,
    find_neighbours,
    map_reach,
    nearest_in_blocks,
    outlier_scores,
    place_points,
    point_trustworthiness,
    same_label_votes,
    worst_outliers,
)
from aekit.images.inference import mean_and_error
from aekit.images.latent import live_dimensions
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.tsne.request import MapRequest

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]

N_WORST = 10
MEASURES = ("trustworthiness", "knn_accuracy_codes", "knn_accuracy_map")
# Which of the seed's draws: the codes to optimise, and those that the measures are computed for.
_OPTIMISED, _JUDGED = 0, 1


@dataclass(frozen=True)
class CodeMap:
    """The map of one checkpoint's codes.

    Attributes:
        checkpoint: The checkpoint.
        points: The map, (N, 2).
        axis_names: Names of the two axes.
        placed: Which points were placed among those that t-SNE optimised, bool (N,).
        outlier: Outlier scores, (N,); None without labels.
        worst: Images with the highest scores, as rows.
        measures: Trustworthiness and kNN accuracies, in [0, 1], and their standard errors; None without labels.
    """

    checkpoint: LoadedCheckpoint
    points: Floats
    axis_names: tuple[str, str]
    placed: npt.NDArray[np.bool_]
    outlier: Floats | None
    worst: Indices
    measures: dict[str, float | None]


@dataclass(frozen=True)
class _Drawn:
    """Codes among which all others are placed and scored.

    Attributes:
        rows: Which codes these are, (M,).
        near: Their neighbours among each other, as positions in ``rows``.
    """

    rows: Indices
    near: Neighbours


def map_codes(
    checkpoint: LoadedCheckpoint, image_set: ImageSet, request: MapRequest, *, progress: Progress = SILENT
) -> CodeMap:
    """Return the map of a checkpoint's codes of some images.

    Args:
        checkpoint: The checkpoint.
        image_set: N images.
        request: How to map them; perplexity and neighbours must be possible for N points.
        progress: Receives updates and notices.

    Raises:
        AekitError: The codes are not finite, or the same for all images.
    """
    codes = _live_codes(checkpoint, image_set, progress)
    rows = draw_rows(len(codes), request.counts(len(codes))["among"], seed=request.seed, draw=_OPTIMISED)
    n_known = max(request.k, int(3 * request.perplexity + 1e-6) if request.method == "tsne" else 0)
    drawn = _Drawn(rows, find_neighbours(codes[rows], n_known, n_threads=torch.get_num_threads()))
    points, axis_names = _embed(codes, drawn, request, f"{checkpoint.path.name}: t-SNE", progress)
    what = f"{checkpoint.path.name}: placing"
    scores, distances = _place_others(codes, points, drawn, image_set.labels, request, what, progress)
    known = drawn.near if len(rows) == len(codes) else None
    placed = np.isin(np.arange(len(codes)), rows, invert=True) & (request.method == "tsne")
    return CodeMap(
        checkpoint,
        points,
        axis_names,
        placed,
        None if image_set.labels is None else scores,
        worst_outliers(scores, distances, N_WORST),
        _measure(codes, known, points, image_set.labels, request),
    )


def _live_codes(checkpoint: LoadedCheckpoint, image_set: ImageSet, progress: Progress) -> Floats:
    """Return the codes without the dimensions that are the same for all images."""
    codes = checkpoint.encode(image_set).mean
    live = live_dimensions(codes)
    if not live.any():
        raise AekitError(
            f"{checkpoint.path}: the codes of all images are the same, so there is nothing to map; train it longer, or "
            "a VAE with a smaller --beta"
        )
    if not live.all():
        n_dead = int((~live).sum())
        progress.notice(
            f"{checkpoint.path}: {n_dead} of {count(len(live), 'dimension')} {'is' if n_dead == 1 else 'are'} the "
            "same for all images and left out"
        )
    return codes[:, live]


def _embed(
    codes: Floats, drawn: _Drawn, request: MapRequest, what: str, progress: Progress
) -> tuple[Floats, tuple[str, str]]:
    """Return the map, (N, 2), NaN for codes that are still to be placed, and the names of its axes."""
    if request.method == "pca":
        points, fractions = embed_pca(codes)
        return points, (f"PC 1 ({100 * fractions[0]:.0f} % of variance)", f"PC 2 ({100 * fractions[1]:.0f} %)")
    points = np.full((len(codes), 2), np.nan)
    points[drawn.rows] = embed_tsne(
        codes[drawn.rows],
        drawn.near,
        perplexity=request.perplexity,
        seed=request.seed,
        n_threads=torch.get_num_threads(),
        progress=progress,
        what=what,
    )
    return points, ("t-SNE 1", "t-SNE 2")


def _place_others(
    codes: Floats,
    points: Floats,
    drawn: _Drawn,
    labels: Indices | None,
    request: MapRequest,
    what: str,
    progress: Progress,
) -> tuple[Floats, Floats]:
    """Place all codes but those drawn into ``points``, (N, 2), next to their neighbours among the drawn.

    Returns:
        Outlier scores, (N,), NaN without labels, and mean distances to the neighbours that they are based on, (N,).
    """
    k, rows, n_threads = request.k, drawn.rows, torch.get_num_threads()
    scores, distances = np.full(len(codes), np.nan), np.full(len(codes), np.nan)
    distances[rows] = drawn.near.distance[:, :k].mean(axis=1)
    if labels is not None:
        scores[rows] = outlier_scores(drawn.near.index[:, :k], labels[rows])
    others = np.delete(np.arange(len(codes)), rows)
    if len(others) == 0 or (request.method == "pca" and labels is None):
        return scores, distances
    among = points[rows]
    reach = map_reach(among, n_threads=n_threads)
    n_near, n_done = max(k, PLACING_NEIGHBOURS), 0
    for part, near in nearest_in_blocks(codes[rows], codes, others, n_near, n_threads=n_threads):
        if request.method == "tsne":
            points[part] = place_points(near, among, reach)
        distances[part] = near.distance[:, :k].mean(axis=1)
        if labels is not None:
            scores[part] = outlier_scores(near.index[:, :k], labels[rows], labels[part])
        n_done += len(part)
        progress.update(what, n_done, len(others))
    return scores, distances


def _measure(
    codes: Floats, known: Neighbours | None, points: Floats, labels: Indices | None, request: MapRequest
) -> dict[str, float | None]:
    """Return the measures of all points if their neighbours are known, or else of a draw of them."""
    k, rows, n_threads = request.k, None, torch.get_num_threads()
    if known is None:
        rows = draw_rows(len(codes), request.counts(len(codes))["judged"], seed=request.seed, draw=_JUDGED)
        known = find_neighbours(codes, k, rows=rows, n_threads=n_threads)
    in_map = find_neighbours(points, k, rows=rows, n_threads=n_threads)
    values: dict[str, npt.NDArray[Any]] = {
        "trustworthiness": point_trustworthiness(codes, known, in_map, k, rows=rows, n_threads=n_threads)
    }
    if labels is not None:
        own = labels if rows is None else labels[rows]
        values["knn_accuracy_codes"] = same_label_votes(known.index[:, :k], labels, own)
        values["knn_accuracy_map"] = same_label_votes(in_map.index, labels, own)
    measures: dict[str, float | None] = {}
    for name in MEASURES:
        mean, error = mean_and_error(values[name]) if name in values else (None, None)
        measures |= {name: mean, f"{name}_se": error}
    return measures
