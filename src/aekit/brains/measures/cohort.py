"""Measures of a cohort: floors, distributions, correlations, differences between sexes and between sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from aekit.brains.measures.age_trend import SexArray, age_sex_design, fit_age_basis
from aekit.core.intervals import Interval, positive_interval

FloatArray = npt.NDArray[np.floating]
NO_INTERVAL = Interval(np.nan, np.nan, np.nan)
CONFIDENCE = 0.95
_Z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class Floor:
    """The errors of predicting the same age for everyone: what any model must beat.

    Attributes:
        mean_years: Mean age.
        median_years: Median age, the constant with the smallest mean absolute error.
        mae_mean_years: Mean absolute error of the mean, with its interval.
        mae_median_years: Mean absolute error of the median, with its interval.
    """

    mean_years: float
    median_years: float
    mae_mean_years: Interval
    mae_median_years: Interval


def age_floor(age_years: FloatArray) -> Floor:
    """Return the errors of the mean and of the median age of these participants, with their 95 % intervals.

    A mean of absolute errors is positive and skewed, so the interval is Student's t around its logarithm. The mean and
    the median are fitted to the same participants, which makes errors smaller than those around the true constant, by
    sqrt((n - 1) / n) and (n - 1) / n; the upper ends allow for it. Of 2,000 samples each this fraction of intervals
    contained the true value (of the mean / of the median / percentile bootstrap of the mean, with 500 resamples)::

                       n = 10           20               50               200
        normal         .97 / .98 / .84  .96 / .96 / .91  .96 / .96 / .93  .95 / .95 / .93
        uniform        .97 / .98 / .87  .97 / .98 / .92  .96 / .97 / .95  .96 / .97 / .96
        two groups     .99 / .99 / .81  .99 / .99 / .87  .99 / .99 / .89  .98 / .98 / .94
        exponential    .89 / .93 / .74  .91 / .94 / .83  .91 / .93 / .89  .94 / .95 / .93
        mostly young   .85 / .91 / .74  .88 / .92 / .84  .93 / .94 / .91  .94 / .95 / .94

    Args:
        age_years: Ages, (N,), N >= 1, none missing; fewer than five have no interval.
    """
    n = len(age_years)
    mean, median = float(np.mean(age_years)), float(np.median(age_years))
    from_mean = age_years - mean
    # The mean moves with each age: with more participants below it than above, their errors fall as it falls.
    moves = np.abs(from_mean) - np.sign(from_mean).mean() * from_mean
    fitted = np.sqrt((n - 1) / n)
    return Floor(
        mean,
        median,
        positive_interval(float(np.abs(from_mean).mean()), _standard_error(moves), n, shrinkage=fitted),
        absolute_error(age_years, median, shrinkage=fitted**2),
    )


def absolute_error(age_years: FloatArray, constant_years: float, *, shrinkage: float = 1.0) -> Interval:
    """Return the mean absolute error of predicting a constant for everyone, with its 95 % interval.

    Args:
        age_years: Ages, (N,), N >= 1, none missing; fewer than five have no interval.
        constant_years: Predicted for everyone.
        shrinkage: See :func:`aekit.core.intervals.positive_interval`; 1 if the constant is of other participants.
    """
    errors = np.abs(age_years - constant_years)
    return positive_interval(float(errors.mean()), _standard_error(errors), len(errors), shrinkage=shrinkage)


def _standard_error(values: FloatArray) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan


@dataclass(frozen=True)
class Distribution:
    """The distribution of a measure; NaN if nobody has it.

    Attributes:
        n: Participants with the measure.
        n_missing: Participants without it.
        mean: Mean.
        sd: Standard deviation with N - 1.
        smallest: Minimum.
        percentiles: At 5, 25, 50, 75 and 95 %.
        largest: Maximum.
        skewness: Third standardised moment; 0 for a symmetric distribution.
    """

    n: int
    n_missing: int
    mean: float
    sd: float
    smallest: float
    percentiles: tuple[float, ...]
    largest: float
    skewness: float


def describe(values: FloatArray) -> Distribution:
    """Return the distribution of a measure, (N,), NaN where missing."""
    known = values[np.isfinite(values)]
    n_missing = len(values) - len(known)
    if len(known) == 0:
        nan = np.nan
        return Distribution(0, n_missing, nan, nan, nan, (nan,) * len(PERCENTILES), nan, nan)
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else np.nan
    skewed = len(known) > 2 and np.ptp(known) > 1e-9 * np.abs(known).max()
    return Distribution(
        n=len(known),
        n_missing=n_missing,
        mean=float(np.mean(known)),
        sd=sd,
        smallest=float(known.min()),
        percentiles=tuple(float(value) for value in np.percentile(known, PERCENTILES)),
        largest=float(known.max()),
        skewness=float(stats.skew(known)) if skewed else np.nan,
    )


@dataclass(frozen=True, eq=False)
class Correlations:
    """Pairwise correlations of measures over the participants who have both.

    Attributes:
        pearson: Pearson's r, (P, P); NaN if a measure is constant or fewer than three participants have both.
        low: Lower ends of 95 % intervals of Pearson's r, (P, P).
        high: Upper ends, (P, P).
        spearman: Spearman's rank correlation, (P, P).
        n: Participants who have both, (P, P).
    """

    pearson: FloatArray
    low: FloatArray
    high: FloatArray
    spearman: FloatArray
    n: npt.NDArray[np.int64]


def correlate(measures: FloatArray) -> Correlations:
    """Return the correlations of every pair of measures, (N, P), NaN where missing, with Fisher's z intervals."""
    n_measures = measures.shape[1]
    pearson, spearman, low, high = (np.full((n_measures, n_measures), np.nan) for _ in range(4))
    n = np.zeros((n_measures, n_measures), np.int64)
    for i in range(n_measures):
        for j in range(i, n_measures):
            both = np.isfinite(measures[:, i]) & np.isfinite(measures[:, j])
            n[i, j] = n[j, i] = both.sum()
            a, b = measures[both, i], measures[both, j]
            if len(a) < 3 or _is_constant(a) or _is_constant(b):
                continue
            pearson[i, j] = pearson[j, i] = r = 1.0 if i == j else float(np.corrcoef(a, b)[0, 1])
            spearman[i, j] = spearman[j, i] = 1.0 if i == j else float(stats.spearmanr(a, b).statistic)
            interval = (1.0, 1.0) if i == j else _fisher_interval(r, len(a))
            low[i, j], high[i, j] = low[j, i], high[j, i] = interval
    return Correlations(pearson, low, high, spearman, n)


