"""Columns of tissue volumes -> mL, from litres, mL or mm^3; what may be proportions is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aekit.brains.cohort.parsed import BadValue, ColumnRepair, Parsed
from aekit.brains.cohort.sentinels import (
    far_sentinels,
    impossible_means_missing,
    tell_kept,
    tell_missing,
)
from aekit.brains.cohort.units import ML_PER_UNIT, PROPORTIONS

_MOST_ML = 2500.0  # of one tissue
_MAX_RATIO = 100.0  # no one's tissue volume is this many times the median
_MIN_FRACTION = 0.005  # of a tissue in all three; a column in a different unit has a thousandth
# Litres below these may as well be proportions. IXI, two tables, medians in litres: gmv 0.71 and 0.60, wmv 0.55 and
# 0.52, csfv 0.16 and 0.23, gmv + wmv 1.27 and 1.13; as proportions 0.50 and 0.45, 0.38 and 0.39, 0.11 and 0.17, 0.89
# and 0.84; of a total measured otherwise, the three add up to 0.9 to 1.05.
_LEAST_LITRES = {
    frozenset({"gmv"}): 0.56,
    frozenset({"wmv"}): 0.43,
    frozenset({"csfv"}): 0.35,
    frozenset({"gmv", "wmv"}): 0.92,
    frozenset({"gmv", "csfv"}): 0.75,
    frozenset({"wmv", "csfv"}): 0.65,
}
_LEAST_LITRES_OF_ALL = 1.08
_MOST_LITRES, _LEAST_ML = 3.0, 105.0  # between them are percentages
_STATED_RANGE_ML = (5.0, 5e3)  # of a sum in a unit that the table states
_ROUNDED = 0.025  # of a sum of three proportions with two decimals


def read_volumes_ml(
    values: NDArray[np.float64],
    texts: Sequence[Sequence[str]],
    names: Sequence[str],
    units: Sequence[str] = (),
    source: str = "",
) -> Parsed:
    """Return tissue volumes in mL, float64 (N, P), from litres, mL or mm^3.

    Args:
        values: Volumes in the unit of the table, (N, P), NaN where missing.
        texts: The same as text, P columns of N.
        names: Names of the P columns.
        units: Unit of each column, P of them; empty where the table states none, and then their sum over tissues
            suggests it.
        source: What states the units, for messages; empty for the headers.

    Raises:
        ValueError: The unit is unclear, or the stated one cannot be right. The message gives the reason, without the
            name of the table.
    """
    missing = np.column_stack([impossible_means_missing(column, column <= 0) for column in values.T])
    bad = [
        BadValue(int(row), names[tissue], texts[tissue][row], "is not above zero")
        for row, tissue in np.argwhere((values <= 0) & ~missing)
    ]
    values = np.where(values > 0, values, np.nan)
    far = np.column_stack([far_sentinels(column) for column in values.T])
    known = np.where(far, np.nan, values)  # marks of missing values say nothing about units
    units, repairs = _known_units(known, names, list(units) or [""] * len(names), source)
    ml = values * np.array([ML_PER_UNIT[unit] for unit in units])
    missing |= far & _cannot_be(ml, known * np.array([ML_PER_UNIT[unit] for unit in units]))
    ml[missing] = np.nan
    for tissue, name in enumerate(names):
        repairs += tell_missing(name, texts[tissue], missing[:, tissue])
        repairs += tell_kept(name, texts[tissue], (far & ~missing)[:, tissue])
    # A value in another unit is a thousand times larger or smaller than the others in its column.
    ratio = ml / np.array(
        [np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else 1 for column in ml.T]
    )
    for row, tissue in np.argwhere((ratio > _MAX_RATIO) | (ratio < 1 / _MAX_RATIO)):
        reason = f"is not in {units[tissue]}, as most others seem to be"
        bad.append(BadValue(int(row), names[tissue], texts[tissue][row], reason))
        ml[row, tissue] = np.nan
    for unit in dict.fromkeys(units):
        places = [place for place, one in enumerate(units) if one == unit]
        repaired = np.flatnonzero(np.isfinite(ml[:, places]).any(axis=1)).tolist()
        if unit != "mL" and repaired:
            what = f"{', '.join(names[place] for place in places)}: {unit} converted to mL"
            repairs.append(ColumnRepair(what + (f", as {source} says" if source else ""), repaired))
    return Parsed(ml, tuple(repairs), tuple(bad))


def _cannot_be(ml: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which volumes no brain has, (N, P), or none of this kind: a twentieth of the median of the others."""
    medians = [np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else 0.0 for column in others.T]
    with np.errstate(invalid="ignore"):
        return np.asarray((ml > _MOST_ML) | (ml < np.array(medians) / 20))


