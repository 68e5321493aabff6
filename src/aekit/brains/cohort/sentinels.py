"""Numbers that stand for a missing value, such as -9999 or 999: missing where they cannot be true, else kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from aekit.brains.cohort.parsed import ColumnRepair

Rows = NDArray[np.bool_]
Floats = NDArray[np.float64]

# 7, 8 and 9 repeated, as survey and clinical software writes them; a single one only if it is negative.
_WHOLE = [int(digit * n) for digit in "789" for n in range(1, 8)]
_DECIMAL = [99.9, 99.99, 999.9, 999.99, 9999.9, 9999.99]
_KNOWN = np.array([*(-one for one in (*_WHOLE, *_DECIMAL)), *(one for one in _WHOLE if one > 9), *_DECIMAL], np.float64)
_MIN_REPEATED = 3  # times that an impossible value is there, and no other, to mean missing
_MIN_OTHERS = 3  # values that a column must have to tell what lies far from them
_KEPT = "kept, as it is possible, although"
_FAR_POSITIVE, _FAR_NEGATIVE = 2.0, 1.0  # in ranges of the others


def is_sentinel(values: Floats) -> Rows:
    """Return which numbers are usual marks of a missing value, (N,): -9999, -999, -99, -9, 99, 999, 8888, 99.9 ..."""
    return np.asarray(np.isin(values, _KNOWN))


def is_sentinel_text(text: str) -> bool:
    """Return whether a code is a mark of a missing value; a single digit is a code."""
    try:
        return bool(is_sentinel(np.array([float(text)]))[0])
    except ValueError:
        return False


def impossible_means_missing(values: Floats, impossible: Rows) -> Rows:
    """Return which impossible values mean missing, (N,): known marks, or one value that repeats and is the only one.

    Args:
        values: A column, (N,), NaN where missing.
        impossible: Which of them cannot be true, (N,).
    """
    known: Rows = impossible & is_sentinel(values)
    others = impossible & ~known
    n_others = int(others.sum())
    # Ages in another unit are impossible too, but differ; a mark of missing values is always the same.
    if n_others >= _MIN_REPEATED and 2 * n_others < np.isfinite(values).sum() and np.ptp(values[others]) == 0:
        known |= others
    else:  # among ages in days, 999 is one of many
        known &= (values < 0) | (values > values[others].max(initial=0))
    return known


def far_sentinels(values: Floats, n_ranges: float = 1.0) -> Rows:
    """Return which marks of a missing value lie far from all other values of a column, (N,).

    Args:
        values: A column, (N,), NaN where missing.
        n_ranges: How far: times the range of the others, or half of the largest of them if that is more.
    """
    marks = is_sentinel(values)
    others = values[np.isfinite(values) & ~marks]
    if not marks.any() or len(others) < _MIN_OTHERS:
        return np.zeros(len(values), bool)
    low, high = float(others.min()), float(others.max())
    scale = max(high - low, 0.5 * max(abs(low), abs(high)))
    with np.errstate(invalid="ignore"):
        marks &= np.maximum(low - values, values - high) > n_ranges * scale
    return marks


def read_scores(name: str, texts: Sequence[str], values: Floats) -> tuple[Rows, list[ColumnRepair]]:
    """Return which marks of a column of unknown meaning are missing, (N,), and what is to be told about all of them."""
    missing = far_sentinels(values, _FAR_POSITIVE) | (far_sentinels(values, _FAR_NEGATIVE) & (values < 0))
    odd = _only_negative(values)
    if odd.any() and np.unique(values[odd], return_counts=True)[1].min() > 1:
        missing |= odd
    far = far_sentinels(values) & ~missing
    told = tell_missing(name, texts, missing) + tell_kept(name, texts, far)
    return missing, told + _told(texts, odd & ~missing & ~far, f"{name}: {{}} {_KEPT} no other value is negative")


def _only_negative(values: Floats) -> Rows:
    """Return the negative marks of a column that has no other negative values, (N,)."""
    marks = is_sentinel(values)
    others = values[np.isfinite(values) & ~marks]
    return marks & (values < 0) & bool(len(others) >= _MIN_OTHERS and others.min() >= 0)


def tell_missing(name: str, texts: Sequence[str], rows: Rows) -> list[ColumnRepair]:
    """Return which marks of a column were read as missing."""
    return _told(texts, rows, f"{name}: {{}} read as missing")


def tell_kept(name: str, texts: Sequence[str], rows: Rows) -> list[ColumnRepair]:
    """Return which marks of a column were kept, as they may be true."""
    return _told(texts, rows, f"{name}: {{}} {_KEPT} far from the other values")


def _told(texts: Sequence[str], rows: Rows, what: str) -> list[ColumnRepair]:
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    numbers: Iterable[int] = np.flatnonzero(rows).tolist()
    for row in numbers:
        rows_of[texts[row]].append(row)
    return [ColumnRepair(what.format(text), found) for text, found in rows_of.items()]