def _is_constant(values: FloatArray) -> bool:
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def _fisher_interval(r: float, n: int) -> tuple[float, float]:
    if n < 4:
        return np.nan, np.nan
    z, half = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)), _Z / np.sqrt(n - 3)
    return float(np.tanh(z - half)), float(np.tanh(z + half))


def stronger_correlation(first: FloatArray, second: FloatArray, age_years: FloatArray) -> Interval:
    """Return |r(first, age)| - |r(second, age)| with its 95 % interval; NaN if it cannot be computed.

    Args:
        first: A measure, (N,), NaN where missing.
        second: Another, (N,).
        age_years: Ages, (N,).

    Source:
        Zou 2007, Toward using confidence intervals to compare correlations, Psychological Methods 12(4), the case of
        two correlations that share a variable.
    """
    whole = np.isfinite(first) & np.isfinite(second) & np.isfinite(age_years)
    a, b, age = first[whole], second[whole], age_years[whole]
    if len(age) < 5 or _is_constant(a) or _is_constant(b) or _is_constant(age):
        return NO_INTERVAL
    matrix = np.corrcoef([a, b, age])
    signs = np.array([-1.0 if matrix[0, 2] < 0 else 1.0, -1.0 if matrix[1, 2] < 0 else 1.0])
    r1, r2 = np.abs(matrix[:2, 2])
    between = float(matrix[0, 1] * signs.prod())
    (low1, high1), (low2, high2) = (_fisher_interval(float(r), len(age)) for r in (r1, r2))
    free = max((1 - r1**2) * (1 - r2**2), 1e-300)
    shared = ((between - 0.5 * r1 * r2) * (1 - r1**2 - r2**2 - between**2) + between**3) / free
    below = (r1 - low1) ** 2 + (high2 - r2) ** 2 - 2 * shared * (r1 - low1) * (high2 - r2)
    above = (high1 - r1) ** 2 + (r2 - low2) ** 2 - 2 * shared * (high1 - r1) * (r2 - low2)
    difference = float(r1 - r2)
    return Interval(difference, difference - float(np.sqrt(max(below, 0))), difference + float(np.sqrt(max(above, 0))))


