"""The texts of a column -> numbers, ages, sexes and volumes: whatever has only one possible meaning is corrected."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aekit.brains.cohort.units import ML_PER_UNIT, PROPORTIONS, YEARS_PER_UNIT, stated_unit

MISSING = frozenset({"", "n/a", "na", "nan", "#n/a", "null", "#null!"})
# In a column of numbers or sexes these mean missing too; in other columns they might be an answer.
MISSING_NUMBER = MISSING | {"none", ".", "-", "--", "?", "missing"}
AGE_RANGE_YEARS = (0.0, 120.0)

_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
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
_FEMALE = "f female females fem woman women girl girls w weiblich frau femenino feminino féminin femme mujer femmina 女"
_MALE = "m male males masc man men boy boys männlich maennlich mann masculino masculin homme hombre maschio 男"
_SEXES = dict.fromkeys(_FEMALE.split(), "F") | dict.fromkeys(_MALE.split(), "M")
# A coding is recognised by the number that the other one lacks: 1 alone is ambiguous.
_CODINGS = (({"1": "M", "2": "F"}, "2"), ({"0": "F", "1": "M"}, "0"))
_OTHER = frozenset({"o", "other", "u", "unk", "unknown", "x", "d", "diverse", "non-binary", "nonbinary", "intersex"})
_NOTED = re.compile(r"(?P<code>\d)\s*[=:.(\[-]+\s*(?P<word>[^\W\d_]+)\s*[)\]]?")  # 1=male, 2 (F)
_NOTED_BACK = re.compile(r"(?P<word>[^\W\d_]+)\s*[=:]\s*(?P<code>\d)")  # male=1
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


@dataclass(frozen=True)
class ColumnRepair:
    """What was corrected in a column: as :class:`aekit.core.text_table.Repair`, but with rows."""

    what: str
    rows: Sequence[int]


@dataclass(frozen=True)
class BadValue:
    """A value that cannot be used: its row, its column, its text, and the reason."""

    row: int
    column: str
    value: str
    reason: str


@dataclass(frozen=True)
class Parsed:
    """A column that was parsed.

    Attributes:
        values: (N,), float64 with NaN, or objects; bad values are missing.
        repairs: What was corrected.
        bad: What could not be corrected.
    """

    values: NDArray[Any]
    repairs: tuple[ColumnRepair, ...] = ()
    bad: tuple[BadValue, ...] = ()


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
        if _PLAIN.fullmatch(text) and not (has_dot_groups and _DOT_EITHER.fullmatch(text)):
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
    reason = f"is outside {low:g}-{high:g} years"
    bad += [BadValue(row, "age", texts[row], reason) for row in np.flatnonzero(outside).tolist()]
    values[outside] = np.nan
    repairs = tuple(ColumnRepair(what, rows) for what, rows in repaired.items())
    return Parsed(values, (*repairs, *numbers.repairs), tuple(bad))


def sex_of_words(text: str) -> str:
    """Return "F" or "M" if the words of a text name one sex, as in ``male participant``; else an empty text."""
    found = {sex for word in re.findall(r"[^\W\d_]+", text.lower()) if (sex := _SEXES.get(word))}
    return found.pop() if len(found) == 1 else ""


def read_sexes(
    texts: Sequence[str], header: str = "sex", *, stated: Mapping[str, str] | None = None, source: str = ""
) -> Parsed:
    """Return sexes as "F" and "M", objects (N,), NaN where missing or neither.

    Numbers are read by a note in the header (``SEX (1=m, 2=f)``) or in other values (``1=male``), else as
    1 male, 2 female (IXI and UK codings), or as 0 female, 1 male.

    Args:
        texts: N stripped texts.
        header: Name of the column as it is written.
        stated: Code in lower case -> "F", "M", or empty for neither, as stated elsewhere; goes before everything else.
        source: What states it, for messages.

    Raises:
        ValueError: The meaning of numbers is unclear. The message names them, without the name of the table.
    """
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        rows_of[text].append(row)
    values = np.full(len(texts), np.nan, dtype=object)
    stated = stated or {}
    codes = _sex_codes([text for text in rows_of if _stated_key(text, stated) is None], header)
    repaired: defaultdict[str, list[int]] = defaultdict(list)
    for text, key in [(text, _stated_key(text, stated)) for text in rows_of]:
        if key is not None:
            rows, meant = rows_of.pop(text), stated[key]
            values[rows] = meant or np.nan
            if text != meant and key not in MISSING_NUMBER:
                meaning = {"F": "female", "M": "male"}.get(meant, "missing")
                repaired[f"sex: {text} read as {meaning}, as {source} says"] += rows
    coding = ", ".join(f"{code} = {'female' if sex == 'F' else 'male'}" for code, sex in sorted(codes.items()))
    bad: list[BadValue] = []
    for text, rows in rows_of.items():
        word = _sex_word(text)
        sex = codes.get(word) or _SEXES.get(word)
        if sex is not None:
            values[rows] = sex
            if text != sex:
                repaired[f"sex: coded {coding}" if word in codes else f"sex: {text} read as {sex}"] += rows
        elif word in _OTHER:
            repaired[f"sex: {text} read as missing"] += rows
        elif word not in MISSING_NUMBER:
            reason = "is a number among words" if word.isdigit() else "is neither F nor M"
            bad += [BadValue(row, "sex", text, reason) for row in rows]
    return Parsed(values, tuple(ColumnRepair(what, rows) for what, rows in repaired.items()), tuple(bad))


def _stated_key(text: str, stated: Mapping[str, str]) -> str | None:
    """Return the code in ``stated`` that a text is, also as 1.0 for 1, or None."""
    key = text.lower()
    if key not in stated and re.fullmatch(r"\d+\.0*", key):
        key = key.partition(".")[0]
    return key if key in stated else None


def _sex_word(text: str) -> str:
    """Return the word or number of a sex: in lower case, without the number of a note, or the .0 of a number."""
    match = _NOTED.fullmatch(text)
    word = (match["word"] if match else text).lower()
    return word[0] if re.fullmatch(r"\d\.0*", word) else word


def _sex_codes(texts: Iterable[str], header: str) -> dict[str, str]:
    """Return the meaning of each number among sexes; empty if there are none, or if only words tell the sex."""
    words = {_sex_word(text) for text in texts}
    numbers = {word for word in words if _PLAIN.fullmatch(word)}
    if not numbers:
        return {}
    noted = {}
    for match in (*(_NOTED.fullmatch(text) for text in texts), *_notes(header)):
        if match and (sex := _SEXES.get(match["word"].lower())):
            noted[match["code"]] = sex
    if numbers <= set(noted):
        return noted
    for coding, telling in _CODINGS:
        is_clear = bool(noted) or (telling in numbers and not words & set(_SEXES) and _agrees(coding, header))
        if is_clear and numbers <= set(coding) and noted.items() <= coding.items():
            return coding
    if words & set(_SEXES):
        return {}
    raise ValueError(
        f"sex is coded by {', '.join(sorted(numbers))}, whose meaning is unclear; write F and M, or rename the column, "
        "for example to 'sex (1=m, 2=f)'"
    )


def _agrees(coding: Mapping[str, str], header: str) -> bool:
    """Return whether a header names the sexes in the order of the numbers, as M/F for 1 male, 2 female, or not both."""
    order = "".join(sex for word in re.findall(r"[^\W\d_]+", header.lower()) if (sex := _SEXES.get(word)))
    return order not in ("MF", "FM") or order == "".join(coding[code] for code in sorted(coding))


def _notes(header: str) -> list[re.Match[str]]:
    """Return the notes of a header, as in (1=m, 2=f) or (m=1, f=2)."""
    return list(_NOTED.finditer(header)) or list(_NOTED_BACK.finditer(header))


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
    bad = [
        BadValue(int(row), names[tissue], texts[tissue][row], "is not above zero")
        for row, tissue in np.argwhere(values <= 0)
    ]
    values = np.where(values > 0, values, np.nan)
    units, repairs = _known_units(values, names, list(units) or [""] * len(names), source)
    ml = values * np.array([ML_PER_UNIT[unit] for unit in units])
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
