"""Two scans of the same participants: how well a measure repeats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from aekit.brains.associate.linear import CONFIDENCE, Estimate

Floats = npt.NDArray[np.float64]
MIN_PAIRS = 3


@dataclass(frozen=True)
class Agreement:
    """How well the first and the second scan agree.

    Attributes:
        n: Participants with both.
        icc: ICC(2,1) of Shrout and Fleiss: two-way random effects, absolute agreement, single scan; with 95 % interval.
        difference: Mean of second minus first, in the unit of the measure, with Student's t interval.
        sd_within: SD of repeated scans of one participant, a shift of all included, in the same unit.
        smallest_change: 1.96 sqrt(2) SD within: a smaller change of one participant is within the error of 95 %.
    """

    n: int
    icc: Estimate
    difference: Estimate
    sd_within: float
    smallest_change: float


def measure_agreement(first: Floats, second: Floats) -> Agreement:
    """Return how well two scans of the same participants agree.

    Args:
        first: Measure at the first scan, (N,), N >= 3.
        second: At the second, (N,).

    Source:
        Shrout & Fleiss 1979, doi:10.1037/0033-2909.86.2.420; interval: McGraw & Wong 1996,
        doi:10.1037/1082-989X.1.1.30, table 7.
    """
    n = len(first)
    change = second - first
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1) * change.std(ddof=1) / np.sqrt(n))
    mean = float(change.mean())
    within = float(np.sqrt(np.square(change).mean() / 2))
    return Agreement(
        n=n,
        icc=_icc(np.column_stack([first, second])),
        difference=Estimate(mean, mean - half, mean + half),
        sd_within=within,
        smallest_change=1.96 * float(np.sqrt(2)) * within,
    )


def _icc(values: Floats) -> Estimate:
    n, k = values.shape
    centred = values - values.mean()
    of_rows, of_columns = centred.mean(axis=1), centred.mean(axis=0)
    rows = k * float(np.square(of_rows).sum()) / (n - 1)
    columns = n * float(np.square(of_columns).sum()) / (k - 1)
    rest = centred - of_rows[:, None] - of_columns
    error = float(np.square(rest).sum()) / ((n - 1) * (k - 1))
    total = rows + (k - 1) * error + k * (columns - error) / n
    if not total > 0:
        return Estimate(np.nan, np.nan, np.nan)
    icc = (rows - error) / total
    if not error > 0 or icc >= 1:
        return Estimate(icc, np.nan, np.nan)
    a, b = k * icc / (n * (1 - icc)), 1 + k * icc * (n - 1) / (n * (1 - icc))
    parts = (a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    df = (a * columns + b * error) ** 2 / parts
    upper, lower = (float(stats.f.ppf(0.5 + CONFIDENCE / 2, *dfs)) for dfs in ((n - 1, df), (df, n - 1)))
    scale = k * columns + (k * n - k - n) * error
    low = n * (rows - upper * error) / (upper * scale + n * rows)
    high = n * (lower * rows - error) / (scale + n * lower * rows)
    return Estimate(icc, low, high)
