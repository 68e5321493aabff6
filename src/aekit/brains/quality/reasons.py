"""Why a scan is doubtful, in words that send a reader to look at it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aekit.brains.quality.features import ENDS, OWN
from aekit.brains.quality.reference import COMPARED

Floats = npt.NDArray[np.float64]

FEATURES = (*OWN, *COMPARED)
# Smallest spreads that mean anything: a cohort of phantoms has no voxel outside of all brains at all.
_FLOOR = np.array([
    {"brain_volume": 0.04, "sharpness": 0.05, "bright": 0.1, "peak": 0.05, "slices": 0.1, "asymmetry": 0.1,
     "blur": 0.05, "field": 0.03, "ghosts": 0.015,
     "intensities": 0.002, "contrast": 0.01, "overlap": 0.01, "outside": 0.005, "upside_down": 0.002,
     "front_back": 0.002, "unexplained": 0.01}.get(name, 0.02 if name.startswith("end_") else 0.01)
    for name in FEATURES
])  # fmt: skip
_FEWEST_VOXELS = 12  # along a side, with which the ends of a brain are still told as well as with more
_BOTH_SIDES = ("brain_volume", "length_x", "length_y", "length_z", "sharpness")
_AT = {name: number for number, name in enumerate(FEATURES)}
# Features that tell something is wrong, not what: only given as a reason where no other one is.
_VAGUE = ("intensities", "contrast", "overlap", "outside", "unexplained", "bright")
# What another scanner or another preparation changes in all scans.
SCANNER = ("sharpness", "blur", "field", "bright", "intensities", "contrast", "unexplained")
_TEXTS = {
    "length_x": ("too narrow from left to right", "too wide from left to right"),
    "length_y": ("too short from back to front", "too long from back to front"),
    "length_z": ("too flat from bottom to top", "too tall from bottom to top"),
    "sharpness": ("blurred", "noisy or striped"),
    "bright": ("", "many voxels are far too bright"),
    "peak": ("", "hardly any contrast"),
    "slices": ("", "jumps from slice to slice"),
    "asymmetry": ("", "left and right differ"),
    "blur": ("", "blurred"),
    "field": ("", "brightness changes far from one side to the other"),
    "ghosts": ("", "ghosts or stripes"),
    **{f"end_{end}": ("", f"cropped at the {end}") for end in ENDS},
    "intensities": ("", "intensities unlike those of the others"),
    "contrast": ("", "contrast of the tissues unlike that of the others"),
    "overlap": ("", "shape unlike that of the others"),
    "outside": ("", "reaches beyond all other brains"),
    "upside_down": ("", "looks upside down"),
    "front_back": ("", "looks turned back to front"),
    "unexplained": ("", "image unlike the others"),
}
_MOST = 2  # reasons for one scan
_CLEARLY = 0.02  # by how much a flipped scan correlates better with the mean
_LARGER = 1.25  # than usual: so large a brain is a head


def least_spreads(size: Sequence[int]) -> Floats:
    """Return the smallest spread of each feature that means anything on a grid of so many voxels, (P,).

    The end of a brain lies within a voxel or two of a very coarse grid, and is less certain there.
    """
    floor = _FLOOR.copy()
    is_end = np.array([name.startswith("end_") for name in FEATURES])
    floor[is_end] *= max(1.0, _FEWEST_VOXELS / min(size)) ** 2
    return floor


def excess(z: Floats) -> Floats:
    """Return how far features are beyond what is usual, (N, P), of distances in spreads; one-sided where that is."""
    two_sided = np.isin(FEATURES, _BOTH_SIDES)
    beyond: Floats = np.where(two_sided, np.abs(z), np.maximum(z, 0.0))
    return beyond


def explain(features: Floats, z: Floats, limits: Floats, median_ml: float) -> str:
    """Return why a scan is doubtful, most important first; an empty text if it is not.

    Args:
        features: Its features, (P,).
        z: The same in spreads from the centre, (P,).
        limits: Number of spreads that are usual, (P,).
        median_ml: Usual volume of a brain.
    """
    ratios = excess(z[None])[0] / limits
    found = [FEATURES[number] for number in np.argsort(-ratios, kind="stable") if ratios[number] > 1]
    if not found:
        return ""
    if (special := _special(features, found, median_ml)) is not None:
        return special
    clear = sorted((name for name in found if name not in _VAGUE), key=lambda name: not name.startswith("end_"))
    if not clear and (turned := _turned(features, least=_CLEARLY)):
        return turned
    texts = [_text(name, features, z, median_ml) for name in (clear or found)[:_MOST]]
    return ", ".join(dict.fromkeys(texts))


def _text(name: str, features: Floats, z: Floats, median_ml: float) -> str:
    if name == "brain_volume":
        return f"a brain of {np.exp(features[_AT[name]]):,.0f} mL, where {median_ml:,.0f} are usual"
    return _TEXTS[name][int(z[_AT[name]] > 0)]


def _special(features: Floats, found: list[str], median_ml: float) -> str | None:
    """Return the reason where several features together tell what happened."""
    value = {name: float(features[_AT[name]]) for name in FEATURES}
    if "peak" in found:
        return _TEXTS["peak"][1]
    if "contrast" in found and value["contrast"] > 1:
        return "contrast looks inverted"
    if (
        {"upside_down", "front_back"} & set(found)
        and "asymmetry" not in found
        and (turned := _turned(features, least=0.0))
    ):
        return turned
    volume = float(np.exp(value["brain_volume"]))
    if {"outside", "unexplained"} <= set(found) and volume > _LARGER * median_ml:
        return f"a brain of {volume:,.0f} mL: a skull, or a wrong voxel size"
    return None


def _turned(features: Floats, *, least: float) -> str:
    """Return how a scan is turned, if it looks more like the others when it is flipped."""
    up, front = float(features[_AT["upside_down"]]), float(features[_AT["front_back"]])
    if max(up, front) <= least:
        return ""
    return _TEXTS["upside_down" if up >= front else "front_back"][1]
