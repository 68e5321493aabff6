"""Intervals around predictions for new people that hold the truth as often as they say, whatever the model.

The one assumption is that new people come as those did on whom the errors were measured (exchangeability): the same
scanners, the same ages, the same recruitment. The coverage is an average over people, not a promise for each age.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]

COVERAGE = 0.9


@dataclass(frozen=True)
class Conformal:
    """An interval of constant width around every prediction.

    Attributes:
        half_width: In the unit of the residuals.
        coverage: Share of new people whose truth it holds at least, on average. It is what was asked for or a little
            more; with too few residuals it is less, and the half width is the largest residual.
        asked: Coverage that was asked for.
        n: Residuals it was made of.
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

    With n residuals no more than n / (n + 1) can be promised. Where more was asked for, the rule demands an infinite
    interval; here it is the widest there is evidence for, and says its coverage: 90 % need 9 people, 95 % need 19.

    Residuals of several folds, each person predicted by a model that had not seen it, may be pooled. The interval is
    then meant for a model trained like those of the folds. The mean of the folds' models errs a little less than each
    of them, so that it covers no less in practice, but it is not proven; :func:`cv_plus_interval` has a proof.

    Args:
        residuals: Truth less prediction of people that the model was not trained on, (n,), n >= 1; finite. They must
            not have chosen the model either: where validation stopped the training, they are a little too small.
        coverage: Share of new people whose truth the interval should hold, in (0, 1).

    Raises:
        ValueError: No residual, one that is not finite, or a coverage outside (0, 1).

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
    """Return the CV+ interval of new people from the models of all folds: its ends, (M, 2).

    Each person of the cross-validation says where the truth would lie if the model that had not seen it erred on the
    new person as on this one. With K folds of n people in all it holds the truth for at least 2 coverage - 1 -
    2 (1 - 1 / K) / (n / K + 1) of new people, .76 for 90 % asked for of 181 people in 5 folds; in practice for close to
    ``coverage``. With too few people for the coverage, the ends are the outermost.

    Args:
        predictions: What the model of each fold predicts for new people, (K, M).
        residuals: Truth less prediction of each person by the model that had not seen it, (n,).
        folds: Fold of each person, in 0 ... K - 1, (n,).
        coverage: Share of new people whose truth the interval should hold, in (0, 1).

    Raises:
        ValueError: No residual, one that is not finite, other lengths, or a coverage outside (0, 1).

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


def _rank(n: int, coverage: float) -> int:
    return math.ceil((n + 1) * coverage - 1e-9)  # 0.9 x 10 must not become 10 by rounding


def _check(residuals: FloatArray, coverage: float) -> None:
    if residuals.ndim != 1 or not len(residuals) or not np.isfinite(residuals).all():
        raise ValueError("residuals must be finite, one a person, and of somebody")
    if not 0 < coverage < 1:
        raise ValueError(f"a coverage lies between 0 and 1, and this is {coverage}")
