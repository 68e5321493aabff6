"""How the cohort report writes numbers, names and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from aekit.brains.report.analysis import LABELS
from aekit.core.intervals import Interval
from aekit.errors import count
from aekit.plotting.html import Block, Picture

N_LISTED = 20


def picture(pictures: Mapping[str, bytes], name: str, alt: str, caption: str) -> list[Block]:
    """Return a figure of the report, or nothing if the cohort has no such figure."""
    return [Picture(pictures[name], alt, caption)] if name in pictures else []


def measure_name(kind: str, key: str) -> str:
    """Return the name of a measure, as ``grey matter`` or ``grey matter, proportion``."""
    return LABELS[key] if kind == "volumes" else f"{LABELS[key]}, proportion"


def signed(value: float) -> str:
    """Return a number with its sign and two decimals; an empty text for NaN."""
    return "" if value != value else f"{value:+.2f}"


def ends(interval: Interval) -> str:
    """Return the ends of an interval; an empty text for NaN."""
    return "" if interval.low != interval.low else f"{interval.low:.2f} to {interval.high:.2f}"


def p_value(p: float) -> str:
    """Return a p value as it is usually written."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def count_participants(n: int) -> str:
    """Return ``1 participant`` or ``n participants``."""
    return count(n, "participant")


def count_files(n: int) -> str:
    """Return ``1 file`` or ``n files``."""
    return count(n, "file")


def in_words(names: Sequence[str]) -> str:
    """Return names as a part of a sentence: ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def some_names(names: Sequence[str]) -> str:
    """Return the first twenty names and the number of the others."""
    more = f" and {len(names) - N_LISTED} more" if len(names) > N_LISTED else ""
    return ", ".join(names[:N_LISTED]) + more


def first_of(rows: Sequence[object] | pd.DataFrame, what: str) -> str:
    """Return a caption that tells if only the first rows are listed."""
    return f"{what}: the first {N_LISTED} of {len(rows):,}." if len(rows) > N_LISTED else f"{what}."
