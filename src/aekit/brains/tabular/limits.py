"""What features of the training look like, and how a new participant differs from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aekit.brains.domain import usual_range
from aekit.brains.quality.limits import fit_limits
from aekit.core.text_table import named

Floats = npt.NDArray[np.float64]

_FLOOR = 0.1  # smallest spread that counts, in SDs: of features that are mostly zero, quantiles are all the same
_MOST = 10.0  # spreads; farther values count as this far in a distance
_OTHER_UNIT = 5.0  # times the usual range: mm is a tenth of cm, mm3 a thousandth of mL
_MIN_IN_OTHER_UNIT = 3  # participants
_TOLERANCE = 1.25  # of the largest usual distance, as for scans


@dataclass(frozen=True, eq=False)
class FeatureLimits:
    """Usual values of features in train.

    Attributes:
        low: Smallest usual value of each, (F,).
        high: Largest, (F,).
        centre: Median, (F,).
        spread: Robust standard deviation, (F,), > 0.
        distance: Largest usual root mean square of standardised features.
        age_years: Range of usual ages.
    """

    low: Floats
    high: Floats
    centre: Floats
    spread: Floats
    distance: float
    age_years: tuple[float, float]

    def unlike(self, features: Floats, names: Sequence[str], ages: Floats) -> list[list[str]]:
        """Return in which ways each participant differs from those of train, a sentence each.

        Args:
            features: Of new participants, (M, F), finite.
            names: Of the features.
            ages: Predicted by each model, (M, K).
        """
        outside = (features < self.low) | (features > self.high)
        far = _distances(features, self.centre, self.spread) / self.distance
        low, high = self.age_years
        found = []
        for row, values in enumerate(features):
            own = [
                f"{names[column]} {values[column]:.5g} ({self.low[column]:.5g} to {self.high[column]:.5g})"
                for column in np.flatnonzero(outside[row]).tolist()
            ]
            texts = [f"values outside of the training range: {named(own)}"] if own else []
            if far[row] > _TOLERANCE:
                texts.append(f"all values together deviate {far[row]:.1f} times as much as any training participant's")
            if not ((ages[row] >= low) & (ages[row] <= high)).all():
                texts.append(f"predicted age is outside the usual range of the training ({low:.0f}-{high:.0f} years)")
            found.append(texts)
        return found

    def in_other_units(self, features: Floats, names: Sequence[str]) -> dict[str, float]:
        """Return by what factor features of new participants are too large, where the value of everybody is.

        Only features that are positive in train are judged, and only those of three participants or more.

        Args:
            features: Of new participants, (M, F), finite.
            names: Of the features.
        """
        if len(features) < _MIN_IN_OTHER_UNIT:
            return {}
        above = (features > _OTHER_UNIT * self.high).all(axis=0)
        below = (features < self.low / _OTHER_UNIT).all(axis=0) & (features > 0).all(axis=0)
        found = np.flatnonzero((self.low > 0) & (above | below)).tolist()
        return {names[one]: float(np.median(features[:, one]) / self.centre[one]) for one in found}


def fit_feature_limits(features: Floats, age_years: Floats) -> FeatureLimits:
    """Return limits of features that a broken value in train does not move.

    A value is unusual if it is more than five robust standard deviations from the median (more for few participants)
    and beyond the 0.5 % and 99.5 % quantiles: with many features, everyone is beyond a quantile of some.

    Args:
        features: Of the train participants, (N, F), finite.
        age_years: Their ages, (N,).
    """
    ends = np.array([usual_range(column) for column in features.T]).reshape(-1, 2)
    sd = np.clip(features, ends[:, 0], ends[:, 1]).std(axis=0)
    limits = fit_limits(features, np.maximum(_FLOOR * sd, np.finfo(np.float64).tiny))
    low = np.minimum(limits.centre - limits.limit * limits.below, ends[:, 0])
    high = np.maximum(limits.centre + limits.limit * limits.above, ends[:, 1])
    spread = np.maximum(limits.below, limits.above)
    distance = usual_range(_distances(features, limits.centre, spread))[1]
    return FeatureLimits(low, high, limits.centre, spread, distance or 1.0, usual_range(age_years))


def _distances(features: Floats, centre: Floats, spread: Floats) -> Floats:
    z = np.clip((features - centre) / spread, -_MOST, _MOST)
    found: Floats = np.sqrt(np.square(z).mean(axis=1))
    return found
