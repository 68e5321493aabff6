"""Outliers: participants whose measures are unusual given age and sex, one at a time or all together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, stats
from sklearn.covariance import MinCovDet

from aekit.brains.measures.age_trend import AgeBasis, SexArray, age_sex_design, fit_age_basis
from aekit.errors import AekitError, count

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

MIN_PARTICIPANTS = 20
MAD_TO_SD = 1.4826  # of a normal distribution
_BISQUARE = 4.685  # 95 % efficient for normal residuals
_MIN_FOR_SPREAD = 60  # with fewer, a change of the spread with age cannot be distinguished from noise
_MAX_MCD = 2000  # participants to fit the covariance on; more take seconds and change the third digit
_MCD_PER_MEASURE = 30  # participants; with 10 to 20, 2 to 4 % of usual ones exceed a limit meant for 0.1 %
# Degrees of freedom per free participant (N - C) of the robust SD and of the two robust covariances, which a change of
# the spread with age reduces. The asymptotic value of the MAD is 0.368 (its efficiency, Huber 1981, section 5.1); the
# others are those for which limits held in simulations, see fit_outlier_limits.
_FREE_MAD, _FREE_MAD_CHANGING = 0.36, 0.27
_FREE_CLIPPED, _FREE_CLIPPED_CHANGING, _FREE_MCD = 0.33, 0.24, 0.16


@dataclass(frozen=True, eq=False)
class OutlierLimits:
    """What is usual for an age and a sex, fitted on some participants and applicable to any.

    Attributes:
        basis: The spline of age.
        coefficients: Coefficients of the robust regression on age and sex, one column per measure, (C, P).
        spread: Residual SD at the mean age and its change, (2, P): SD = spread[0] * clip(1 + spread[1] x, 0.5, 2).
        kept: Measures used by the Mahalanobis distance: those that are not a sum of others, (Q,).
        location: Their centre in units of robust z, (Q,).
        precision: Inverse of their robust covariance in units of robust z, (Q, Q).
        z_limit: Absolute robust z beyond which a single measure is an outlier, wider for few participants.
        squared_limit: Squared Mahalanobis distance beyond which all measures together are, likewise.
        age_range_years: Youngest and oldest age it was fitted on; ages beyond are treated as these.
    """

    basis: AgeBasis
    coefficients: FloatArray
    spread: FloatArray
    kept: npt.NDArray[np.int64]
    location: FloatArray
    precision: FloatArray
    z_limit: float
    squared_limit: float
    age_range_years: tuple[float, float]

    def robust_z(self, values: FloatArray, age_years: FloatArray, sex: SexArray) -> FloatArray:
        """Return residuals given age and sex in robust SDs, (N, P); NaN where the value or the age is missing.

        Args:
            values: Measures, (N, P), in the order of those it was fitted on.
            age_years: Ages, (N,), NaN where missing.
            sex: "F", "M" or NaN, (N,); an unknown sex lies halfway.
        """
        n_measures = self.coefficients.shape[1]
        if values.ndim != 2 or values.shape[1] != n_measures or len(values) != len(age_years):
            raise ValueError(f"values of {values.shape} for {n_measures} measures and {len(age_years)} ages")
        age = np.clip(age_years, *self.age_range_years)
        residual = values - age_sex_design(self.basis, age, sex) @ self.coefficients
        return residual / _sd(self.spread, self.basis, age)

    def mahalanobis(self, values: FloatArray, age_years: FloatArray, sex: SexArray) -> FloatArray:
        """Return squared Mahalanobis distances given age and sex, (N,); NaN where a measure or the age is missing."""
        away = self.robust_z(values, age_years, sex)[:, self.kept] - self.location
        squared: FloatArray = np.einsum("np,pq,nq->n", away, self.precision, away)
        return squared

    def flag(self, values: FloatArray, age_years: FloatArray, sex: SexArray) -> BoolArray:
        """Return which participants exceed either limit, (N,); missing values exceed none."""
        with np.errstate(invalid="ignore"):
            single = (np.abs(self.robust_z(values, age_years, sex)) > self.z_limit).any(axis=1)
            joint: BoolArray = self.mahalanobis(values, age_years, sex) > self.squared_limit
        return single | joint


def fit_outlier_limits(
    values: FloatArray, age_years: FloatArray, sex: SexArray, *, z_limit: float = 3.5, p_limit: float = 0.001
) -> OutlierLimits:
    """Return what is usual given age and sex, by estimates that are robust to the outliers themselves.

    These are a robust regression, a robust spread, and the minimum covariance determinant of the residuals. The spread
    may change with age, as that of tissue volumes does: with a constant one, old participants would be outliers for
    their age. Of measures that add up to a constant, as three proportions do, the distance uses the independent ones.

    Robust estimates from few participants are uncertain, most of all for participants who were not among them, such as
    validation ones. So the limits are those of Student's t and of F instead of the normal and chi-squared ones, with
    the degrees of freedom of the estimates. Fraction of usual participants that are flagged for one of three measures
    or all together, in % (among those it was fitted on / others; then with the limits of large samples, which were here
    before)::

        N                   20         30         60         90         200        1000
        ages 8 to 80        .08 / .12  .05 / .16  .04 / .19  .03 / .16  .14 / .11  .16 / .21
            before          1.6 / 6.3  1.0 / 3.0  0.6 / 1.5  0.6 / 1.3  .35 / .34  .19 / .27
        most of them young  .13 / .44  .17 / .36  .07 / .37  .06 / .24  .13 / .22  .16 / .15
            before          1.6 / 6.5  1.4 / 3.5  0.6 / 2.2  0.7 / 1.3  .40 / .52  .16 / .25

    Args:
        values: Measures, (N, P), NaN where missing; participants with a missing measure or age are not used.
        age_years: Ages, (N,), NaN where missing.
        sex: "F", "M" or NaN, (N,).
        z_limit: Robust z, either way, beyond which one measure is an outlier among many participants; among fewer, the
            value of Student's t that is exceeded as often.
        p_limit: Fraction of usual participants beyond the limit of the Mahalanobis distance, in (0, 1).

    Raises:
        AekitError: Fewer than twenty participants have an age and all measures.

    Source:
        Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers (3.5 robust SDs); Rousseeuw & Van Driessen 1999,
        A fast algorithm for the minimum covariance determinant estimator, Technometrics 41(3); Hardin & Rocke 2005,
        The distribution of robust distances, Journal of Computational and Graphical Statistics 14(4).
    """
    if values.ndim != 2 or len(values) != len(age_years) or len(values) != len(sex):
        raise ValueError(f"values of {values.shape} for {len(age_years)} ages and {len(sex)} sexes")
    whole = np.isfinite(values).all(axis=1) & np.isfinite(age_years)
    if whole.sum() < MIN_PARTICIPANTS:
        raise AekitError(
            f"outliers: {count(int(whole.sum()), 'participant')} with an age and all measures, too few to find what "
            f"is usual; at least {MIN_PARTICIPANTS} are needed"
        )
    y, age, known_sex = values[whole], age_years[whole], sex[whole]
    basis = fit_age_basis(age)
    design = age_sex_design(basis, age, known_sex)
    coefficients = np.column_stack([_robust_regression(design, column) for column in y.T])
    residuals = y - design @ coefficients
    spread = np.column_stack([_fit_spread(basis, age, column, n_fitted=design.shape[1]) for column in residuals.T])
    kept = _independent(y)
    location, precision, by_mcd = _robust_covariance((residuals / _sd(spread, basis, age))[:, kept])
    n_free, changing = len(age) - design.shape[1], len(age) >= _MIN_FOR_SPREAD
    return OutlierLimits(
        basis=basis,
        coefficients=coefficients,
        spread=spread,
        kept=kept,
        location=location,
        precision=precision,
        z_limit=_t_limit(z_limit, n_free * (_FREE_MAD_CHANGING if changing else _FREE_MAD)),
        squared_limit=_f_limit(
            p_limit,
            len(kept),
            n_free * (_FREE_MCD if by_mcd else _FREE_CLIPPED_CHANGING if changing else _FREE_CLIPPED),
        ),
        age_range_years=(float(age.min()), float(age.max())),
    )


def _t_limit(z_limit: float, n_free: float) -> float:
    """Return the value that Student's t exceeds as often as the normal distribution exceeds ``z_limit``."""
    return float(stats.t.isf(stats.norm.sf(z_limit), n_free))


