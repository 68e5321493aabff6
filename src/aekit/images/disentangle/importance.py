"""DCI: disentanglement, completeness and informativeness, from the importance of each dimension for each factor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from aekit.images.disentangle.binning import Floats, Integers

TREES = 30
LEAF = 3  # images at least


@dataclass(frozen=True)
class Dci:
    """Scores of a code, each from 0 to 1.

    Attributes:
        importance: Part that each dimension has in predicting each factor, (L, F); columns add up to 1, or are 0.
        disentanglement: Mean over dimensions, by their importance, of 1 minus the entropy of the factors.
        completeness: Mean over factors of 1 minus the entropy of the dimensions.
        informativeness: Accuracy of the prediction of each factor on held-out images, (F,).
    """

    importance: Floats
    disentanglement: float
    completeness: float
    informativeness: Floats


def measure_dci(
    train: tuple[Floats, Integers], test: tuple[Floats, Integers], *, seed: int, jobs: int | None = None
) -> Dci:
    """Return the scores of codes, (N, L), with factors, (N, F), of which some train a forest and others test it.

    A random forest per factor predicts its value; importances are the decreases of impurity.

    Source:
        Eastwood & Williams 2018, "A framework for the quantitative evaluation of disentangled representations".
    """
    (codes, factors), (held_out, truth) = train, test
    importance = np.zeros((codes.shape[1], factors.shape[1]))
    accuracy = np.empty(factors.shape[1])
    for k in range(factors.shape[1]):
        forest = RandomForestClassifier(TREES, max_features=None, min_samples_leaf=LEAF, n_jobs=jobs, random_state=seed)
        forest.fit(codes, factors[:, k])
        importance[:, k] = forest.feature_importances_
        accuracy[k] = forest.score(held_out, truth[:, k])
    return Dci(importance, disentanglement(importance), completeness(importance), accuracy)


def disentanglement(importance: Floats) -> float:
    """Return whether each dimension matters for one factor alone, 0 to 1, for importances (L, F)."""
    weights = importance.sum(1)
    if not weights.sum():
        return 0.0
    return float(np.average(1 - _relative_entropy(importance), weights=weights))


def completeness(importance: Floats) -> float:
    """Return whether each factor is in one dimension alone, 0 to 1, for importances (L, F)."""
    weights = importance.sum(0)
    if not weights.sum():
        return 0.0
    return float(np.average(1 - _relative_entropy(importance.T), weights=weights))


def _relative_entropy(rows: Floats) -> Floats:
    """Return the entropy of each row, in that of a uniform one, (R,); 1 for a row of zeros."""
    if rows.shape[1] == 1:
        return np.zeros(len(rows))
    total = rows.sum(1, keepdims=True)
    p = np.divide(rows, total, out=np.full_like(rows, 1 / rows.shape[1]), where=total > 0)
    terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0)
    entropy: Floats = -terms.sum(1) / np.log(rows.shape[1])
    return entropy
