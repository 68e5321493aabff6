"""The score of FactorVAE: which dimension stays put when a factor does."""

from __future__ import annotations

import numpy as np

from aekit.images.disentangle.binning import Floats, Integers

TRAIN_VOTES, TEST_VOTES = 10_000, 5_000
GROUP = 64  # images with the same value of a factor, of which one vote is made
_BLOCK = 500  # votes at a time


def factor_vae_score(codes: Floats, factors: Integers, *, seed: int) -> float:
    """Return the accuracy of telling the fixed factor from the dimension that varies least, 0 to 1.

    For a vote, a factor and one of its values are drawn, and images that have it; the dimension with the least variance
    among these, in that of all codes, votes for the factor. The classifier is the majority of the training votes of a
    dimension, and the score its accuracy on other votes. Chance is the share of the most frequent factor. Images are
    drawn from those given, with replacement. Dimensions of zero variance do not vote; if there are no others, the score
    is that of chance.

    Args:
        codes: Codes, (N, L).
        factors: Factors as integers, (N, F); those with one value are not drawn.
        seed: Seed of the votes.

    Source:
        Kim & Mnih 2018, arXiv:1802.05983, section 4.
    """
    varied = [k for k in range(factors.shape[1]) if len(np.unique(factors[:, k])) > 1]
    variance = codes.var(0)
    alive = np.flatnonzero(np.sqrt(variance) > 1e-6 * np.abs(codes).max(0))  # beyond rounding
    if not varied:
        return float("nan")
    if not len(alive):
        return 1 / len(varied)
    generator = np.random.default_rng(seed)
    standard = (codes[:, alive] - codes[:, alive].mean(0)) / np.sqrt(variance[alive])
    groups = [_rows_by_value(factors[:, k]) for k in varied]
    train = _votes(standard, groups, TRAIN_VOTES, generator)
    test = _votes(standard, groups, TEST_VOTES, generator)
    counts = np.zeros((len(alive), len(varied)), np.int64)
    np.add.at(counts, (train[0], train[1]), 1)
    return float((counts.argmax(1)[test[0]] == test[1]).mean())


def _rows_by_value(factor: Integers) -> list[Integers]:
    order = np.argsort(factor, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(factor[order])) + 1)


def _votes(
    codes: Floats, groups: list[list[Integers]], n_votes: int, generator: np.random.Generator
) -> tuple[Integers, Integers]:
    """Return the dimension and the factor of each vote, (V,)."""
    factors = generator.integers(len(groups), size=n_votes)
    dimensions = np.empty(n_votes, np.int64)
    for start in range(0, n_votes, _BLOCK):
        rows = []
        for k in factors[start : start + _BLOCK]:
            own = groups[k][generator.integers(len(groups[k]))]
            rows.append(own[generator.integers(len(own), size=GROUP)])
        dimensions[start : start + _BLOCK] = codes[np.array(rows)].var(1).argmin(1)
    return dimensions, factors
