"""Prediction intervals for new participants that contain the truth as often as stated, whatever the model.

The only assumption is that new participants are exchangeable with those on whom the errors were measured: the same
scanners, ages and recruitment. The coverage is an average over participants, not a guarantee at each age.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aekit.errors import count

FloatArray = npt.NDArray[np.floating]

COVERAGE = 0.9
LEAST = 9  # residuals for that coverage: with fewer, even the widest interval is not enough


@dataclass(frozen=True)
class Conformal:
    """An interval of constant width around every prediction.

    Attributes:
        half_width: In the unit of the residuals.
        coverage: Fraction of new participants whose true value it contains, at least and on average. It is the
            requested coverage or slightly more; with too few residuals it is less, and the half width is the largest
            residual.
        asked: Requested coverage.
        n: Number of residuals.
    """

    half_width: float
    coverage: float
    asked: float
    n: int

    def interval(self, predictions: FloatArray) -> npt.NDArray[np.float64]:
        """Return the ends of the interval of each prediction, (N, 2), in the unit of the residuals."""
        middle = np.asarray(predictions, np.float64)
        return np.stack([middle - self.half_width, middle + self.half_width], axis=-1)


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
