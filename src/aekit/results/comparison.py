"""Results next to reference values: rows with equal keys are averaged and joined, with difference and ratio."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

RESULT_COLUMNS = ("measure", "ours", "sd", "n", "study", "difference", "ratio")
MISSING = {"", "na", "nan", "n/a", "none", "null", "-", "\u2013", "\u2014"}

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf", re.ASCII)
_MINUS = "\u2212"  # the sign of mathematics; a hyphen is shorter than a plus
_MOST_DIGITS = 5  # significant digits that a reader compares
_MOST_DECIMALS = 8  # beyond, powers of ten are shorter


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results next to those of a study.

    Attributes:
        table: A row per key and measure, in the study's order: the keys as the study writes them, then ``measure``,
            ``ours`` (mean), ``sd`` (N - 1; missing for a single value), ``n`` (values averaged), ``study``,
            ``difference`` (ours - study) and ``ratio`` (ours / study; missing where the study has 0). Cells that the
            study leaves empty have no row.
        measures: The measures that the table has, in the order in which they were given.
        written: The study's value as it is written there, a text per row of ``table``.
        unmatched: Positions of the rows of the study whose key no row of ours has.
        n_averaged: The largest number of rows of ours that share a key.
    """

    table: pd.DataFrame
    measures: tuple[str, ...]
    written: list[str]
    unmatched: list[int]
    n_averaged: int


def to_number(text: str) -> float | None:
    """Return a cell as a number, NaN for an empty one (also ``NA``, ``nan`` or a dash), None for other text.

    A true minus sign is read as a hyphen; ``1_000``, ``5 %`` and ``1,5`` are text.
    """
    plain = text.strip().replace(_MINUS, "-")
    if plain.lower() in MISSING:
        return math.nan
    return float(plain) if _NUMBER.fullmatch(plain) else None


def as_key(text: str) -> str:
    """Return a cell of a key so that equal values are equal texts: 0.1 and 0.10, 10 and 10.0; other text unchanged.

    Nine significant digits count, as many as result tables have; whole numbers count to the last digit.
    """
    plain = text.strip()
    number = to_number(plain)
    if number is None or not math.isfinite(number):
        return plain
    if re.fullmatch(r"[+-]?\d+", plain.replace(_MINUS, "-")):
        return str(int(plain.replace(_MINUS, "-")))
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else f"{number:.9g}"


def compare_tables(ours: pd.DataFrame, study: pd.DataFrame, by: Sequence[str], measures: Sequence[str]) -> Comparison:
    """Return the means of our rows with equal keys next to the study's values.

    Args:
        ours: Results, a text per cell; columns ``by`` and ``measures`` and any others.
        study: The reference, a text per cell; no two rows have equal keys.
        by: Key columns, at least one. Cells match by :func:`as_key`.
        measures: Columns of numbers in both (:func:`to_number`), none of them a key.
    """
    keys = _keys(ours, by)
    values = pd.DataFrame({name: _floats(ours[name]) for name in measures}, index=ours.index)
    groups = values.groupby(keys, sort=False)
    means, spreads, counts = groups.mean(), groups.std(ddof=1), groups.count()
    rows: list[dict[str, Any]] = []
    written: list[str] = []
    study_keys = _keys(study, by)
    reference = {name: _floats(study[name]) for name in measures}
    for place, key in enumerate(study_keys):
        for name in measures:
            value = reference[name][place]
            if math.isnan(value):
                continue
            is_there = key in means.index
            mean = float(means.at[key, name]) if is_there else math.nan
            rows.append(
                dict(zip(by, study.iloc[place][list(by)], strict=True))
                | {
                    "measure": name,
                    "ours": mean,
                    "sd": float(spreads.at[key, name]) if is_there else math.nan,
                    "n": int(counts.at[key, name]) if is_there else 0,
                    "study": value,
                    "difference": mean - value,
                    "ratio": mean / value if value else math.nan,
                }
            )
            written.append(str(study[name].iloc[place]).strip())
    unmatched = [place for place, key in enumerate(study_keys) if key not in means.index]
    most = int(keys[keys.isin(set(study_keys))].value_counts().max()) if len(unmatched) < len(study) else 0
    table = pd.DataFrame(rows, columns=[*by, *RESULT_COLUMNS])
    measured = tuple(name for name in measures if name in set(table["measure"]))
    return Comparison(table, measured, written, unmatched, most)