@dataclass(frozen=True)
class SexDifference:
    """How a measure differs between men and women.

    Attributes:
        female: Distribution among women.
        male: Distribution among men.
        d: Cohen's d = (mean M - mean F) / pooled SD, without small-sample correction, positive where men have more.
        hedges_g: d with Hedges' correction for small samples.
        d_given_age: The difference between men and women of the same age, in residual SDs given age and sex.
    """

    female: Distribution
    male: Distribution
    d: Interval
    hedges_g: float
    d_given_age: Interval


def sex_difference(values: FloatArray, age_years: FloatArray, sex: SexArray) -> SexDifference:
    """Return how a measure differs between men and women, with 95 % intervals.

    Args:
        values: The measure, (N,), NaN where missing.
        age_years: Ages, (N,), NaN where missing; excluded from ``d_given_age``.
        sex: "F", "M" or NaN, (N,).

    Source:
        Cohen 1988, Statistical Power Analysis, section 2.2; interval by the noncentral t distribution: Cumming & Finch
        2001, Educational and Psychological Measurement 61(4); g: Hedges 1981, Journal of Educational Statistics 6(2).
    """
    known = np.isfinite(values)
    female, male = values[known & (sex == "F")], values[known & (sex == "M")]
    d = cohens_d(male, female)
    n_free = len(female) + len(male) - 2
    correction = np.exp(special.gammaln(n_free / 2) - special.gammaln((n_free - 1) / 2)) if n_free > 1 else np.nan
    g = float(d.value * correction / np.sqrt(n_free / 2)) if n_free > 1 else np.nan
    return SexDifference(describe(female), describe(male), d, g, _difference_given_age(values, age_years, sex))


def cohens_d(first: FloatArray, second: FloatArray) -> Interval:
    """Return (mean of first - mean of second) / pooled SD and its 95 % interval by the noncentral t distribution.

    Args:
        first: Values of one group, (N,); with fewer than two, or no spread, the result is NaN.
        second: Values of the other, (M,).
    """
    n, m = len(first), len(second)
    if n < 2 or m < 2:
        return NO_INTERVAL
    pooled = ((n - 1) * np.var(first, ddof=1) + (m - 1) * np.var(second, ddof=1)) / (n + m - 2)
    if pooled <= 1e-24 * max(float(np.square(first).max()), 1e-300):
        return NO_INTERVAL
    d = float((np.mean(first) - np.mean(second)) / np.sqrt(pooled))
    scale = np.sqrt(1 / n + 1 / m)
    low, high = (_noncentrality(d / scale, n + m - 2, p) * scale for p in (0.5 + CONFIDENCE / 2, 0.5 - CONFIDENCE / 2))
    return Interval(d, float(low), float(high))


def _noncentrality(t: float, n_free: int, p: float) -> float:
    """Return the noncentrality for which a fraction p of noncentral t values lies below t.

    Given the SD, s times the true one, noncentral t values are normal; so the fraction is a mean of normal fractions
    over the distribution of s. (scipy's own noncentral t returns NaN for some values.)
    """
    tails = stats.chi2.ppf(1e-12, n_free), stats.chi2.isf(1e-12, n_free)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    first, last = np.sqrt(tails[0] / n_free), np.sqrt(tails[1] / n_free)
    s = first + (last - first) * (nodes + 1) / 2
    density = weights * stats.chi2.pdf(n_free * s**2, n_free) * s
    density /= density.sum()

    def excess(centre: float) -> float:
        return float(density @ special.ndtr(t * s - centre)) - p

    reach = 6 * np.sqrt(1 + t**2 / (2 * n_free))  # six standard errors of a noncentrality
    while excess(t - reach) < 0 or excess(t + reach) > 0:
        reach *= 2
    return float(optimize.brentq(excess, t - reach, t + reach, xtol=1e-9))