def _f_limit(p_limit: float, n_measures: int, n_free: float) -> float:
    """Return the squared distance that F exceeds with this probability, scaled to the median of chi-squared."""
    ratio = stats.f.isf(p_limit, n_measures, n_free) / stats.f.median(n_measures, n_free)
    return float(ratio * stats.chi2.median(n_measures))


def _robust_regression(design: FloatArray, y: FloatArray) -> FloatArray:
    """Return coefficients of a bisquare M-estimate that starts from least absolute deviations, (C,)."""
    coefficients: FloatArray = np.linalg.lstsq(design, y, rcond=None)[0]
    for step in range(30):
        residual = np.abs(y - design @ coefficients)
        scale = MAD_TO_SD * float(np.median(residual))
        if scale <= 1e-12 * max(float(np.abs(y).max()), 1e-300):
            break
        if step < 10:
            weights = 1 / np.maximum(residual / scale, 0.05)
        else:
            weights = np.clip(1 - np.square(residual / (_BISQUARE * scale)), 0, None) ** 2
        root = np.sqrt(weights)
        coefficients = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
    return coefficients


def _fit_spread(basis: AgeBasis, age_years: FloatArray, residual: FloatArray, *, n_fitted: int) -> FloatArray:
    """Return the robust SD at the mean age and its relative change with age, (2,).

    A fit of C coefficients makes C residuals nearly zero; these are excluded (Maronna, Martin & Yohai 2006, Robust
    Statistics, section 4.4.2).
    """
    change = 0.0
    size = np.abs(residual)
    if len(size) >= _MIN_FOR_SPREAD and np.median(size) > 0:
        x = basis.columns(age_years)[:, 0]
        capped = np.minimum(size, 3 * MAD_TO_SD * np.median(size))
        level, slope = np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]), capped, rcond=None)[0]
        change = float(slope / level)
    shape = _sd(np.array([[1.0], [change]]), basis, age_years)[:, 0]
    sd = MAD_TO_SD * float(np.median(np.sort(size / shape)[n_fitted:]))
    if sd == 0:  # more than half lie on the line; then everyone else would be an outlier
        sd = float(np.mean(size)) * np.sqrt(np.pi / 2)
    return np.array([sd if sd > 0 else np.inf, change])