def _known_units(
    values: NDArray[np.float64], names: Sequence[str], units: list[str], source: str
) -> tuple[list[str], list[ColumnRepair]]:
    """Return the unit of each column, and where a stated one differs from what the values suggest."""
    repairs = []
    for is_stated in (True, False):
        places = [place for place, unit in enumerate(units) if bool(unit) == is_stated]
        if not places:
            continue
        whole, of = _whole_rows(values[:, places]), [names[place] for place in places]
        if is_stated and len(whole):
            own = [units[place] for place in places]
            _check_stated(whole, of, own)
            if source and (seems := _guess(whole, of)) not in own:
                what = f"{', '.join(of)}: in {own[0]}, as {source} says, although the values look like {seems}"
                repairs.append(ColumnRepair(what, np.flatnonzero(np.isfinite(values[:, places]).any(axis=1)).tolist()))
        elif not is_stated:
            guessed = _volume_unit(whole, of) if len(whole) else "mL"
            units = [unit or guessed for unit in units]
    return units, repairs


def _whole_rows(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rows without a missing value, or if there are none, those with a value."""
    whole = values[np.isfinite(values).all(axis=1)]
    return whole if len(whole) else values[np.isfinite(values).any(axis=1)]


def _check_stated(volumes: NDArray[np.float64], names: Sequence[str], units: Sequence[str]) -> None:
    total_ml = float(np.median(np.nansum(volumes * np.array([ML_PER_UNIT[unit] for unit in units]), axis=1)))
    low, high = _STATED_RANGE_ML
    if set(names) == {"csfv"}:  # FreeSurfer's is about 1 mL
        low /= 50
    if not low <= total_ml <= high:
        stated = " and ".join(dict.fromkeys(units))
        raise ValueError(
            f"{' + '.join(names)} has a median of {total_ml:.4g} mL if in {stated}, as stated; correct the unit, or "
            "give mL"
        )


def _guess(volumes: NDArray[np.float64], names: Sequence[str]) -> str:
    try:
        return _volume_unit(volumes, names)
    except ValueError:
        return PROPORTIONS


def _volume_unit(volumes: NDArray[np.float64], names: Sequence[str]) -> str:
    """Return the unit of volumes, (N, P), all in the same unit and with at least one number per row."""
    sums = np.nansum(volumes, axis=1)
    total, what = float(np.median(sums)), " + ".join(names)
    for whole, text in ((1.0, "one, so they are proportions"), (100.0, "100, so they are percentages")):
        if len(names) > 1 and np.mean(np.abs(sums / whole - 1) <= _ROUNDED) >= 0.9:
            raise ValueError(f"{', '.join(names)} add up to {text}; give volumes in mL")
    least = _LEAST_LITRES.get(frozenset(names), _LEAST_LITRES_OF_ALL)
    advice = f"give mL, or state the unit in the header, as in '{names[0]} (mL)' or '{names[0]} (L)'"
    if 0.03 <= total < least or _MOST_LITRES < total < _LEAST_ML:
        kind = "proportions" if total < least else "percentages"
        raise ValueError(
            f"{what} has a median of {total:.4g}, which looks like {kind}, not like litres or mL; {advice}"
        )
    limits = {"litres": (least, _MOST_LITRES), "mL": (_LEAST_ML, 3e4), "mm^3": (3e4, 3e7)}  # a brain: 1.4 litres
    unit = next((unit for unit, (low, high) in limits.items() if low <= total < high), None)
    if unit is None:
        raise ValueError(f"{what} has a median of {total:.4g}, not litres, mL or mm^3; give mL")
    for name, column in zip(names, volumes.T, strict=True):
        fraction = float(np.median(column[np.isfinite(column)])) / total if np.isfinite(column).any() else 1.0
        if fraction < _MIN_FRACTION:
            raise ValueError(
                f"{name} is only {fraction:.2g} of the total volume, as if in a different unit; give mL, or rename the "
                "column if it means something else"
            )
    return unit
