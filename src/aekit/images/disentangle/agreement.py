"""UDR: whether several trainings found the same dimensions, which needs no factors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from aekit.images.disentangle.binning import Floats

INFORMATIVE = 0.01  # nats of KL divergence, from which on a dimension counts


def agreement(first: Floats, second: Floats, kl_first: Floats, kl_second: Floats) -> float:
    """Return how well the dimensions of two models match one to one, 0 to 1.

    The matches are absolute rank correlations R. For each informative dimension of either model, it is the square of
    its best match over the sum of all its matches: 1 if it has one partner and nothing else in common.

    Args:
        first: Codes of some images, (N, L).
        second: Codes of the same images from another model, (N, M).
        kl_first: KL divergence of each dimension in nats, (L,).
        kl_second: Those of the other model, (M,).

    Source:
        Duan et al. 2020, arXiv:1905.12614, equation 3, in the form with rank correlations.
    """
    a, b = first[:, kl_first > INFORMATIVE], second[:, kl_second > INFORMATIVE]
    if not a.shape[1] or not b.shape[1]:
        return 0.0
    matches = np.abs(_standard_ranks(a).T @ _standard_ranks(b)) / len(a)
    return float((_one_to_one(matches).sum() + _one_to_one(matches.T).sum()) / (a.shape[1] + b.shape[1]))


def unsupervised_ranking(codes: Sequence[Floats], kl: Sequence[Floats]) -> Floats:
    """Return the median agreement of each of several models, (M,), with the others on the same images."""
    n_models = len(codes)
    table = np.full((n_models, n_models), np.nan)
    for i in range(n_models):
        for j in range(i):
            table[i, j] = table[j, i] = agreement(codes[i], codes[j], kl[i], kl[j])
    medians: Floats = np.nanmedian(table, axis=1)
    return medians


def _one_to_one(matches: Floats) -> Floats:
    """Return the square of the largest of each row over its sum, (R,)."""
    total = matches.sum(1)
    found: Floats = np.divide(np.square(matches.max(1)), total, out=np.zeros(len(matches)), where=total > 0)
    return found


def _standard_ranks(codes: Floats) -> Floats:
    """Return the ranks of each column with mean zero and variance one, (N, L); ties get their mean rank."""
    ranks = rankdata(codes, axis=0)
    deviation = ranks.std(0)
    standard: Floats = (ranks - ranks.mean(0)) / np.where(deviation > 0, deviation, 1)
    return standard
