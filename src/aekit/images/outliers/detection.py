"""How well a score tells known outliers from inliers, and thresholds that a given fraction of inliers exceeds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aekit.core.intervals import Interval

Floats = npt.NDArray[np.float64]

_RECALL = 0.95  # of FPR95


class Detection(NamedTuple):
    """How well a score tells outliers from inliers, with 95 % intervals over images of both.

    Attributes:
        auroc: Probability that an outlier scores higher than an inlier, ties counting half: 0.5 is chance.
        average_precision: Area below precision over recall of the outliers; their fraction is chance.
        fpr95: Fraction of inliers above the threshold that 95 % of outliers reach; 0.95 is chance.
    """

    auroc: Interval
    average_precision: Interval
    fpr95: Interval


def detection(inliers: Floats, outliers: Floats, *, n_resamples: int = 200, seed: int = 0) -> Detection:
    """Return how well a score, larger for outliers, tells N inliers from M outliers.

    Args:
        inliers: Scores of images that belong, (N,).
        outliers: Scores of images that do not, (M,).
        n_resamples: Number of resamples of both, for intervals.
        seed: Seed of the resamples; the same ones for all scores of the same images.

    Source:
        Hendrycks & Gimpel 2017, arXiv:1610.02136; Liang, Li & Srikant 2018, arXiv:1706.02690, for FPR95.
    """
    values, group = np.unique(np.concatenate([inliers, outliers]), return_inverse=True)
    of_inliers, of_outliers = group[: len(inliers)], group[len(inliers) :]

    def measure(rows_in: npt.NDArray[np.int64], rows_out: npt.NDArray[np.int64]) -> Floats:
        counts = [np.bincount(rows, minlength=len(values)) for rows in (of_inliers[rows_in], of_outliers[rows_out])]
        return _measures(*counts)

    exact = measure(np.arange(len(inliers)), np.arange(len(outliers)))
    generator = np.random.default_rng(seed)
    drawn = np.stack(
        [measure(*(generator.integers(0, n, n) for n in (len(inliers), len(outliers)))) for _ in range(n_resamples)]
    )
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return Detection(*(Interval(float(exact[i]), float(low[i]), float(high[i])) for i in range(3)))


def _measures(n_in: npt.NDArray[np.int64], n_out: npt.NDArray[np.int64]) -> Floats:
    """Return AUROC, average precision and FPR95 from the numbers of inliers and outliers with each value, ascending."""
    all_in, all_out = n_in.sum(), n_out.sum()
    below = np.cumsum(n_in) - n_in
    auroc = (n_out * (below + n_in / 2)).sum() / (all_in * all_out)
    flagged_out, flagged_in = np.cumsum(n_out[::-1]), np.cumsum(n_in[::-1])  # with each value as the threshold
    precision = flagged_out / np.maximum(flagged_out + flagged_in, 1)
    average_precision = (precision * n_out[::-1]).sum() / all_out
    enough = int(np.argmax(flagged_out >= _RECALL * all_out))
    return np.array([auroc, average_precision, flagged_in[enough] / all_in])


def threshold(inliers: Floats, fpr: float) -> float:
    """Return the score above which an image is flagged, so that at most a fraction of further inliers is.

    The fraction holds on average over held-out inliers and further ones, if both are drawn alike.

    Args:
        inliers: Scores of held-out images that belong, (N,), N >= 1 / fpr - 1.
        fpr: Fraction that may be flagged, in (0, 1).

    Source:
        Vovk, Gammerman & Shafer 2005, Algorithmic Learning in a Random World; Papadopoulos et al. 2002, on inductive
        confidence machines.
    """
    rank = math.ceil((len(inliers) + 1) * (1 - fpr) - 1e-9)
    if rank > len(inliers):
        raise ValueError(f"{len(inliers)} scores have no threshold for {fpr:g}")
    return float(np.sort(inliers)[rank - 1])


def p_values(inliers: Floats, scores: Floats, *, are_same: bool = False) -> Floats:
    """Return the probability that an inlier scores as high as each image, (M,), in (0, 1].

    Args:
        inliers: Scores of held-out images that belong, (N,).
        scores: Scores of the images, (M,).
        are_same: Whether the images are the inliers themselves, each of which is then counted once.
    """
    n_above = len(inliers) - np.searchsorted(np.sort(inliers), scores, side="left")
    p: Floats = n_above / len(inliers) if are_same else (n_above + 1) / (len(inliers) + 1)
    return p
