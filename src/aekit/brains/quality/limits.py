"""What is usual for the scans of a cohort, by limits that the broken ones do not move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_LOW, _MIDDLE, _HIGH = 0.16, 0.50, 0.84
_NORMAL = 0.9945  # of a standard normal distribution, the 84th percentile
_MAD_TO_SD = 1.4826
# In spreads. The most unusual of 181 good IXI scans is at 4.9, of 200 good phantoms at 5.3, most broken ones above 7.
_LIMIT, _FOR_FEW = 5.0, 10.0


@dataclass(frozen=True, eq=False)
class Limits:
    """Centre and spread of each feature.

    Attributes:
        centre: Medians, (P,).
        below: Spread below the median in units of a standard deviation, (P,), > 0.
        above: Spread above it, (P,), > 0.
        limit: Number of spreads beyond which a scan is not usual; wider for few scans.
    """

    centre: Floats
    below: Floats
    above: Floats
    limit: float

    def standardise(self, features: Floats) -> Floats:
        """Return features, (N, P), as distances from the centre in spreads; NaN counts as far beyond any limit."""
        away = features - self.centre
        z: Floats = away / np.where(away < 0, self.below, self.above)
        return np.where(np.isfinite(z), z, 1e6)


def first_limits(features: Floats, floor: Floats) -> Limits:
    """Return limits of all scans by median and MAD, which hold as long as fewer than half are broken.

    Args:
        features: (N, P).
        floor: Smallest spread of each feature that means anything, (P,).
    """
    centre = np.nanmedian(features, axis=0)
    spread = np.maximum(_MAD_TO_SD * np.nanmedian(np.abs(features - centre), axis=0), floor)
    return Limits(centre, spread, spread, limit_for(len(features)))


def fit_limits(features: Floats, floor: Floats) -> Limits:
    """Return limits of usual scans, with different spreads on both sides, as many features are skewed.

    Args:
        features: Those of usual scans, (n, P).
        floor: Smallest spread of each feature that means anything, (P,).
    """
    low, centre, high = np.quantile(features, [_LOW, _MIDDLE, _HIGH], axis=0)
    below, above = (np.maximum(spread / _NORMAL, floor) for spread in (centre - low, high - centre))
    return Limits(centre, below, above, limit_for(len(features)))


def limit_for(n: int) -> float:
    """Return the number of spreads beyond which a scan is not usual, with limits from ``n`` scans."""
    return _LIMIT * (1 + _FOR_FEW / n)
