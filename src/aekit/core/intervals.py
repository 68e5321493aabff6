"""Confidence intervals of means over few draws or seeds, and of statistics over many images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from aekit.core.later import Later

if TYPE_CHECKING:
    from scipy import special
else:
    special = Later("scipy.special")

FloatArray = npt.NDArray[np.floating]
MIN_VALUES = 5  # with fewer there is no useful estimate of a standard error


class Interval(NamedTuple):
    """A value with the ends of its confidence interval; both ends are NaN if they cannot be estimated."""

    value: float
    low: float
    high: float


def mean_interval(values: FloatArray, *, confidence: float = 0.95) -> Interval:
    """Return the mean of independent draws and Student's t interval around it, with NaN ends for a single draw.

    Args:
        values: One value per draw or seed, (N,), N >= 1.
        confidence: Confidence level, in (0, 1): the fraction of such intervals that contain the true mean.
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, np.nan, np.nan)
    half = float(special.stdtrit(len(values) - 1, 0.5 + confidence / 2) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def positive_interval(
    value: float, standard_error: float, n: int, *, shrinkage: float = 1.0, confidence: float = 0.95
) -> Interval:
    """Return an estimate that cannot be negative and Student's t interval around its logarithm.

    The ends are NaN for fewer than five values, which say too little of the standard error.

    Args:
        value: The estimate, >= 0; zero has the interval [0, 0].
        standard_error: Its standard error, in the same unit.
        n: Number of independent values it was estimated from.
        shrinkage: Fraction of the truth that the estimate is on average, in (0, 1]; the upper end is divided by it.
        confidence: Confidence level, in (0, 1).
    """
    if n < MIN_VALUES:
        return Interval(value, np.nan, np.nan)
    if value == 0:
        return Interval(0.0, 0.0, 0.0)
    factor = float(np.exp(special.stdtrit(n - 1, 0.5 + confidence / 2) * standard_error / value))
    return Interval(value, value / factor, value * factor / shrinkage)


def bootstrap_interval(
    statistic: Callable[[npt.NDArray[np.int64]], float],
    n_rows: int,
    *,
    n_resamples: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a statistic of all rows and its percentile interval over resamples of the rows with replacement.

    Args:
        statistic: Takes the indices of resampled rows, (n_rows,) with repetitions, and returns a number.
        n_rows: Number of rows.
        n_resamples: Number of resamples.
        confidence: Confidence level, in (0, 1): the fraction of such intervals that contain the true value.
        seed: Seed of the resamples.

    Source:
        Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    generator = np.random.default_rng(seed)
    drawn = [statistic(generator.integers(0, n_rows, n_rows)) for _ in range(n_resamples)]
    low, high = np.quantile(drawn, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(statistic(np.arange(n_rows)), float(low), float(high))


def proportion_interval(n_hits: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Return a proportion and Wilson's interval around it, for a number of hits among n independent trials, n >= 1.

    Source:
        Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    z, proportion = float(special.ndtri(0.5 + confidence / 2)), n_hits / n
    middle = (proportion + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(proportion * (1 - proportion) / n + (z / (2 * n)) ** 2) / (1 + z**2 / n)
    low, high = max(0.0, float(middle - half)), min(1.0, float(middle + half))
    return Interval(proportion, min(low, proportion), max(high, proportion))  # rounding must not leave it out
