"""Whether scans keep the size of the head: the volume of each brain against what the table says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
Space = Literal["native", "normalised", "undecided"]


MIN_SCANS = 8
# Of the spread of the table: what a native ratio and a normalised brain may vary by. On 181 IXI brains the ratio has
# 0.02 of it; a correlation of 0.9 corresponds to 0.44.
_SMALL = 0.5
_N_SDS = 5.0
_LEAST_DIFFERENCE = np.log(1.10)  # what masks of different programs may differ by


@dataclass(frozen=True)
class SpaceCheck:
    """Whether scans keep the size of the head, as the volumes of the table do.

    Attributes:
        space: "native" (the ratio of brain and table is the same for all), "normalised" (the brains are, whatever the
            table says: head size has been removed), or "undecided".
        n: Participants with both.
        r: Pearson correlation of brain-mask volume and table; NaN for fewer than eight participants.
        slope: Median of brain-mask volume / table: near 1 unless a unit is wrong.
        unit_factor: Power of ten by which the table is off (1000: the table is a thousand times too small), else 1.
        spread: Robust standard deviation of the ratio, as a fraction of it; NaN for fewer than eight participants.
        each: Verdict on each scan: the space of the cohort, "disagrees" if it does not fit that, or "" if there is no
            volume or the space is undecided, N of them.
        ratio: Brain-mask volume / table, with the unit corrected, (N,); NaN where one is missing.
    """

    space: Space
    n: int
    r: float
    slope: float
    unit_factor: float
    spread: float = float("nan")
    each: tuple[str, ...] = ()
    ratio: FloatArray | None = None

    @property
    def disagreeing(self) -> list[int]:
        """Return the rows of scans that do not fit the space of the others."""
        return [row for row, verdict in enumerate(self.each) if verdict == "disagrees"]


def check_space(brain_ml: FloatArray, table_ml: FloatArray) -> SpaceCheck:
    """Return for a cohort, and for each scan, whether the size of the brain follows the table.

    In native space the ratio of brain mask and table varies little; in a normalised space the brain varies little, and
    the ratio as the table does. Spreads are robust, so that neither a few scans of another space nor a few typing
    errors in the table decide for the others; those are named. A scan disagrees if its ratio (its brain, in normalised
    space) differs from the median by more than five robust standard deviations, and by more than 10 %.

    Args:
        brain_ml: Brain-mask volume of each scan in mL, (N,), NaN where there is none.
        table_ml: Sum of the tissue volumes, or the intracranial volume, of the table in mL, (N,), NaN where missing.
    """
    both = np.isfinite(brain_ml) & np.isfinite(table_ml) & (brain_ml > 0) & (table_ml > 0)
    n = int(both.sum())
    ratio = np.full(len(both), np.nan)
    ratio[both] = brain_ml[both] / table_ml[both]
    slope = float(np.median(ratio[both])) if n else np.nan
    # Masks differ by up to a factor of about two; anything near a power of a thousand is a wrong unit.
    factor = 10.0 ** (3 * round(np.log10(slope) / 3)) if n else 1.0
    brain, table = np.log(brain_ml[both]), np.log(table_ml[both])
    if n < MIN_SCANS or np.ptp(brain) < 1e-9 or np.ptp(table) < 1e-9:
        return SpaceCheck("undecided", n, np.nan, slope, factor, each=("",) * len(both), ratio=ratio / factor)
    r = float(np.corrcoef(brain_ml[both], table_ml[both])[0, 1])
    spread = _robust_sd(brain - table)
    limit = _SMALL * _robust_sd(table)
    space: Space = "native" if spread < limit else "normalised" if _robust_sd(brain) < limit else "undecided"
    verdicts = np.full(len(both), "", dtype=object)
    if space != "undecided":
        values = brain - table if space == "native" else brain
        away = np.abs(values - np.median(values))
        verdicts[both] = np.where(away > max(_N_SDS * _robust_sd(values), _LEAST_DIFFERENCE), "disagrees", space)
    return SpaceCheck(space, n, r, slope, factor, spread, tuple(verdicts), ratio / factor)


def _robust_sd(values: FloatArray) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
