"""How far predictions lie from the truth: errors with intervals over participants, by group, and the age delta."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aekit.core.intervals import Interval, mean_interval

FloatArray = npt.NDArray[np.floating]
Labels = npt.NDArray[np.object_] | Sequence[object]

CONFIDENCE = 0.95
N_RESAMPLES = 2000
MISSING = "missing"  # the group of participants with an unknown group
MIN_INTERVAL = 5  # participants; with fewer there is no estimate of the spread
_MIN_BOOTSTRAP = 20  # below, resamples with almost no spread make the upper end several times too large
_MAX_BOOTSTRAP = 5000  # above, the bootstrap's quantiles equal those of Student's t to a hundredth of the interval
_LEAST_VARIANCE = 0.2  # of a resample, in units of the variance of the sample
_MAX_DRAWN = 2**20  # participants drawn at a time, over all resamples of a block: 12 MB


@dataclass(frozen=True)
class Score:
    """How good predictions of one quantity are.

    Attributes:
        n: Number of participants.
        mae: Mean absolute error in the unit of the truth.
        mae_low: Lower end of its 95 % interval over participants; NaN for fewer than five.
        mae_high: Upper end.
        mse_z: Mean squared error of z-scores; about 1 if the mean is predicted for everyone.
        r2: 1 - SSE / sum of squares about the mean of these participants; NaN if all true values are equal.
        skill: 1 - MAE / MAE of the mean of the train participants; NaN if that is zero.
    """

    n: int
    mae: float
    mae_low: float
    mae_high: float
    mse_z: float
    r2: float
    skill: float


@dataclass(frozen=True)
class Difference:
    """How much larger the MAE of one prediction is than that of another for the same participants; negative is better.

    Attributes:
        n: Number of participants.
        difference: MAE of a minus MAE of b, in the unit of the truth.
        low: Lower end of its 95 % interval over participants; NaN for fewer than five.
        high: Upper end.
    """

    n: int
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class GroupError:
    """The error within one group of participants.

    Attributes:
        group: Name of the group.
        n: Number of participants.
        mae: Mean absolute error in the unit of the truth.
        low: Lower end of its 95 % interval over participants; NaN for fewer than five.
        high: Upper end.
        bias: Mean of prediction minus truth.
    """

    group: str
    n: int
    mae: float
    low: float
    high: float
    bias: float


def score(
    truth: FloatArray,
    prediction: FloatArray,
    *,
    mean_prediction: FloatArray,
    sd: FloatArray | float,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Score:
    """Return the errors of predictions, the MAE with its interval of :func:`absolute_error_interval`.

    R^2 is scikit-learn's: it compares with the mean of the participants at hand, which was not known beforehand, so it
    is slightly pessimistic for few participants. The skill compares with the mean of the train participants.

    Args:
        truth: True values, (N,), N >= 1.
        prediction: Predicted values in the same unit, (N,).
        mean_prediction: Mean of the train participants of the model that made each prediction, (N,).
        sd: Standard deviation of the same train participants, (N,) or one for all, > 0.
        n_resamples: Number of resamples.
        seed: Seed of the resamples.

    Raises:
        ValueError: Lengths that differ, no values, a value that is not finite, or an SD that is not above zero.
    """
    _check(truth, prediction, mean_prediction)
    if not np.all(np.asarray(sd) > 0) or np.shape(sd) not in ((), truth.shape):
        raise ValueError("the standard deviation must be above zero, one for all or one per participant")
    errors = prediction - truth
    mae, low, high = absolute_error_interval(errors, n_resamples=n_resamples, seed=seed)
    spread = float(np.square(truth - truth.mean()).sum())
    floor = float(np.abs(mean_prediction - truth).mean())
    is_constant = spread <= len(truth) * (1e-12 * float(np.abs(truth).max())) ** 2  # up to rounding of the mean
    return Score(
        n=len(truth),
        mae=mae,
        mae_low=low,
        mae_high=high,
        mse_z=float(np.square(errors / sd).mean()),
        r2=np.nan if is_constant else 1 - float(np.square(errors).sum()) / spread,
        skill=(floor - mae) / floor if floor > 0 else np.nan,
    )


def paired_difference(
    truth: FloatArray,
    prediction_a: FloatArray,
    prediction_b: FloatArray,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Return MAE of a minus MAE of b with the interval over participants, resampled in pairs.

    Args:
        truth: True values, (N,), N >= 1.
        prediction_a: Predictions of one model, (N,).
        prediction_b: Predictions of the other, (N,).
        n_resamples: Number of resamples.
        seed: Seed of the resamples.

    Raises:
        ValueError: Lengths that differ, no values, or a value that is not finite.
    """
    _check(truth, prediction_a, prediction_b)
    gains = np.abs(prediction_a - truth) - np.abs(prediction_b - truth)
    return Difference(len(truth), *bootstrap_mean(gains, n_resamples=n_resamples, seed=seed))


