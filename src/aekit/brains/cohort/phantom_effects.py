"""What can be planted in a synthetic cohort: patients whose brains are older, and sites whose scanners differ.

They are drawn from streams of their own, so that a cohort without effects has the same bytes as before there were any,
and that with one differs from it in nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from aekit.errors import UsageError

PATIENTS = 0.3  # fraction, if only the size of the effect is given
MAX_YEARS, MAX_SITE = 30.0, 10.0

_GAP_SD = 0.4  # of the gap of patients, as a fraction of its mean
_SCORE, _SCORE_PER_YEAR, _SCORE_SD, _MAX_SCORE = 28.0, -0.6, 1.2, 30.0
# Differences between scanners at a site effect of 1; contrasts and gains vary as much within a site.
_CONTRAST_SD = 0.05
_GAIN_SD = math.log(10.0) / math.sqrt(12.0)
_BIAS_SD = 0.3
_BLUR_MM = 1.0


@dataclass(frozen=True)
class Effects:
    """What is planted; nothing by default.

    Attributes:
        patients: Fraction of participants that are patients, 0 to 1.
        group_years: Mean of what the brains of patients are older than the patients, in years.
        site: Differences between the scanners of sites, in units of those within a site.
    """

    patients: float = 0.0
    group_years: float = 0.0
    site: float = 0.0

    @property
    def about(self) -> dict[str, Any]:
        """Return the options that are not at their default."""
        values = {"patients": self.patients, "group_effect": self.group_years, "site_effect": self.site}
        return {name: value for name, value in values.items() if value}

    @property
    def name(self) -> str:
        """Return the end of the default name of a cohort."""
        short = {"patients": "patients", "group_effect": "effect", "site_effect": "site"}
        return "".join(f"-{short[name]}{value:g}" for name, value in self.about.items())


NO_EFFECTS = Effects()


def check_effects(patients: float | None, group_years: float, site: float) -> Effects:
    """Return the effects that options ask for; patients are 30 % where only the size of their effect is given.

    Raises:
        UsageError: A value is out of its range, or there are no patients for an effect.
    """
    fraction = patients if patients is not None else PATIENTS if group_years else 0.0
    if not 0 <= fraction <= 1:
        raise UsageError(f"--patients: {fraction:g} is not a fraction; give 0 to 1")
    if not abs(group_years) <= MAX_YEARS:
        raise UsageError(f"--group-effect: {group_years:g} years are outside -{MAX_YEARS:g} to {MAX_YEARS:g}")
    if not 0 <= site <= MAX_SITE:
        raise UsageError(f"--site-effect: {site:g} is outside 0 to {MAX_SITE:g}")
    if group_years and not fraction:
        raise UsageError("--group-effect: needs patients; give --patients above 0")
    return Effects(fraction, group_years, site)


@dataclass(frozen=True)
class Illness:
    """What is planted in one participant.

    Attributes:
        diagnosis: ``control`` or ``patient``.
        gap_years: What the brain is older than the participant.
        score: A test score of 0 to 30 that falls with the gap, 28 without one.
    """

    diagnosis: str = "control"
    gap_years: float = 0.0
    score: float = _SCORE


def draw_illness(seed: int, number: int, effects: Effects) -> Illness:
    """Return what is planted in one participant of a cohort.

    Args:
        seed: Of the cohort, >= 0.
        number: From 0.
        effects: Of the cohort.
    """
    if not effects.patients:
        return Illness()
    random = np.random.Generator(np.random.PCG64([seed, number, 3]))
    is_patient = random.random() < effects.patients
    spread, noise = random.standard_normal(2).tolist()
    gap = effects.group_years * (1.0 + _GAP_SD * spread) if is_patient else 0.0
    score = _SCORE + _SCORE_PER_YEAR * gap + _SCORE_SD * noise
    return Illness("patient" if is_patient else "control", round(gap, 3), round(min(max(score, 0.0), _MAX_SCORE), 1))


@dataclass(frozen=True)
class Scanner:
    """How the scanner of a site differs from the average one, which is the default.

    Attributes:
        contrast: Factors of the intensities of grey matter, white matter and fluid.
        gain: Factor of all intensities.
        bias: Factor of the amplitude of the bias field.
        blur_mm: SD of additional smoothing.
    """

    contrast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gain: float = 1.0
    bias: float = 1.0
    blur_mm: float = 0.0


AVERAGE = Scanner()


def draw_scanner(seed: int, site: int, effects: Effects) -> Scanner:
    """Return the scanner of a site of a cohort.

    Args:
        seed: Of the cohort, >= 0.
        site: Number of the site, from 0.
        effects: Of the cohort.
    """
    if not effects.site:
        return AVERAGE
    random = np.random.Generator(np.random.PCG64([seed, site, 4]))
    grey, white, fluid, gain, bias, blur = random.standard_normal(6).tolist()
    tissues = (math.exp(effects.site * _CONTRAST_SD * value) for value in (grey, white, fluid))
    return Scanner(
        contrast=tuple(tissues),  # type: ignore[arg-type]
        gain=math.exp(effects.site * _GAIN_SD * gain),
        bias=math.exp(effects.site * _BIAS_SD * bias),
        blur_mm=effects.site * _BLUR_MM * abs(blur),
    )
