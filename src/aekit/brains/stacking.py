"""Stacking: the age of several models together, weighted by how well they predict participants that they did not see.

The weights are not negative and add up to one. A participant's own age never enters the weights of their prediction:
those of a fold are fitted on the out-of-fold predictions of the other folds, those of ``test`` on ``val``, and those of
a participant of ``val`` on the rest of ``val``. A small optimism remains with folds, as the models of the other folds
were trained on this one's participants, so that their errors are not quite independent.

Source:
    Wolpert 1992, Stacked generalization, doi:10.1016/S0893-6080(05)80023-1; Breiman 1996, Stacked regressions,
    doi:10.1007/BF00117832.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from aekit.brains.predictions import AGE, FEATURE_MODELS, Predictions
from aekit.brains.tissue_model import TISSUES

Floats = npt.NDArray[np.float64]

STACK = "stack"
# The mean is one of them, so that models that know nothing shrink to it.
STACKED = ("mean", "ridge-histogram", "ridge-voxels", TISSUES, "chain", "direct", *FEATURE_MODELS)
MIN_FITTED = 10  # participants for weights


def fit_weights(predictions: Floats, truth: Floats) -> Floats:
    """Return the convex combination of models with the smallest squared error, (M,): >= 0, with a sum of 1.

    It is exact: the solution is that of least squares with a sum of 1 on some subset of the models, and all are tried.

    Args:
        predictions: Of each participant by each model, (N, M), N >= 1, M at most about 10.
        truth: True values, (N,).
    """
    n_models = predictions.shape[1]
    errors = predictions - truth[:, None]
    gram = errors.T @ errors
    best, least = np.full(n_models, 1 / n_models), np.inf
    for size in range(1, n_models + 1):
        for chosen in combinations(range(n_models), size):
            own = gram[np.ix_(chosen, chosen)]
            weights = np.zeros(n_models)
            # Minimises w' G w with a sum of 1; two models that agree share their weight.
            solved = np.linalg.pinv(own + 1e-9 * max(np.trace(own), 1e-12) * np.eye(size)) @ np.ones(size)
            weights[list(chosen)] = solved / solved.sum()
            loss = float(weights @ gram @ weights)
            if weights.min() >= 0 and loss < least * (1 - 1e-9):
                best, least = weights, loss
    return best


def stack_ages(predictions: Sequence[Predictions]) -> list[Predictions]:
    """Return the predictions of age by the stack for each split; none with fewer than ten participants for weights."""
    by_split = _by_split(predictions)
    found = [_stacked(split, by_split) for split in by_split]
    return [part for part in found if part is not None]


def describe_stack(predictions: Sequence[Predictions], mean_years: float) -> dict[str, Any]:
    """Return models and weights for new scans, from all of ``cv`` or ``val``, for a header; empty without the stack.

    Args:
        predictions: Of all models.
        mean_years: The mean predictor's age of new scans.
    """
    by_split = _by_split(predictions)
    fitted = by_split.get("cv") or by_split.get("val")
    if not fitted or len(next(iter(fitted.values())).rows) < MIN_FITTED or len(fitted) < 2:
        return {}
    weights = fit_weights(_columns(fitted), next(iter(fitted.values())).truth)
    return {"stack": {"models": list(fitted), "weights": weights.tolist(), "mean_years": mean_years}}


def _by_split(predictions: Sequence[Predictions]) -> dict[str, dict[str, Predictions]]:
    found: dict[str, dict[str, Predictions]] = {}
    for part in predictions:
        if part.target == AGE and part.model in STACKED:
            found.setdefault(part.split, {})[part.model] = part
    return found


def _columns(models: dict[str, Predictions]) -> Floats:
    return np.column_stack([part.prediction for part in models.values()])


def _stacked(split: str, by_split: dict[str, dict[str, Predictions]]) -> Predictions | None:
    """Return the stack's predictions for a split, or None if someone has too few others to fit weights on."""
    models = by_split[split]
    first, columns = next(iter(models.values())), _columns(models)
    fitted = by_split.get("cv") or by_split.get("val")
    if fitted is None or len(models) < 2:
        return None
    fit_first, fit_columns = next(iter(fitted.values())), _columns(fitted)
    groups = np.arange(len(first.rows)) if split == "val" else first.fold  # each of val by the rest of it
    prediction = np.empty(len(first.rows))
    for group in np.unique(groups):
        own = groups == group
        others = ~np.isin(fit_first.rows, first.rows[own])
        if "cv" in by_split:
            others &= fit_first.fold != group
        if others.sum() < MIN_FITTED:
            return None
        prediction[own] = columns[own] @ fit_weights(fit_columns[others], fit_first.truth[others])
    return replace(first, model=STACK, prediction=prediction)