def differing_columns(ours: pd.DataFrame, by: Sequence[str], candidates: Sequence[str]) -> list[str]:
    """Return those of the candidate columns in which rows with equal keys differ."""
    keys = _keys(ours, by)
    return [name for name in candidates if ours[name].map(as_key).groupby(keys).nunique().gt(1).any()]


def repeated_keys(table: pd.DataFrame, by: Sequence[str]) -> list[int]:
    """Return the positions of rows whose key an earlier row has."""
    return [int(place) for place in np.flatnonzero(_keys(table, by).duplicated())]


def wide_rows(comparison: Comparison, by: Sequence[str], *, names: tuple[str, str] = ("ours", "study")) -> pd.DataFrame:
    """Return the comparison for reading: a row per key, and three columns of text per measure.

    Digits are those of the study, at most five significant ones: a mean has at most as many decimals as the measure
    has in the study, with its standard deviation as ``12.3 ± 0.4``; a difference has a sign. A missing value is an
    empty text.

    Args:
        comparison: What :func:`compare_tables` returned.
        by: Its key columns.
        names: What the two sides are called.
    """
    table = comparison.table
    decimals = dict.fromkeys(comparison.measures, 0)
    for name, written in zip(table["measure"], comparison.written, strict=True):
        decimals[name] = max(decimals[name], _decimals(written))
    columns = [f"{name} {what}" for name in comparison.measures for what in (*names, "difference")]
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for row, written in zip(table.to_dict("records"), comparison.written, strict=True):
        key = tuple(str(row[name]) for name in by)
        cells = rows.setdefault(key, dict.fromkeys(columns, ""))
        texts = _texts(row, written, decimals[row["measure"]])
        cells |= {f"{row['measure']} {what}": text for what, text in zip((*names, "difference"), texts, strict=True)}
    whole = [[*key, *cells.values()] for key, cells in rows.items()]
    return pd.DataFrame(whole, columns=[*by, *columns])


def _keys(table: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """Return one text per row, equal where all key cells are; no cell holds the character between them."""
    parts = [table[name].map(as_key).reset_index(drop=True) for name in by]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined + "\x1f" + part
    return pd.Series(joined.to_numpy(), index=table.index, dtype=object)


def _floats(column: pd.Series) -> np.ndarray[Any, np.dtype[np.float64]]:
    numbers = [to_number(text) for text in column]
    if None in numbers:
        raise ValueError(f"{column.name} is not a column of numbers")
    return np.array(numbers, dtype=np.float64)


def _decimals(text: str) -> int:
    """Return how many decimals a number is written with: 2 for 1.50, and 1 for 15e-1."""
    mantissa, _, exponent = text.lower().partition("e")
    return max(0, len(mantissa.partition(".")[2]) - int(exponent or 0))


def _texts(row: dict[str, Any], written: str, decimals: int) -> tuple[str, str, str]:
    """Return our mean, the study's value and their difference with as many decimals as make sense."""
    largest = max((abs(v) for v in (row["ours"], row["study"]) if math.isfinite(v) and v), default=1.0)
    decimals = min(decimals, max(0, _MOST_DIGITS - 1 - math.floor(math.log10(largest))))
    ours = _text(row["ours"], decimals)
    if ours and row["n"] > 1:
        ours += f" \u00b1 {_text(row['sd'], decimals)}"
    difference = _text(row["difference"], decimals)
    if difference and row["difference"] > 0 and difference.strip("0.") != "":
        difference = f"+{difference}"
    is_short = _decimals(written) <= decimals  # digits that the study does not have are not invented
    study = written.replace("-", _MINUS, 1) if is_short and "e" not in written.lower() else None
    return ours, study or _text(row["study"], decimals), difference


def _text(value: float, decimals: int) -> str:
    if math.isnan(value):
        return ""
    text = f"{value:.{decimals}f}" if decimals <= _MOST_DECIMALS else f"{value:.2e}"
    return text.lstrip("-") if text.strip("-0.") == "" else text.replace("-", _MINUS, 1 if text[0] == "-" else 0)
