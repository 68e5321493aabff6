"""Prediction intervals for new participants that contain the truth as often as stated, whatever the model.

The only assumption is that new participants are exchangeable with those on whom the errors were measured: the same
scanners, ages and recruitment. The coverage is an average over participants, not a guarantee at each age. Where errors
clearly grow or shrink with the prediction, so does the interval: the quantile is then one of normalised residuals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from aekit.errors import count

FloatArray = npt.NDArray[np.floating]

COVERAGE = 0.9
LEAST = 9  # residuals for that coverage: with fewer, even the widest interval is not enough

# Simulated with 30, 100 and 300 participants of 20 to 90 years, equal errors (normal, or Student's t with 3 degrees of
# freedom) and errors whose SD doubles or grows fivefold: with these numbers the coverage is .898 to .905 in all of
# them, the mean width grows by at most 1.3 %, and where errors grow fivefold the half width below 35 years falls from
# 11.4 to 8.6 (300) and from 11.8 to 9.2 (100). Always normalised, 30 participants with equal errors pay 7 % in width.
_CLEAR = 2.0  # standard errors of the slope
_MANY = 300  # residuals; with as many, a slope that is not needed costs less than 1 % in width
_SHRINKAGE = 10.0  # residuals that the slope of zero counts as much as
_MAX_SLOPE = 1.0  # of the logarithm of the size of residuals, per SD of predictions
_N_PARTS = 10  # of the residuals, each normalised by what the others say
_MIN_SCALED = 20  # residuals; with fewer no slope is clear


@dataclass(frozen=True)
class Scale:
    """How the size of residuals varies with the prediction: half_width x exp(slope x (prediction - centre) / sd).

    Attributes:
        half_width: Of the interval at the centre, in the unit of the residuals.
        centre: Mean prediction.
        sd: Standard deviation of the predictions.
        slope: Of the logarithm of the size.
        low: Smallest prediction that it was fitted on; smaller ones have its width.
        high: Largest one.
    """

    half_width: float
    centre: float
    sd: float
    slope: float
    low: float
    high: float

    def __call__(self, predictions: FloatArray) -> npt.NDArray[np.float64]:
        """Return the half width at each prediction, (N,)."""
        within = np.clip(np.asarray(predictions, np.float64), self.low, self.high)
        return np.asarray(self.half_width * np.exp(self.slope * (within - self.centre) / self.sd))


@dataclass(frozen=True)
class Conformal:
    """An interval around every prediction, of constant width or of one that varies with the prediction.

    Attributes:
        half_width: In the unit of the residuals; the same for every prediction.
        coverage: Fraction of new participants whose true value it contains, at least and on average. It is the
            requested coverage or slightly more; with too few residuals it is less, and the half width is the largest
            residual.
        asked: Requested coverage.
        n: Number of residuals.
        scale: The half width by prediction, which is then used instead; None for the same for all.
    """

    half_width: float
    coverage: float
    asked: float
    n: int
    scale: Scale | None = None

    def half_widths(self, predictions: FloatArray) -> npt.NDArray[np.float64]:
        """Return the half width of the interval of each prediction, (N,)."""
        if self.scale is not None:
            return self.scale(predictions)
        return np.full(np.shape(predictions), self.half_width)

    def interval(self, predictions: FloatArray) -> npt.NDArray[np.float64]:
        """Return the ends of the interval of each prediction, (N, 2), in the unit of the residuals."""
        middle, half = np.asarray(predictions, np.float64), self.half_widths(predictions)
        return np.stack([middle - half, middle + half], axis=-1)


def fit_conformal(residuals: FloatArray, *, coverage: float = COVERAGE) -> Conformal:
    """Return the split-conformal interval: the ceil((n + 1) coverage)-th smallest absolute residual either side.

    With n residuals, at most n / (n + 1) can be guaranteed. If more is requested, the rule demands an infinite
    interval; here it is the widest that the data support, with its coverage: 90 % need 9 participants, 95 % need 19.

    Residuals of several folds may be pooled if each participant was predicted by a model that had not seen them. The
    interval is then valid for a model trained like those of the folds. The mean of the folds' models errs slightly less
    than each of them, so in practice it covers no less, but this is not proven; :func:`cv_plus_interval` has a proof.

    Args:
        residuals: Truth minus prediction of participants that the model was not trained on, (n,), n >= 1; finite. They
            must not have chosen the model either: if validation stopped the training, they are slightly too small.
        coverage: Fraction of new participants whose true value the interval should contain, in (0, 1).

    Raises:
        ValueError: No residuals, one that is not finite, or a coverage outside (0, 1).

    Source:
        Lei, G'Sell, Rinaldo, Tibshirani & Wasserman 2018, doi:10.1080/01621459.2017.1307116, theorem 2.2.
    """
    _check(residuals, coverage)
    n = len(residuals)
    rank = min(_rank(n, coverage), n)
    half_width = float(np.partition(np.abs(residuals), rank - 1)[rank - 1])
    return Conformal(half_width, rank / (n + 1), coverage, n)


def fit_conformal_by_prediction(
    predictions: FloatArray, residuals: FloatArray, *, coverage: float = COVERAGE
) -> Conformal:
    """Return the conformal interval, with a half width that varies with the prediction if the residuals clearly do.

    The size of residuals is an exponential function of the prediction. Each residual is divided by what the other
    parts of the residuals say, and the quantile is one of these ratios, so that nobody shaped the scale that they are
    measured with. Otherwise it is :func:`fit_conformal`.

    Args:
        predictions: Of the same participants, by models that had not seen them, (n,).
        residuals: Truth minus prediction, (n,).
        coverage: As in :func:`fit_conformal`.

    Raises:
        ValueError: As in :func:`fit_conformal`, or lengths that differ.

    Source:
        Lei, G'Sell, Rinaldo, Tibshirani & Wasserman 2018, doi:10.1080/01621459.2017.1307116, section 5.2; Papadopoulos,
        Gammerman & Vovk 2008 (normalised nonconformity).
    """
    plain = fit_conformal(residuals, coverage=coverage)
    if predictions.shape != residuals.shape:
        raise ValueError("each residual needs its prediction")
    sizes, n = np.abs(residuals).astype(np.float64), len(residuals)
    at = np.asarray(predictions, np.float64)
    if n < _MIN_SCALED or not at.std() > 0 or not sizes.any():
        return plain
    scale, error = _fit_scale(at, sizes)
    if n < _MANY and abs(scale.slope) <= _CLEAR * error:
        return plain
    part = np.empty(n, np.int64)
    part[np.lexsort((sizes, at))] = np.arange(n) % _N_PARTS  # every part has all ages; independent of the order
    ratios = np.empty(n)
    for number in range(_N_PARTS):
        own = part == number
        ratios[own] = sizes[own] / _fit_scale(at[~own], sizes[~own])[0](at[own])
    quantile = fit_conformal(ratios, coverage=coverage).half_width
    return replace(plain, scale=replace(scale, half_width=scale.half_width * quantile))


def _fit_scale(predictions: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64]) -> tuple[Scale, float]:
    """Return the mean size of residuals by prediction, and the standard error of its slope.

    A generalised linear model with a logarithmic link whose variance grows with the square of the mean, by Fisher
    scoring; the standard error is robust.
    """
    centre, sd = float(predictions.mean()), float(predictions.std())
    design = np.column_stack([np.ones(len(sizes)), (predictions - centre) / sd])
    coefficients = np.array([np.log(sizes.mean()), 0.0])
    shrinkage = np.array([0.0, _SHRINKAGE])
    information = design.T @ design + np.diag(shrinkage)
    for _ in range(30):
        excess = sizes / np.exp(design @ coefficients) - 1
        step = np.linalg.solve(information, design.T @ excess - shrinkage * coefficients)
        coefficients = coefficients + np.clip(step, -1.0, 1.0)
        coefficients[1] = np.clip(coefficients[1], -_MAX_SLOPE, _MAX_SLOPE)
        if np.abs(step).max() < 1e-9:
            break
    scores = design * (sizes / np.exp(design @ coefficients) - 1)[:, None]
    bread = np.linalg.inv(design.T @ design)
    error = float(np.sqrt((bread @ scores.T @ scores @ bread)[1, 1]))
    low, high = float(predictions.min()), float(predictions.max())
    return Scale(float(np.exp(coefficients[0])), centre, sd, float(coefficients[1]), low, high), error


def cv_plus_interval(
    predictions: FloatArray, residuals: FloatArray, folds: npt.NDArray[np.integer], *, coverage: float = COVERAGE
) -> npt.NDArray[np.float64]:
    """Return the CV+ interval of new participants from the models of all folds: its ends, (M, 2).

    Each participant of the cross-validation tells where the truth would lie if the model that had not seen them erred
    by the same amount on the new participant. With K folds and n participants in all, it contains the truth for at
    least 2 coverage - 1 - 2 (1 - 1 / K) / (n / K + 1) of new participants (.76 for 90 % of 181 participants in
    5 folds), and in practice for close to ``coverage``. With too few participants, the ends are the outermost.

    Args:
        predictions: Predictions of each fold's model for new participants, (K, M).
        residuals: Truth minus prediction of each participant by the model that had not seen them, (n,).
        folds: Fold of each participant, in 0 ... K - 1, (n,).
        coverage: Fraction of new participants whose true value the interval should contain, in (0, 1).

    Raises:
        ValueError: No residuals, one that is not finite, lengths that differ, or a coverage outside (0, 1).

    Source:
        Barber, Candès, Ramdas & Tibshirani 2021, doi:10.1214/20-AOS1965, section 3 and theorem 4.
    """
    _check(residuals, coverage)
    if (
        folds.shape != residuals.shape
        or predictions.ndim != 2
        or not 0 <= folds.min() <= folds.max() < len(predictions)
    ):
        raise ValueError("each residual needs the number of a fold whose predictions are given")
    n = len(residuals)
    rank = min(_rank(n, coverage), n)
    widths = np.abs(residuals)
    ends = np.empty((predictions.shape[1], 2))
    for row, fold_predictions in enumerate(np.asarray(predictions, np.float64).T):
        centres = fold_predictions[folds]
        ends[row] = (
            -np.partition(widths - centres, rank - 1)[rank - 1],
            np.partition(centres + widths, rank - 1)[rank - 1],
        )
    return ends


def describe_level(coverage: float, n: int | None = None) -> str:
    """Return why an interval has a level that is not 90 % in whole percent; an empty text if it has.

    The half width is one of the n absolute residuals, so only the levels 1 / (n + 1), ..., n / (n + 1) are possible.

    Args:
        coverage: Level, in (0, 1).
        n: Number of residuals, if it is known.
    """
    if round(100 * coverage) == round(100 * COVERAGE):
        return ""
    level, wanted = f"{100 * coverage:.1f} %", f"{100 * COVERAGE:.0f} %"
    if n is None:
        return f"the level of the intervals is {level}"
    level = f"{round(coverage * (n + 1))}/{n + 1} = {level}"
    if coverage < COVERAGE:
        return (
            f"the level of the intervals is {level}, the most that {count(n, 'held-out participant')} can give; "
            f"{wanted} needs {LEAST} or more"
        )
    return (
        f"the level of the intervals is {level}, the lowest of at least {wanted} that {n:,} held-out participants can "
        "give"
    )


def _rank(n: int, coverage: float) -> int:
    return math.ceil((n + 1) * coverage - 1e-9)  # rounding must not turn 0.9 x 10 into 10


def _check(residuals: FloatArray, coverage: float) -> None:
    if residuals.ndim != 1 or not len(residuals) or not np.isfinite(residuals).all():
        raise ValueError("residuals must be finite, (n,) with n >= 1")
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must be between 0 and 1, not {coverage}")