def absolute_error_interval(errors: FloatArray, *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Interval:
    """Return the mean of absolute errors, (N,), and its 95 % interval of :func:`bootstrap_mean`, cut off at zero."""
    mae, low, high = bootstrap_mean(np.abs(errors), n_resamples=n_resamples, seed=seed)
    return Interval(mae, max(low, 0.0) if np.isfinite(low) else low, high)


def bootstrap_mean(values: FloatArray, *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Interval:
    """Return the mean and its 95 % interval by the studentised bootstrap; the ends are NaN for fewer than five values.

    Absolute errors are skewed, and in small samples percentile and BCa intervals of their mean are too short. Of 4,000
    samples each, with 1,000 resamples, this fraction of 95 % intervals contained the true mean (studentised / BCa /
    percentile), for errors that are half-normal, exponential, and a mixture in which 15 % are 4.7 times as uncertain::

                     n = 20              36                  50                  100
        half normal  .955 / .933 / .927  .959 / .941 / .939  .953 / .943 / .936  .952 / .945 / .942
        exponential  .947 / .919 / .906  .948 / .927 / .919  .951 / .936 / .932  .951 / .941 / .940
        mixture      .885 / .848 / .836  .913 / .889 / .879  .920 / .905 / .897  .951 / .939 / .930

    The variance of a resample counts as at least a fifth of that of the sample. Where one error is far larger than all
    others, a third of the resamples lack it and have hardly any variance, and their ratios would stretch the upper end:
    for one error of 300 among 36 of about 5 years, whose mean is 12.9, to [2.8, 168] instead of [2.8, 33] (percentile:
    [3.9, 30]). Coverage with and without that bound, and the median and the 98th percentile of the widths::

                       n = 20                             100
        half normal    .940 / .940  0.56 0.90 / 0.56 0.90   .973 / .973  0.24 0.29 / 0.24 0.29
        exponential    .947 / .947  0.93 1.90 / 0.93 2.20   .953 / .953  0.40 0.55 / 0.40 0.55
        mixture        .869 / .871  1.50 3.39 / 1.70 6.32   .937 / .937  0.69 1.06 / 0.69 1.07
        log-normal     .910 / .912  1.67 4.88 / 1.75 10.5   .922 / .922  0.82 2.02 / 0.82 2.48
        Pareto, 2.5    .891 / .898  0.78 3.21 / 0.86 9.97   .918 / .918  0.42 1.40 / 0.42 2.71

    Of a sample in which large errors are rarer than 1 in n, no interval knows: where one error in 100 is 50 times as
    large, .48 of the intervals contain the mean at n = 20, and .56 at 100, with either bound.

    Below 20 values it is Student's t, which covered .92, .90 and .81 at n = 7; above 5,000 as well, where both agree.

    Args:
        values: One value per participant, (N,), N >= 1.
        n_resamples: Number of resamples.
        seed: Seed of the resamples.

    Source:
        Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 12.5; Hall 1988, doi:10.1214/aos/1176350933.
    """
    n = len(values)
    spread = float(np.std(values))
    if n < MIN_INTERVAL:
        return Interval(float(np.mean(values)), np.nan, np.nan)
    if not _MIN_BOOTSTRAP <= n <= _MAX_BOOTSTRAP or spread == 0:
        return mean_interval(values, confidence=CONFIDENCE)
    generator = np.random.default_rng(seed)
    centred = np.asarray((values - values.mean()) / spread, np.float64)
    squared = np.square(centred)
    ratios = np.empty(n_resamples)
    step = max(1, _MAX_DRAWN // n)
    for start in range(0, n_resamples, step):
        drawn = generator.integers(0, n, (min(step, n_resamples - start), n), dtype=np.int32)
        shift = centred[drawn].mean(axis=1)
        variance = squared[drawn].mean(axis=1) - np.square(shift)
        ratios[start : start + step] = shift / np.sqrt(np.maximum(variance, _LEAST_VARIANCE))
    upper, lower = np.quantile(ratios, [0.5 + CONFIDENCE / 2, 0.5 - CONFIDENCE / 2])
    mean = float(np.mean(values))
    return Interval(mean, mean - spread * float(upper), mean - spread * float(lower))


def age_corrected_delta(
    age_years: FloatArray, predicted_years: FloatArray, *, fit_age: FloatArray, fit_predicted: FloatArray
) -> npt.NDArray[np.float64]:
    """Return the brain-age delta minus its average at this age: (N,) in years.

    Every regression predicts the young too old and the old too young. The line of delta = predicted - age on age is
    fitted on other participants and subtracted. The result compares participants of different ages by their delta. It
    uses the true age, so an accuracy computed from it is meaningless: it gives the mean predictor an error of zero.

    Args:
        age_years: True ages, (N,).
        predicted_years: Predicted ages, (N,).
        fit_age: True ages of other participants, validation or the other folds, (M,), M >= 1; equal ages give no slope.
        fit_predicted: Predicted ages of those participants by models that had not seen them, (M,).

    Raises:
        ValueError: Lengths that differ, nobody to fit on, or a value that is not finite.

    Source:
        Beheshti, Nugent, Potvin & Duchesne 2019, doi:10.1016/j.nicl.2019.102063; de Lange & Cole 2020,
        doi:10.1016/j.nicl.2020.102229.
    """
    slope, _ = delta_trend(fit_age, fit_predicted)
    expected = (fit_predicted - fit_age).mean() + slope * (age_years - fit_age.mean())
    return np.asarray(predicted_years - age_years - expected, np.float64)


def delta_trend(age_years: FloatArray, predicted_years: FloatArray) -> tuple[float, float]:
    """Return slope and intercept, in years, of the line of delta = predicted - age on age; equal ages give no slope.

    Args:
        age_years: True ages, (N,), N >= 1.
        predicted_years: Predicted ages, (N,).

    Raises:
        ValueError: Lengths that differ, nobody, or a value that is not finite.
    """
    _check(age_years, predicted_years)
    delta = predicted_years - age_years
    centred = age_years - age_years.mean()
    spread = float(np.square(centred).sum())
    slope = float(centred @ delta) / spread if np.ptp(age_years) > 0 else 0.0
    return slope, float(delta.mean() - slope * age_years.mean())


def by_group(
    truth: FloatArray, prediction: FloatArray, groups: Labels, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> list[GroupError]:
    """Return the error of each group, sorted by name, with numbers in names in numeric order.

    Args:
        truth: True values, (N,).
        prediction: Predicted values, (N,).
        groups: Decade, sex or site of each participant, (N,). None, NaN and empty text become ``missing``, the last.
        n_resamples: Number of resamples within a group.
        seed: Seed of the resamples.

    Raises:
        ValueError: Lengths that differ, no values, or a value that is not finite.
    """
    _check(truth, prediction)
    names = np.array([_group_name(group) for group in groups], dtype=object)
    if len(names) != len(truth):
        raise ValueError(f"{len(truth)} participants, but {len(names)} groups")
    errors = prediction - truth
    found = []
    for name in sorted(set(names), key=natural_key):
        own = errors[names == name]
        interval = absolute_error_interval(own, n_resamples=n_resamples, seed=seed)
        found.append(GroupError(name, len(own), *interval, bias=float(own.mean())))
    return found


def decades(age_years: FloatArray) -> npt.NDArray[np.object_]:
    """Return the decade of each age in years, (N,), as ``20-29`` for all from 20 to below 30; NaN is ``missing``."""
    ages = np.asarray(age_years, np.float64)
    starts = np.where(np.isfinite(ages), np.floor(np.where(np.isfinite(ages), ages, 0) / 10) * 10, -1).astype(np.int64)
    kinds, which = np.unique(starts, return_inverse=True)
    names = np.array([f"{start}-{start + 9}" if start >= 0 else MISSING for start in kinds], dtype=object)
    chosen: npt.NDArray[np.object_] = names[which]
    return chosen


def _group_name(group: object) -> str:
    if group is None or (isinstance(group, (float, np.floating)) and np.isnan(group)):
        return MISSING
    return str(group).strip() or MISSING


def natural_key(name: str) -> tuple[bool, list[tuple[int, str]]]:
    """Return a key that sorts names of groups, numbers in them in numeric order, ``missing`` last."""
    # Python converts no number of more than 4,300 digits.
    parts = [(int(part[:99]), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]
    return name == MISSING, parts


def _check(truth: FloatArray, *others: FloatArray) -> None:
    arrays = (truth, *others)
    if any(array.ndim != 1 or len(array) != len(truth) for array in arrays) or not len(truth):
        raise ValueError(f"one value per participant is needed, and shapes are {[array.shape for array in arrays]}")
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("truth and predictions must be finite")