def _difference_given_age(values: FloatArray, age_years: FloatArray, sex: SexArray) -> Interval:
    rows = np.isfinite(values) & np.isfinite(age_years) & ((sex == "F") | (sex == "M"))
    y, age = values[rows], age_years[rows]
    if rows.sum() < 10 or len(set(sex[rows])) < 2:
        return NO_INTERVAL
    design = age_sex_design(fit_age_basis(age), age, sex[rows])
    fit = _least_squares(design, y)
    if fit.sd <= 1e-12 * np.abs(y).max():
        return NO_INTERVAL
    d, error = fit.coefficients[1] / fit.sd, np.sqrt(fit.inverse[1, 1])
    # Like d's own: the SD is estimated too, which widens the interval of a large difference.
    half = _Z * np.sqrt(error**2 + d**2 / (2 * fit.n_free))
    return Interval(float(d), float(d - half), float(d + half))


@dataclass(frozen=True, eq=False)
class _Fit:
    coefficients: FloatArray  # (C,)
    inverse: FloatArray  # of the products of the columns, (C, C)
    sd: float  # of the residuals
    squares: float  # sum over the residuals
    n_free: int


def _least_squares(design: FloatArray, y: FloatArray) -> _Fit:
    products = design.T @ design
    inverse = np.linalg.pinv(products, hermitian=True, rcond=1e-12)
    coefficients = inverse @ (design.T @ y)
    squares = float(np.square(y - design @ coefficients).sum())
    n_free = max(1, len(y) - int(np.linalg.matrix_rank(products, hermitian=True)))
    return _Fit(coefficients, inverse, float(np.sqrt(squares / n_free)), squares, n_free)


@dataclass(frozen=True, eq=False)
class SiteDifference:
    """How a measure differs between sites at equal age and sex.

    Attributes:
        sites: Names, (S,).
        n: People of each site who have the measure and an age, (S,).
        mean: Their mean, as measured, (S,).
        difference: Difference from the mean of all sites at equal age and sex, in the unit of the measure, (S,).
        low: Lower ends of its 95 % intervals, (S,).
        high: Upper ends, (S,).
        sd: Residual SD given age, sex and site.
        p_value: p value of the F test for no difference between sites.
        explained: Fraction of the variance left by age and sex that the site explains, partial eta squared, in [0, 1].
    """

    sites: tuple[str, ...]
    n: npt.NDArray[np.int64]
    mean: FloatArray
    difference: FloatArray
    low: FloatArray
    high: FloatArray
    sd: float
    p_value: float
    explained: float


def site_difference(
    values: FloatArray, age_years: FloatArray, sex: SexArray, site: Sequence[object] | npt.NDArray[np.object_]
) -> SiteDifference | None:
    """Return how a measure differs between sites given age and sex, or None with too few sites or participants.

    Args:
        values: The measure, (N,), NaN where missing; participants without it or without an age are left out.
        age_years: Ages, (N,).
        sex: "F", "M" or NaN, (N,).
        site: Names of sites, (N,); anything that is not text is missing.
    """
    named = np.array([isinstance(each, str) for each in site], dtype=bool)
    rows = np.isfinite(values) & np.isfinite(age_years) & named
    names, number = np.unique(np.array([str(each) for each in site], dtype=object)[rows], return_inverse=True)
    y, age = values[rows], age_years[rows]
    base = age_sex_design(fit_age_basis(age), age, sex[rows]) if len(y) > 1 else np.empty((len(y), 0))
    n_sites = len(names)
    if n_sites < 2 or len(y) < base.shape[1] + n_sites + 3:
        return None
    # One column per site against the last one, so that the site effects add up to zero.
    deviations = np.vstack([np.eye(n_sites - 1), -np.ones(n_sites - 1)])
    full = _least_squares(np.hstack([base, deviations[number]]), y)
    reduced = _least_squares(base, y)
    own = slice(base.shape[1], None)
    difference = deviations @ full.coefficients[own]
    variance = np.einsum("si,ij,sj->s", deviations, full.inverse[own, own], deviations)
    half = stats.t.ppf(0.5 + CONFIDENCE / 2, full.n_free) * full.sd * np.sqrt(np.clip(variance, 0, None))
    gained = max(reduced.squares - full.squares, 0.0)
    f_value = gained / (n_sites - 1) / max(full.squares / full.n_free, 1e-300)
    n = np.bincount(number, minlength=n_sites)
    return SiteDifference(
        sites=tuple(names),
        n=n,
        mean=np.bincount(number, y, n_sites) / n,
        difference=difference,
        low=difference - half,
        high=difference + half,
        sd=full.sd,
        p_value=float(stats.f.sf(f_value, n_sites - 1, full.n_free)),
        explained=gained / max(reduced.squares, 1e-300),
    )
