"""The participants of a synthetic cohort: age, sex, tissue volumes, and how each one is scanned.

Given age and sex, the three volumes follow curves fitted to healthy people and scatter around them as much as in
people, which limits how well any model of the volumes can predict age. How a participant is scanned does not depend on
age and sex.

Participant ``number`` depends on the seed and the number alone: the first 60 of 466 are the same as the 60 of 60.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from aekit.brains.cohort.phantom_effects import AVERAGE, NO_EFFECTS, Effects, Illness, Scanner, draw_illness

SITES = ("A", "B", "C")
NOISE = 0.03  # SD of the noise in a scan, in units of intensity before the gain

# Mean total, grey and white volume at age 20 in mL.
_AT_20_ML = {"F": (1364.0, 648.5, 489.5), "M": (1552.0, 735.5, 557.8)}
_FRACTION_FEMALE = 0.48
_YOUNGEST = 4.0  # years, of a brain
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
_CONTRAST = (0.58, 0.85, 0.25)
_CONTRAST_SD = 0.05
_ROTATION_DEG, _SHIFT_MM = 8.0, 4.0
_GAIN = (200.0, 2000.0)


@dataclass(frozen=True)
class Person:
    """One participant of the synthetic cohort.

    Attributes:
        participant_id: "sub-0001" for the first.
        age_years: 6 to 86, to a hundredth.
        sex: "F" or "M".
        site: A label; it has an effect on the image only if one was asked for.
        volumes_ml: Grey matter, white matter and cerebrospinal fluid.
        illness: What is planted.
    """

    participant_id: str
    age_years: float
    sex: Literal["F", "M"]
    site: str
    volumes_ml: tuple[float, float, float]
    illness: Illness = field(default_factory=Illness)


@dataclass(frozen=True)
class Scan:
    """How one participant is scanned, whatever their age and sex.

    Attributes:
        contrast: Intensity of grey matter, white matter and fluid, before bias and noise.
        rotation_deg: Rotations about R, A and S.
        shift_mm: Shifts along R, A and S.
        gain: Factor of all intensities.
    """

    contrast: tuple[float, float, float]
    rotation_deg: tuple[float, float, float]
    shift_mm: tuple[float, float, float]
    gain: float

    @property
    def cnr(self) -> float:
        """Return the contrast between white and grey matter in units of the noise."""
        return (self.contrast[1] - self.contrast[0]) / NOISE


def draw_person(seed: int, number: int, effects: Effects = NO_EFFECTS) -> Person:
    """Return one participant of a cohort.

    Args:
        seed: Of the cohort, >= 0.
        number: From 0.
        effects: What is planted: the brain of a patient has the volumes of another age.
    """
    random = np.random.Generator(np.random.PCG64([seed, number, 0]))
    sex: Literal["F", "M"] = "F" if random.random() < _FRACTION_FEMALE else "M"
    # Golden steps fill [0, 1) evenly: every cohort, and the first part of every cohort, has enough old people.
    start = np.random.Generator(np.random.PCG64(seed)).random()
    stratum = (start + number * _GOLDEN) % 1.0
    if stratum < 0.31:
        age = random.normal(11.5, 3.0)
    elif stratum < 0.78:
        age = random.normal(22.0, 3.2)
    else:
        age = random.uniform(25.0, 45.0) if stratum < 0.92 else random.uniform(45.0, 80.0)
    age = round(min(max(age, 6.0), 86.0), 2)
    illness = draw_illness(seed, number, effects)
    total, fluid, grey = _expected(max(age + illness.gap_years, _YOUNGEST) if illness.gap_years else age, sex)
    total *= math.exp(random.normal(0.0, 0.080))
    fluid *= math.exp(random.normal(-0.0098, 0.14))
    grey += random.normal(0.0, 0.0185)
    solid = total * (1.0 - fluid)
    volumes = (solid * grey, solid * (1.0 - grey), total * fluid)
    return Person(f"sub-{number + 1:04d}", age, sex, SITES[int(random.integers(len(SITES)))], volumes, illness)


def _expected(age_years: float, sex: str) -> tuple[float, float, float]:
    """Return the mean total volume in mL, the fraction of fluid in it, and the fraction of grey matter in the rest."""
    u = math.log(age_years / 20.0)
    total_20, grey_20, white_20 = _AT_20_ML[sex]
    total = total_20 * (1.0 - 0.06 * math.exp(-(age_years - 6.0) / 4.0))
    grey = grey_20 * (1.0010 - 0.1416 * u - 0.0291 * u**2 + 0.0161 * u**3)
    white = white_20 * (0.9991 + 0.0679 * u - 0.0837 * u**2 - 0.0124 * u**3)
    return total, (total - grey - white) / total, grey / (grey + white)


def draw_scan(seed: int, number: int, scanner: Scanner = AVERAGE) -> Scan:
    """Return how one participant of a cohort is scanned.

    Args:
        seed: Of the cohort, >= 0.
        number: From 0.
        scanner: That of the site.
    """
    random = np.random.Generator(np.random.PCG64([seed, number, 2]))
    grey, white, fluid = (
        contrast * factor * math.exp(random.normal(0.0, _CONTRAST_SD))
        for contrast, factor in zip(_CONTRAST, scanner.contrast, strict=True)
    )
    x, y, z = random.uniform(-_ROTATION_DEG, _ROTATION_DEG, 3).tolist()
    right, front, up = random.uniform(-_SHIFT_MM, _SHIFT_MM, 3).tolist()
    gain = math.exp(random.uniform(math.log(_GAIN[0]), math.log(_GAIN[1])))
    return Scan((grey, white, fluid), (x, y, z), (right, front, up), gain * scanner.gain)
