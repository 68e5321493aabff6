"""What a model has seen, and whether a new scan is like it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from aekit.brains.volumes.store import TOP, PreparedVolumes

Rows = npt.NDArray[np.int64]

_SPACING_TOLERANCE = 0.05  # of the spacing seen: what is written with other digits is the same
_BRAIN_TOLERANCE = 0.05
# Of the largest distance seen: a new scan of the same kind has a chance of 1 / (n + 1) to be beyond the largest itself.
_INTENSITY_TOLERANCE = 1.25
_MAX_SHAPES = 8  # listed by name; where there are more, shapes say nothing


def describe_seen(volumes: PreparedVolumes, age_years: npt.NDArray[np.float64], rows: Rows) -> dict[str, Any]:
    """Return what is worth knowing of the scans and people in ``rows``, as plain values for a header."""
    shares = _cumulative_shares(volumes.histograms_ml[rows])
    mean = shares.mean(axis=0)
    shapes = sorted({volumes.shapes[row] for row in rows})
    return {
        "age_years": [float(age_years[rows].min()), float(age_years[rows].max())],
        "brain_ml": [float(volumes.brain_ml[rows].min()), float(volumes.brain_ml[rows].max())],
        "spacing_mm": [float(volumes.spacing_mm[rows].min()), float(volumes.spacing_mm[rows].max())],
        "shapes": [list(shape) for shape in shapes] if len(shapes) <= _MAX_SHAPES else [],
        "intensity": [round(float(value), 6) for value in mean],
        "intensity_distance": float(_distance(shares, mean).max()),
    }


def tell_unlike(seen: dict[str, Any], volumes: PreparedVolumes, row: int, ages: list[float]) -> list[str]:
    """Return in which ways a scan is unlike all that a model has seen, a sentence each.

    Args:
        seen: From :func:`describe_seen`.
        volumes: New scans.
        row: Which of them.
        ages: What the model says of its age in years.
    """
    unlike = []
    low, high = seen["spacing_mm"]
    spacing = volumes.spacing_mm[row]
    if spacing.min() < low * (1 - _SPACING_TOLERANCE) or spacing.max() > high * (1 + _SPACING_TOLERANCE):
        text = " x ".join(f"{side:.3g}" for side in spacing)
        unlike.append(f"voxels of {text} mm, trained on {_range(low, high, 3)} mm")
    shape = list(volumes.shapes[row])
    if seen["shapes"] and shape not in seen["shapes"]:
        known = ", ".join("x".join(map(str, one)) for one in seen["shapes"])
        unlike.append(f"{'x'.join(map(str, shape))} voxels, trained on {known}")
    low, high = seen["brain_ml"]
    brain = float(volumes.brain_ml[row])
    if not low * (1 - _BRAIN_TOLERANCE) <= brain <= high * (1 + _BRAIN_TOLERANCE):
        unlike.append(f"a brain of {brain:.0f} mL, trained on {low:.0f}-{high:.0f} mL")
    distance = float(_distance(_cumulative_shares(volumes.histograms_ml[[row]]), np.array(seen["intensity"]))[0])
    if distance > _INTENSITY_TOLERANCE * seen["intensity_distance"]:
        times = distance / seen["intensity_distance"]
        unlike.append(f"intensities {times:.1f} times as far from the mean as the farthest of train")
    low, high = seen["age_years"]
    if any(not low <= age <= high for age in ages):
        unlike.append(f"a predicted age outside the {low:.0f}-{high:.0f} years trained on")
    return unlike


def _cumulative_shares(histograms_ml: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    counts = np.asarray(histograms_ml, np.float64)
    shares: npt.NDArray[np.float64] = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
    return shares


def _distance(shares: npt.NDArray[np.float64], mean: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # The area between two distribution functions: how far intensity must be moved to turn one into the other.
    area: npt.NDArray[np.float64] = np.abs(shares - mean).mean(axis=1) * TOP
    return area


def _range(low: float, high: float, digits: int) -> str:
    return f"{low:.{digits}g}" if np.isclose(low, high) else f"{low:.{digits}g}-{high:.{digits}g}"
