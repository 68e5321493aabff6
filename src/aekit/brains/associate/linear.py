"""Linear models of one measure: HC3 robust errors, partial correlations, and permutation of the reduced model.

With nuisance columns N (a constant, age, sex, site) and tested columns C the model is y = N a + C b + e. By the theorem
of Frisch, Waugh and Lovell b follows from the parts of C and y that N does not explain, so N is projected out once and
every permutation costs one product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
_RELATIVE = 1e-8  # what is left of a column that the others determine, as a fraction of it
_ROUNDED = 1e-2  # the same of a tested column: a sum of rounded volumes differs from the total by the rounding
_BLOCK = 2**22  # numbers that are permuted at a time: 32 MB


class Estimate(NamedTuple):
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class ConfoundedError(ValueError):
    """The tested columns are determined by the others, so that their effect cannot be told from theirs."""


@dataclass(frozen=True, eq=False)
class Design:
    """Nuisance and tested columns of one set of participants, projected.

    Attributes:
        nuisance: Orthonormal basis of the nuisance columns, (N, K).
        tested: What these do not explain of the tested columns, (N, Q).
        basis: Orthonormal basis of all columns, (N, K + Q).
        leverage: Diagonal of the hat matrix, (N,), in [0, 1].
    """

    nuisance: Floats
    tested: Floats
    basis: Floats
    leverage: Floats

    @property
    def n(self) -> int:
        """Number of participants."""
        return len(self.tested)

    @property
    def df(self) -> int:
        """Degrees of freedom of the residual."""
        return self.n - int(self.basis.shape[1])

    @property
    def inverse(self) -> Floats:
        """Return the inverse of the cross products of the tested columns, (Q, Q)."""
        return np.asarray(np.linalg.inv(self.tested.T @ self.tested), np.float64)


def build_design(nuisance: Floats, tested: Floats) -> Design:
    """Return the projected columns.

    Args:
        nuisance: Columns of no interest, the constant among them, (N, K); some may depend on others.
        tested: Columns of interest, (N, Q).

    Raises:
        ConfoundedError: A tested column is determined by the nuisance columns and other tested ones, or no degree of
            freedom is left.
    """
    own = _orthonormal(nuisance)
    centred = tested - tested.mean(axis=0)
    left = centred - own @ (own.T @ centred)
    left -= own @ (own.T @ left)  # once more: cancellation leaves a trace of the nuisance
    size = np.linalg.norm(centred, axis=0)
    if (np.linalg.norm(left, axis=0) <= _ROUNDED * np.maximum(size, 1e-300)).any():
        raise ConfoundedError("a tested column is determined by the others")
    inner = _orthonormal(left / np.linalg.norm(left, axis=0))
    if inner.shape[1] < tested.shape[1] or len(tested) <= own.shape[1] + inner.shape[1]:
        raise ConfoundedError("the tested columns depend on each other, or too few participants are left")
    basis = np.hstack([own, inner])
    return Design(own, left, basis, np.minimum(np.square(basis).sum(axis=1), 1.0))


def _orthonormal(columns: Floats) -> Floats:
    """Return an orthonormal basis of columns, (N, rank)."""
    scale = np.linalg.norm(columns, axis=0)
    left, size, _ = np.linalg.svd(columns[:, scale > 0] / scale[scale > 0], full_matrices=False)
    return np.asarray(left[:, size > _RELATIVE * size.max(initial=0)])


@dataclass(frozen=True)
class Fitted:
    """What a model says of its tested columns.

    Attributes:
        n: Number of participants.
        estimate: Coefficient of a single tested column, in units of the measure per unit of the column, with its HC3
            interval; NaN for several columns.
        error: Its HC3 standard error; NaN for several columns.
        r: Partial correlation of a single column; its interval is Fisher's, wider by the ratio of the HC3 error to the
            plain one; NaN for several columns.
        statistic: Robust t of a single column, robust F of several.
        p: Two-sided, of Student's t or F.
        p_permutation: Of the permutations; NaN if there were none.
    """

    n: int
    estimate: Estimate
    error: float
    r: Estimate
    statistic: float
    p: float
    p_permutation: float


NOTHING = Estimate(np.nan, np.nan, np.nan)


def fit_columns(design: Design, y: Floats, *, n_permutations: int = 0, seed: int = 0) -> Fitted:
    """Return what the model of ``y`` says of the tested columns.

    Errors are HC3: squared residuals over (1 - leverage)^2. The permutation is that of Freedman and Lane: residuals of
    the model without the tested columns are permuted, and the robust statistic is computed anew, which makes the test
    valid where groups differ in spread, in large samples.

    Args:
        design: The columns.
        y: The measure, (N,), finite.
        n_permutations: Number of permutations.
        seed: Of the permutations.

    Source:
        MacKinnon & White 1985, doi:10.1016/0304-4076(85)90158-7; Freedman & Lane 1983,
        doi:10.1080/07350015.1983.10509354; DiCiccio & Romano 2017, doi:10.1080/01621459.2016.1202117.
    """
    left = y - design.nuisance @ (design.nuisance.T @ y)
    coefficients, covariance = _robust(design, left[:, None])
    statistic = float(_statistics(coefficients, covariance)[0])
    q = design.tested.shape[1]
    single = q == 1
    p = 2 * stats.t.sf(abs(statistic), design.df) if single else stats.f.sf(statistic, q, design.df)
    estimate, r, error = NOTHING, NOTHING, np.nan
    if single:
        error = float(np.sqrt(covariance[0, 0, 0]))
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, design.df)) * error
        value = float(coefficients[0, 0])
        estimate = Estimate(value, value - half, value + half)
        r = _partial_correlation(design, left, error)
    more = _permuted(design, left, abs(statistic), n_permutations, seed) if n_permutations else np.nan
    return Fitted(design.n, estimate, error, r, statistic, float(p), more)


def _robust(design: Design, left: Floats) -> tuple[Floats, Floats]:
    """Return coefficients, (P, Q), and HC3 covariances, (P, Q, Q), for each of P measures without nuisance, (N, P)."""
    tested, inverse = design.tested, design.inverse
    coefficients = (inverse @ (tested.T @ left)).T
    residuals = left - design.basis @ (design.basis.T @ left)
    # Someone who alone determines a column has a residual of zero, whatever the measure, and no part in the error.
    free = np.maximum(1.0 - design.leverage, 1e-9)
    weights = np.square(residuals / free[:, None])
    weights[design.leverage > 1 - 1e-9] = 0.0
    products = (tested[:, :, None] * tested[:, None, :]).reshape(len(tested), -1)
    meat = (weights.T @ products).reshape(-1, tested.shape[1], tested.shape[1])
    return coefficients, inverse @ meat @ inverse


def _statistics(coefficients: Floats, covariance: Floats) -> Floats:
    """Return the t of single coefficients, or the F of several, (P,); 0 where there is no variance at all."""
    if coefficients.shape[1] == 1:
        error = np.sqrt(covariance[:, 0, 0])
        return np.divide(coefficients[:, 0], error, out=np.zeros(len(error)), where=error > 0)
    solved = np.linalg.solve(covariance, coefficients[:, :, None])[:, :, 0]
    return np.asarray((coefficients * solved).sum(axis=1) / coefficients.shape[1])


def _permuted(design: Design, left: Floats, observed: float, n_permutations: int, seed: int) -> float:
    """Return the fraction of permutations, the observed order among them, that are as extreme."""
    generator = np.random.default_rng(seed)
    reached, done = 1, 0
    step = max(1, _BLOCK // len(left))
    while done < n_permutations:
        n = min(step, n_permutations - done)
        drawn = generator.permuted(np.broadcast_to(left, (n, len(left))), axis=1).T
        drawn = drawn - design.nuisance @ (design.nuisance.T @ drawn)
        found = np.abs(_statistics(*_robust(design, drawn)))
        reached += int((found >= observed * (1 - 1e-12)).sum())
        done += n
    return reached / (n_permutations + 1)


def _partial_correlation(design: Design, left: Floats, error: float) -> Estimate:
    tested = design.tested[:, 0]
    size = float(np.linalg.norm(tested) * np.linalg.norm(left))
    r = float(np.clip(tested @ left / size, -1, 1)) if size > 0 else np.nan
    # Each nuisance column but the constant costs one participant.
    free = design.n - (design.nuisance.shape[1] - 1) - 3
    residual = left - design.basis @ (design.basis.T @ left)
    plain = float(np.linalg.norm(residual) / np.sqrt(design.df) / np.linalg.norm(tested))
    return fisher_interval(r, free, ratio=error / plain if plain > 0 else 1.0)


def fisher_interval(r: float, free: int, *, ratio: float = 1.0) -> Estimate:
    """Return a correlation with its 95 % interval by Fisher's z; NaN ends if it cannot be estimated.

    Args:
        r: The correlation, in [-1, 1].
        free: Participants less three, and less one for each column that was partialled out.
        ratio: Robust over plain standard error of the slope, by which the interval is wider.

    Source:
        Fisher 1924, The distribution of the partial correlation coefficient, Metron 3.
    """
    if free < 1 or not abs(r) < 1:
        return Estimate(r, np.nan, np.nan)
    half = stats.norm.ppf(0.5 + CONFIDENCE / 2) / np.sqrt(free) * ratio
    return Estimate(r, float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)))
