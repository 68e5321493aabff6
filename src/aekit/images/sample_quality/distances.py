"""Distances between two sets of features: Fréchet's, with an interval, and a kernel's, without bias.

Sources:
    Heusel et al. 2017, arXiv:1706.08500 (Fréchet distance of two Gaussians); Bińkowski et al. 2018, arXiv:1801.01401
    (kernel distance); Efron & Stein 1981, doi:10.1214/aos/1176345462 (jackknife).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt

import numpy as np
import numpy.typing as npt
from scipy import linalg, stats

Floats = npt.NDArray[np.float64]

N_GROUPS = 20  # that are left out in turn
BLOCK = 1000  # images of a block, at most
MIN_BLOCKS = 10


@dataclass(frozen=True)
class Estimate:
    """A distance with what it is without each part of the images.

    Attributes:
        value: The distance.
        error: Its standard error.
        low: Lower end of its interval of 95 %.
        high: Upper end.
        parts: The G values that the error is from: without each group, or of each block.
    """

    value: float
    error: float
    low: float
    high: float
    parts: Floats


class GroupedMoments:
    """Mean and covariance of features, all of them and without each of G groups: image i is of group i modulo G.

    Args:
        features: (N, D), N >= 2 G.
    """

    def __init__(self, features: Floats) -> None:
        self._n = np.array([len(features[group::N_GROUPS]) for group in range(N_GROUPS)])
        self._centre = features.mean(axis=0)  # subtracted first, so that sums of squares lose no digits
        self._features = features - self._centre
        self._total = self._features.T @ self._features

    def all(self) -> tuple[Floats, Floats]:
        """Return mean, (D,), and covariance, (D, D)."""
        n = self._n.sum()
        return self._centre, self._total / (n - 1)

    def without(self, group: int) -> tuple[Floats, Floats]:
        """Return mean and covariance of all images but those of a group."""
        own = self._features[group::N_GROUPS]
        n = self._n.sum() - len(own)
        mean = -own.sum(axis=0) / n  # all of them add up to zero
        covariance = (self._total - own.T @ own - n * np.outer(mean, mean)) / (n - 1)
        return self._centre + mean, covariance

    @cached_property
    def each(self) -> list[tuple[Floats, Floats]]:
        """Return mean and covariance of all, and then without each group: G + 1 of them."""
        return [self.all(), *(self.without(group) for group in range(N_GROUPS))]

    @cached_property
    def roots(self) -> list[Floats]:
        """Return the square root of each of these covariances."""
        return [_root(covariance) for _, covariance in self.each]


def frechet_distance(mean: Floats, covariance: Floats, other_mean: Floats, other_covariance: Floats) -> float:
    """Return the squared Fréchet (2-Wasserstein) distance of two Gaussians of D dimensions.

    |m - m'|^2 + tr(C + C' - 2 (C^1/2 C' C^1/2)^1/2). Estimated from N images of each it is too large: by about
    (D (D + 1) / 2 + 2 D) / N for equal distributions with variance one. So compare at equal N.
    """
    return _frechet(mean, covariance, _root(covariance), other_mean, other_covariance)


def frechet(samples: GroupedMoments, held_out: GroupedMoments) -> Estimate:
    """Return the distance of samples to held-out images, with its jackknife interval.

    The g-th groups of both are left out together, so that estimates for the same held-out images are paired.
    """
    found = np.array(
        [
            _frechet(*of_held_out, root, *of_samples)
            for of_held_out, root, of_samples in zip(held_out.each, held_out.roots, samples.each, strict=True)
        ]
    )
    return jackknife(float(found[0]), found[1:], lowest=0.0)


def jackknife(value: float, without: Floats, *, lowest: float = -np.inf) -> Estimate:
    """Return an estimate with Student's t interval, from its values without each of G groups, (G,)."""
    n = len(without)
    error = sqrt((n - 1) / n * float(np.square(without - without.mean()).sum()))
    half = float(stats.t.ppf(0.975, n - 1)) * error
    return Estimate(value, error, max(value - half, lowest), value + half, without)


def _frechet(mean: Floats, covariance: Floats, root: Floats, other_mean: Floats, other_covariance: Floats) -> float:
    product = root @ other_covariance @ root
    of_product = np.sqrt(np.maximum(linalg.eigvalsh(0.5 * (product + product.T)), 0.0)).sum()
    spread = float(np.trace(covariance) + np.trace(other_covariance) - 2 * of_product)
    return float(np.square(mean - other_mean).sum()) + max(spread, 0.0)


def _root(covariance: Floats) -> Floats:
    values, vectors = linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T, np.float64)


def kernel_distance(samples: Floats, held_out: Floats) -> Estimate:
    """Return the squared kernel distance (MMD) of two sets of features, (N, D) each, N >= 20.

    The kernel is (x'y / D + 1)^3. The mean over blocks without a common image, each without bias, so that it is zero in
    expectation for equal distributions and may be negative; the standard error is that over blocks.
    """
    n = len(samples)
    n_blocks = max(MIN_BLOCKS, ceil(n / BLOCK))
    parts = np.array([unbiased_mmd(samples[block::n_blocks], held_out[block::n_blocks]) for block in range(n_blocks)])
    value, error = float(parts.mean()), float(parts.std(ddof=1)) / sqrt(n_blocks)
    half = float(stats.t.ppf(0.975, n_blocks - 1)) * error
    return Estimate(value, error, value - half, value + half, parts)


def unbiased_mmd(first: Floats, second: Floats) -> float:
    """Return the squared maximum mean discrepancy of two sets, (N, D) and (M, D), without bias."""
    n, m = len(first), len(second)
    within = _kernel(first, first), _kernel(second, second)
    alike = [(each.sum() - each.trace()) / (k * (k - 1)) for each, k in zip(within, (n, m), strict=True)]
    return float(sum(alike) - 2 * _kernel(first, second).mean())


def _kernel(first: Floats, second: Floats) -> Floats:
    return np.asarray((first @ second.T / first.shape[1] + 1) ** 3, np.float64)
