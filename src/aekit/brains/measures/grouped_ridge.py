"""Ridge regression on several groups of features, each with a penalty of its own.

It is a Gaussian process whose kernel is a sum of linear kernels, one per group. The amplitude of each and the noise are
those of the largest marginal likelihood, so that a group that tells nothing weighs nothing.

Source:
    Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, sections 2.2 and 5.4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

_MAX_SEARCHED = 500  # participants on which amplitudes are searched: each step costs the cube of their number
_N_STEPS = 60
_START, _START_NOISE = -1.0, -1.5  # logarithms of variances, in units of the variance of the target
_PRIOR = (
    0.02  # precision of these logarithms: a group without information ends at a small weight, not at minus infinity
)


@dataclass(frozen=True)
class GroupedRidge:
    """A regression on K groups of features.

    Attributes:
        dual: Weight of each train participant, (n,); their sum is 0.
        weights: Of each group, (K,): features times the root of a group's weight have one penalty.
        mean: Mean of the train targets.
    """

    dual: Floats
    weights: Floats
    mean: float


def fit_grouped_ridge(kernels: Sequence[Floats], target: Floats, train: Rows, *, seed: int = 0) -> GroupedRidge:
    """Return the regression of a target on groups of features, from their inner products alone.

    Args:
        kernels: Inner products of each group's features over all participants, (N, N) each.
        target: Of all participants, (N,); only those of train are used.
        train: Rows of the train participants, n >= 2.
        seed: Of the subset of 500 on whom amplitudes are searched if there are more.
    """
    mean, spread = float(target[train].mean()), float(target[train].std()) or 1.0
    y = (target[train] - mean) / spread
    centred = [_centre(kernel[np.ix_(train, train)]) for kernel in kernels]
    sizes = [float(np.trace(kernel)) / len(train) for kernel in centred]
    unit = [1 / size if size > 0 else 0.0 for size in sizes]  # the same features for everyone weigh nothing
    scaled = [kernel * factor for kernel, factor in zip(centred, unit, strict=True)]
    amplitudes, noise = _search(scaled, y, seed)
    total = np.sum([a * kernel for a, kernel in zip(amplitudes, scaled, strict=True)], axis=0)
    dual = np.linalg.solve(total + noise * np.eye(len(y)), y)
    dual -= dual.mean()  # it is, up to rounding
    return GroupedRidge(dual * spread, amplitudes * np.array(unit), mean)


def predict_grouped_ridge(model: GroupedRidge, kernels: Sequence[Floats], train: Rows, others: Rows) -> Floats:
    """Return the prediction for the participants in the rows ``others``, (M,)."""
    total = np.sum([w * kernel[:, train] for w, kernel in zip(model.weights, kernels, strict=True)], axis=0)
    found: Floats = model.mean + (total[others] - total[train].mean(axis=0)) @ model.dual
    return found


def _centre(kernel: Floats) -> Floats:
    means = kernel.mean(axis=0)
    centred: Floats = kernel - means - means[:, None] + means.mean()
    return centred


def _search(kernels: Sequence[Floats], y: Floats, seed: int) -> tuple[Floats, float]:
    """Return the amplitude of each kernel, (K,), and the variance of noise with the largest marginal likelihood."""
    if len(y) > _MAX_SEARCHED:
        rows = np.sort(np.random.default_rng(seed).permutation(len(y))[:_MAX_SEARCHED])
        kernels, y = [_centre(kernel[np.ix_(rows, rows)]) for kernel in kernels], y[rows] - y[rows].mean()
    parts = [*kernels, np.eye(len(y))]

    def loss(logs: Floats) -> tuple[float, Floats]:
        total = np.sum([np.exp(log) * part for log, part in zip(logs, parts, strict=True)], axis=0)
        root = cholesky(total, lower=True)
        alpha = cho_solve((root, True), y)
        inverse = cho_solve((root, True), np.eye(len(y)))
        value = 0.5 * y @ alpha + np.log(np.diag(root)).sum() + 0.5 * _PRIOR * logs @ logs
        slopes = [
            0.5 * np.exp(log) * ((inverse * part).sum() - alpha @ part @ alpha)
            for log, part in zip(logs, parts, strict=True)
        ]
        return float(value), np.array(slopes) + _PRIOR * logs

    start = np.array([_START] * len(kernels) + [_START_NOISE])
    bounds = [(-12.0, 6.0)] * len(kernels) + [(-7.0, 3.0)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _N_STEPS}).x
    return np.exp(found[:-1]), float(np.exp(found[-1]))
