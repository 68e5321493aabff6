"""The range of the training data, and whether a new scan lies within it.

Ranges are quantiles, not extremes: a single broken scan in training would otherwise widen them until no new scan is
outside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from aekit.brains.volumes.gridding import TOP
from aekit.brains.volumes.store import PreparedVolumes

Rows = npt.NDArray[np.int64]

_SPACING_TOLERANCE = 0.05  # of the spacing seen: it may be rounded
_BRAIN_TOLERANCE = 0.05
# Of the largest distance seen, as a new scan of the same kind exceeds the largest of n with probability 1 / (n + 1).
_INTENSITY_TOLERANCE = 1.25
_OUTER = 0.005  # of the training scans lie below a range, and as many above it
# Beyond the quartiles, in units of their distance: 4.7 SDs of normal values. Of few scans, the quantiles above are the
# extremes themselves; this keeps them within what the middle half of the scans allows.
_FENCE = 3.0
_MAX_SHAPES = 8  # with more shapes in training, the shape of a new scan means nothing


def describe_seen(volumes: PreparedVolumes, age_years: npt.NDArray[np.float64], rows: Rows) -> dict[str, Any]:
    """Return the ranges of the scans and ages in ``rows``, as plain values for a header."""
    fractions = _cumulative_fractions(volumes.histograms_ml[rows])
    middle = np.median(fractions, axis=0)
    shapes = sorted({volumes.shapes[row] for row in rows})
    return {
        "age_years": list(usual_range(age_years[rows])),
        "brain_ml": list(usual_range(volumes.brain_ml[rows])),
        "spacing_mm": list(usual_range(volumes.spacing_mm[rows].ravel())),
        "shapes": [list(shape) for shape in shapes] if len(shapes) <= _MAX_SHAPES else [],
        "intensity": [round(float(value), 6) for value in middle],
        "intensity_distance": usual_range(_distance(fractions, middle))[1],
    }


def usual_range(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Return the lower and upper end of values, without the few most extreme ones.

    These are the 0.5 % and 99.5 % quantiles, but no farther from the quartiles than three times the distance between
    them, unless the quartiles are the same.

    Args:
        values: (N,), N >= 1.
    """
    known = np.asarray(values, np.float64)
    first, third = (float(one) for one in np.quantile(known, [0.25, 0.75]))
    # Values that occur: of fewer than 200, the smallest and the largest.
    low = float(np.quantile(known, _OUTER, method="lower"))
    high = float(np.quantile(known, 1 - _OUTER, method="higher"))
    reach = _FENCE * (third - first)
    if reach <= 0:
        return low, high
    inside = known[(known >= first - reach) & (known <= third + reach)]
    return max(low, float(inside.min())), min(high, float(inside.max()))


def domain_warnings(seen: dict[str, Any], volumes: PreparedVolumes, row: int, ages: list[float]) -> list[str]:
    """Return in which ways a scan lies outside the training data of a model, a sentence each.

    Args:
        seen: From :func:`describe_seen`.
        volumes: New scans.
        row: Which of them.
        ages: The ages that the model predicts for it, in years.
    """
    found = []
    low, high = seen["spacing_mm"]
    spacing = volumes.spacing_mm[row]
    if spacing.min() < low * (1 - _SPACING_TOLERANCE) or spacing.max() > high * (1 + _SPACING_TOLERANCE):
        text = " x ".join(f"{side:.3g}" for side in spacing)
        found.append(f"voxel size {text} mm differs from that of the training scans ({_range(low, high, 3)} mm)")
    shape = list(volumes.shapes[row])
    if seen["shapes"] and shape not in seen["shapes"]:
        known = ", ".join("x".join(map(str, one)) for one in seen["shapes"])
        found.append(
            f"shape of {'x'.join(map(str, shape))} voxels (x, y, z) differs from that of the training scans ({known})"
        )
    low, high = seen["brain_ml"]
    brain = float(volumes.brain_ml[row])
    if not low * (1 - _BRAIN_TOLERANCE) <= brain <= high * (1 + _BRAIN_TOLERANCE):
        found.append(
            f"brain volume {brain:.0f} mL is outside the usual range of the training ({low:.0f}-{high:.0f} mL)"
        )
    distance = float(_distance(_cumulative_fractions(volumes.histograms_ml[[row]]), np.array(seen["intensity"]))[0])
    if distance > _INTENSITY_TOLERANCE * seen["intensity_distance"]:
        times = distance / seen["intensity_distance"]
        found.append(f"intensities deviate from the mean {times:.1f} times as much as any training scan's")
    low, high = seen["age_years"]
    if any(not low <= age <= high for age in ages):
        found.append(f"predicted age is outside the usual range of the training ({low:.0f}-{high:.0f} years)")
    return found


def _cumulative_fractions(histograms_ml: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    counts = np.asarray(histograms_ml, np.float64)
    fractions: npt.NDArray[np.float64] = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
    return fractions


def _distance(fractions: npt.NDArray[np.float64], mean: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # The area between two distribution functions: how far intensities must move to turn one into the other.
    area: npt.NDArray[np.float64] = np.abs(fractions - mean).mean(axis=1) * TOP
    return area


def _range(low: float, high: float, digits: int) -> str:
    return f"{low:.{digits}g}" if np.isclose(low, high) else f"{low:.{digits}g}-{high:.{digits}g}"
