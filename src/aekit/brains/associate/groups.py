"""How far two groups lie apart: Cohen's d and the area under the ROC curve, each with its interval."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from aekit.brains.associate.linear import CONFIDENCE, Estimate

Floats = npt.NDArray[np.float64]


def cohens_d(difference: float, first: Floats, second: Floats, *, error: float) -> Estimate:
    """Return an adjusted difference in units of the spread within the groups, with a 95 % interval.

    Args:
        difference: Adjusted mean of the first group minus that of the second.
        first: Adjusted values of the first group, (N,), N >= 2.
        second: Those of the second, (M,), M >= 2.
        error: Standard error of the difference, which is larger where groups differ in age or site.

    Source:
        Hedges & Olkin 1985, Statistical Methods for Meta-Analysis, chapter 5, equation 15.
    """
    n, m = len(first), len(second)
    pooled = np.sqrt(((n - 1) * first.var(ddof=1) + (m - 1) * second.var(ddof=1)) / (n + m - 2))
    if not pooled > 0:
        return Estimate(np.nan, np.nan, np.nan)
    d = difference / float(pooled)
    half = stats.norm.ppf(0.5 + CONFIDENCE / 2) * np.sqrt((error / pooled) ** 2 + d**2 / (2 * (n + m)))
    return Estimate(d, d - float(half), d + float(half))


def area_under_curve(first: Floats, second: Floats) -> Estimate:
    """Return the probability that one of the first group is above one of the second, with a 95 % interval.

    The standard error is DeLong's, the interval symmetric on the logit scale, so that it stays within 0 and 1. If the
    groups do not overlap, the ends are those of a single pair out of order, as the estimated error is zero.

    Args:
        first: Values of the first group, (N,), N >= 2.
        second: Values of the second, (M,), M >= 2.

    Source:
        DeLong, DeLong & Clarke-Pearson 1988, doi:10.2307/2531595; ranks: Sun & Xu 2014, doi:10.1109/LSP.2014.2337313.
    """
    n, m = len(first), len(second)
    ranks = stats.rankdata(np.concatenate([first, second]))
    above = (ranks[:n] - stats.rankdata(first)) / m  # fraction of the second below each of the first
    below = 1.0 - (ranks[n:] - stats.rankdata(second)) / n
    auc = float(above.mean())
    variance = float(above.var(ddof=1) / n + below.var(ddof=1) / m)
    edge = 0.5 / (n * m)
    inner = float(np.clip(auc, edge, 1 - edge))
    error = max(np.sqrt(variance), edge if auc in (0.0, 1.0) else 0.0)
    half = stats.norm.ppf(0.5 + CONFIDENCE / 2) * error / (inner * (1 - inner))
    centre = np.log(inner / (1 - inner))
    low, high = (float(1 / (1 + np.exp(-end))) for end in (centre - half, centre + half))
    return Estimate(auc, min(low, auc), max(high, auc))