def _sd(spread: FloatArray, basis: AgeBasis, age_years: FloatArray) -> FloatArray:
    """Return the usual residual SD at each age, (N, P)."""
    x = (age_years - basis.centre_years) / basis.scale_years
    sd: FloatArray = spread[0] * np.clip(1 + spread[1] * x[:, None], 0.5, 2.0)
    return sd


def _independent(values: FloatArray) -> npt.NDArray[np.int64]:
    """Return the measures that are not a weighted sum of others, in their order, (Q,), Q >= 1."""
    centred = values - values.mean(axis=0)
    size = np.linalg.norm(centred, axis=0)
    scaled = centred / np.where(size > 0, size, 1.0)
    triangle, order = linalg.qr(scaled, mode="r", pivoting=True)
    diagonal = np.abs(np.diag(triangle))
    rank = max(1, int((diagonal > 1e-6).sum()))
    return np.asarray(np.sort(order[:rank]), dtype=np.int64)


def _robust_covariance(z: FloatArray) -> tuple[FloatArray, FloatArray, bool]:
    """Return the centre and the inverse covariance of robust z values, (Q,) and (Q, Q), and whether it is by MCD.

    With few participants, or measures that are mostly constant, it is the covariance of values clipped to 2.5 SD.
    """
    n_measures = z.shape[1]
    spread = np.linalg.svd(z - np.median(z, axis=0), compute_uv=False)
    by_mcd = len(z) >= _MCD_PER_MEASURE * n_measures and bool(spread[-1] > 1e-6 * spread[0])
    if not by_mcd:
        clipped = np.clip(z, -2.5, 2.5)
        centre = np.median(clipped, axis=0)
        covariance = np.atleast_2d(np.cov(clipped, rowvar=False))
    else:
        rows = np.random.default_rng(0).permutation(len(z))[:_MAX_MCD]
        fitted = MinCovDet(random_state=0).fit(z[np.sort(rows)])
        centre, covariance = fitted.location_, fitted.covariance_
    precision = np.linalg.pinv(covariance, hermitian=True)
    away = z - centre
    median = float(np.median(np.einsum("np,pq,nq->n", away, precision, away)))
    # The median distance of usual participants is known, whatever the bias of the estimate in small samples.
    if median > 0:
        precision = precision * (float(stats.chi2.ppf(0.5, n_measures)) / median)
    return centre, precision, by_mcd
