"""IRS: how far a dimension moves when other factors than its own change."""

from __future__ import annotations

import numpy as np

from aekit.images.disentangle.binning import Floats, Integers

QUANTILE = 0.99  # of the distances, in place of their largest, which a single image decides


def interventional_robustness(codes: Floats, factors: Integers) -> tuple[Floats, float]:
    """Return the robustness of each dimension for each factor, (L, F), and the score, 0 to 1.

    Robustness is 1 minus how far codes of images with the same value of the factor lie from their mean, averaged over
    values, in the largest distance of all codes from theirs. The score is the mean over dimensions of the most robust
    factor's, weighted by that largest distance, so that dimensions without variation do not count.

    Source:
        Suter, Miladinovic, Schoelkopf & Bauer 2019, arXiv:1811.00007.
    """
    largest = np.abs(codes - codes.mean(0)).max(0)
    moved = np.zeros((codes.shape[1], factors.shape[1]))
    for k in range(factors.shape[1]):
        values = np.unique(factors[:, k])
        for value in values:
            own = codes[factors[:, k] == value]
            moved[:, k] += np.quantile(np.abs(own - own.mean(0)), QUANTILE, axis=0) / len(values)
    robustness = np.zeros_like(moved)
    alive = largest > 0
    robustness[alive] = np.clip(1 - moved[alive] / largest[alive, None], 0, 1)
    score = float(np.average(robustness.max(1), weights=largest)) if alive.any() else 0.0
    return robustness, score
