"""The texts of a column -> numbers and ages: whatever has only one possible meaning is corrected."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from aekit.brains.cohort.parsed import MISSING_NUMBER, BadValue, ColumnRepair, Parsed
from aekit.brains.cohort.sentinels import far_sentinels, impossible_means_missing, tell_kept, tell_missing
from aekit.brains.cohort.units import YEARS_PER_UNIT, stated_unit

AGE_RANGE_YEARS = (0.0, 120.0)

PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_SPACED = re.compile(r"[+-]?\d{1,3}([ '\u2019\u00a0\u202f]\d{3})+([.,]\d+)?", re.ASCII)
_COMMA_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}((,\d{3}){2,}(\.\d*)?|,\d{3}\.\d*)", re.ASCII)  # 1,234,567 and 1,234.5
_DOT_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}((\.\d{3}){2,}(,\d*)?|\.\d{3},\d*)", re.ASCII)  # 1.234.567 and 1.234,5
_ONE_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
_COMMA_EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)  # 612,345: a fraction or thousands
_DOT_EITHER = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}", re.ASCII)
_AGE = re.compile(
    r"(?P<above>>=?|≥)?\s*(?P<number>[\d.,]+)\s*(?P<plus>\+)?\s*(?P<unit>(years?|yrs?|y)\.?(\s*old)?|y\.?o\.?|jahre|(?P<short>months?|mos?|monate?|weeks?|wks?|wochen?|days?|tage?)"
    r"\.?(\s*old)?)?",
    re.ASCII | re.IGNORECASE,
)


def is_comma_decimal(texts: Iterable[str]) -> bool | None:
    """Return whether a comma in these numbers is a decimal comma, or None if that is unclear.

    Args:
        texts: Values of all numeric columns of a table; other values do no harm.
    """
    with_comma = [text for text in texts if "," in text]
    decimal = any(
        _DOT_GROUPS.fullmatch(text) or (_ONE_COMMA.fullmatch(text) and not _COMMA_EITHER.fullmatch(text))
        for text in with_comma
    )
    thousands = any(_COMMA_GROUPS.fullmatch(text) for text in with_comma)
    return None if decimal == thousands else decimal


def read_numbers(texts: Sequence[str], name: str, *, is_decimal: bool | None) -> Parsed:
    """Return the numbers of a column, float64 (N,), NaN where missing.

    Args:
        texts: N stripped texts.
        name: Name of the column, for messages.
        is_decimal: Whether a comma is a decimal comma; None if unknown, and then 612,345 is bad.
    """
    values = np.full(len(texts), np.nan)
    repaired: defaultdict[str, list[int]] = defaultdict(list)
    bad: list[BadValue] = []
    has_dot_groups = any(_DOT_GROUPS.fullmatch(text) for text in texts if text.count(".") + text.count(",") > 1)
    for row, text in enumerate(texts):
        if PLAIN.fullmatch(text) and not (has_dot_groups and _DOT_EITHER.fullmatch(text)):
            values[row] = float(text)
        elif text.lower() not in MISSING_NUMBER:
            number, what = _odd_number(text, is_decimal)
            if number is None:
                bad.append(BadValue(row, name, text, what))
            else:
                values[row] = number
                repaired[f"{name}: {what}"].append(row)
    too_large = np.isinf(values)  # 1e999
    bad += [BadValue(row, name, texts[row], "is not a number") for row in np.flatnonzero(too_large).tolist()]
    values[too_large] = np.nan
    return Parsed(values, tuple(ColumnRepair(what, rows) for what, rows in repaired.items()), tuple(bad))


def _odd_number(text: str, is_decimal: bool | None) -> tuple[float | None, str]:
    """Return a number in an unusual notation and what was corrected, or None and what is wrong with it."""
    if _SPACED.fullmatch(text):
        return float(re.sub(r"[ '\u2019\u00a0\u202f]", "", text).replace(",", ".")), "thousands separators removed"
    if _DOT_GROUPS.fullmatch(text) and is_decimal is not False:
        return float(text.replace(".", "").replace(",", ".")), "decimal commas and thousands dots read"
    if _COMMA_GROUPS.fullmatch(text) and is_decimal is not True:
        return float(text.replace(",", "")), "thousands separators removed"
    if _COMMA_EITHER.fullmatch(text) and is_decimal is False:
        return float(text.replace(",", "")), "thousands separators removed"
    if _COMMA_EITHER.fullmatch(text) and is_decimal is None:
        return None, "could have a decimal comma or a thousands separator"
    if _DOT_EITHER.fullmatch(text):
        return None, "could have a decimal point or a thousands separator, as other values have one"
    if _ONE_COMMA.fullmatch(text) and is_decimal is not False:
        return float(text.replace(",", ".")), "decimal commas read"
    return None, "is not a number"


def read_ages(texts: Sequence[str], *, is_decimal: bool | None, unit: str = "years", source: str = "") -> Parsed:
    """Return ages in years, float64 (N,), NaN where missing: 34.5, 34,5, 34y, 034Y, 34 years, 89+, >89, 18 months.

    Args:
        texts: N stripped texts.
        is_decimal: As in :func:`read_numbers`; if unknown, a comma is a decimal comma: no age has thousands.
        unit: Unit of numbers without one of their own.
        source: What states that unit, for messages; empty for the header.
    """
    bare, units = list(texts), [unit] * len(texts)
    repaired: defaultdict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        if text and not (text[0].isdigit() and text[-1].isdigit()) and (match := _AGE.fullmatch(text)):
            bare[row] = match["number"]
            if match["unit"]:
                units[row] = stated_unit(match["short"], "age") if match["short"] else "years"
            if match["above"] or match["plus"]:
                repaired[f"age: {text} read as {match['number']}"].append(row)
            elif match["unit"] and units[row] == "years":
                repaired["age: the unit after the number dropped, as in 34y"].append(row)
    numbers = read_numbers(bare, "age", is_decimal=True if is_decimal is None else is_decimal)
    values, bad = numbers.values, [BadValue(one.row, "age", texts[one.row], one.reason) for one in numbers.bad]
    values = values * np.array([YEARS_PER_UNIT[one] for one in units])
    for row in np.flatnonzero(np.isfinite(values)).tolist():
        if units[row] != "years":
            what = f"age: {units[row]} converted to years"
            repaired[what + (f", as {source} says" if source and units[row] == unit else "")].append(row)
    low, high = AGE_RANGE_YEARS
    outside = (values < low) | (values > high)
    missing = impossible_means_missing(numbers.values, outside)
    kept = far_sentinels(numbers.values) & ~outside
    told = (*tell_missing("age", texts, missing), *tell_kept("age", texts, kept))
    outside, values[missing] = outside & ~missing, np.nan
    reason = f"is outside {low:g}-{high:g} years"
    bad += [BadValue(row, "age", texts[row], reason) for row in np.flatnonzero(outside).tolist()]
    values[outside] = np.nan
    repairs = tuple(ColumnRepair(what, rows) for what, rows in repaired.items())
    return Parsed(values, (*repairs, *numbers.repairs, *told), tuple(bad))
