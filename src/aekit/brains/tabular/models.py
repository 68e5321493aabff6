"""Age from features: ridge regression and a Gaussian process, as arrays that a checkpoint can hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

Floats = npt.NDArray[np.float64]

PENALTIES = np.logspace(-6, 3, 46)  # per participant, for features of variance one
_MAX_PARTICIPANTS = 2000  # of a Gaussian process; of more a random subset
_MAX_SEARCHED = 500  # on which its scales are found


@dataclass(frozen=True, eq=False)
class Ridge:
    """A linear function of features.

    Attributes:
        weight: Years per unit of each feature, (F,).
        bias: Years at features of zero.
    """

    weight: Floats
    bias: float

    def __call__(self, features: Floats) -> Floats:
        """Return ages, (M,), from features, (M, F)."""
        ages: Floats = features @ self.weight + self.bias
        return ages


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """The mean of a Gaussian process with a linear and an isotropic squared-exponential kernel.

    Attributes:
        centre: Mean of each feature in train, (F,).
        spread: Standard deviation of the same, (F,).
        points: Standardised features of the train participants, (n, F).
        dual: Weight of each of them, in years, (n,).
        middle: Mean age of train, years.
        smooth: Variance of the squared-exponential part.
        length: Its length scale.
        linear: Variance of the slope of each feature.
    """

    centre: Floats
    spread: Floats
    points: Floats
    dual: Floats
    middle: float
    smooth: float
    length: float
    linear: float

    def __call__(self, features: Floats) -> Floats:
        """Return ages, (M,), from features, (M, F)."""
        inputs = (features - self.centre) / self.spread
        kernel = self.linear * inputs @ self.points.T
        kernel += self.smooth * np.exp(-0.5 * cdist(inputs, self.points, "sqeuclidean") / self.length**2)
        ages: Floats = kernel @ self.dual + self.middle
        return ages


def standardisation(features: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each feature, (F,) both; a constant one has 1."""
    spread = features.std(axis=0)
    return features.mean(axis=0), np.where(spread > 1e-12 * np.abs(features).max(axis=0), spread, 1.0)


def fit_ridge_features(features: Floats, age_years: Floats) -> Ridge:
    """Return ridge regression on standardised features, with the penalty of the smallest leave-one-out error.

    Args:
        features: Of the train participants, (N, F), N >= 2.
        age_years: Their ages, (N,).

    Source:
        Leave-one-out of a linear smoother: Hastie, Tibshirani & Friedman 2009, The Elements of Statistical Learning,
        section 7.10.1.
    """
    centre, spread = standardisation(features)
    left, singular, right = np.linalg.svd((features - centre) / spread, full_matrices=False)
    middle = float(age_years.mean())
    rotated = left.T @ (age_years - middle)
    best, least = np.zeros(len(singular)), np.inf
    for penalty in PENALTIES * len(features):
        kept = singular**2 / (singular**2 + penalty)
        leverage = np.square(left) @ kept + 1 / len(features)  # of the intercept
        residuals = age_years - middle - left @ (kept * rotated)
        error = float(np.square(residuals / np.maximum(1 - leverage, 1e-12)).mean())
        if error < least:
            best, least = singular / (singular**2 + penalty) * rotated, error
    weight = right.T @ best / spread
    return Ridge(weight, middle - float(weight @ centre))


def fit_gaussian_process_features(features: Floats, age_years: Floats, *, seed: int) -> GaussianProcess:
    """Return a Gaussian process on standardised features whose scales and noise have the largest marginal likelihood.

    One length scale for all features, as their number is in the order of that of the participants; the linear part
    keeps predictions from falling back to the mean far from the train participants.

    Args:
        features: Of the train participants, (N, F); of more than 2,000 a random subset is used.
        age_years: Their ages, (N,).
        seed: Seed of these subsets.

    Source:
        Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, algorithm 2.1 and equation 5.9.
    """
    order = np.sort(np.random.default_rng(seed).permutation(len(features))[:_MAX_PARTICIPANTS])
    (centre, spread), own = standardisation(features[order]), age_years[order]
    points = (features[order] - centre) / spread
    middle, scale = float(own.mean()), float(own.std()) or 1.0
    targets = (own - middle) / scale
    squared, products = cdist(points, points, "sqeuclidean"), points @ points.T
    some = np.random.default_rng(seed + 1).permutation(len(order))[:_MAX_SEARCHED]
    block = np.ix_(some, some)
    logs = _most_likely(squared[block], products[block], targets[some], features.shape[1])
    smooth, length, linear, noise = np.exp(logs)
    kernel = smooth * np.exp(-0.5 * squared / length**2) + linear * products
    kernel[np.diag_indices_from(kernel)] += noise
    dual = np.asarray(cho_solve(cho_factor(kernel, lower=True), targets), np.float64) * scale
    return GaussianProcess(centre, spread, points, dual, middle, float(smooth), float(length), float(linear))


def _most_likely(squared: Floats, products: Floats, targets: Floats, n_features: int) -> Floats:
    """Return the logarithms of smooth and length, linear and noise with the largest marginal likelihood, (4,)."""
    side = np.sqrt(n_features)
    # Standardised points are sqrt(2 F) apart: with a length below the first bound, each is similar to itself alone.
    bounds = [(1e-4, 1e2), (0.5 * side, 50 * side), (1e-6 / n_features, 1e2 / n_features), (1e-4, 10.0)]
    starts = ([0.5, side, 0.5 / n_features, 0.3], [0.05, 3 * side, 1 / n_features, 0.1])
    found = [
        minimize(
            negative_log_likelihood,
            np.log(start),
            args=(squared, products, targets),
            jac=True,
            method="L-BFGS-B",
            bounds=np.log(bounds),
            options={"ftol": 1e-7, "maxiter": 100},
        )
        for start in starts
    ]
    return np.asarray(min(found, key=lambda one: float(one.fun)).x, np.float64)


def negative_log_likelihood(logs: Floats, squared: Floats, products: Floats, targets: Floats) -> tuple[float, Floats]:
    """Return the negative log marginal likelihood of a Gaussian process, up to a constant, and its gradient, (4,).

    Args:
        logs: Logarithms of smooth, length, linear and noise, (4,).
        squared: Squared distances of the participants, (n, n).
        products: Their inner products, (n, n).
        targets: Standardised ages, (n,).
    """
    smooth, length, linear, noise = np.exp(logs)
    curved, straight = smooth * np.exp(-0.5 * squared / length**2), linear * products
    kernel = curved + straight
    kernel[np.diag_indices_from(kernel)] += noise
    factor = cho_factor(kernel, lower=True)
    dual = cho_solve(factor, targets)
    inverse = cho_solve(factor, np.eye(len(targets)))
    value = 0.5 * float(targets @ dual) + float(np.log(np.diag(factor[0])).sum())
    slack = inverse - np.outer(dual, dual)
    gradient = [0.5 * float((slack * part).sum()) for part in (curved, curved * squared / length**2, straight)]
    return value, np.array([*gradient, 0.5 * noise * float(np.trace(slack))])
