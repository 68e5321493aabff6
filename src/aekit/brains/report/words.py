"""How the report of ``aekit mri-eda`` writes numbers, names and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aekit.brains.report.study import LABELS

if TYPE_CHECKING:
    import pandas as pd

    from aekit.core.intervals import Interval
    from aekit.plotting.html import Block

N_LISTED = 20


def picture(pictures: Mapping[str, bytes], name: str, alt: str, caption: str) -> Block:
    """Return a figure of the report, or nothing where the cohort has none of that name."""
    from aekit.plotting.html import Paragraph, Picture

    return Picture(pictures[name], alt, caption) if name in pictures else Paragraph("")


def measure_name(kind: str, key: str) -> str:
    """Return what a measure is called in a table."""
    return LABELS[key] if kind == "volumes" else f"{LABELS[key]}, proportion"


def signed(value: float) -> str:
    """Return a number with its sign and two digits; nothing for NaN."""
    return "" if value != value else f"{value:+.2f}"


def ends(interval: Interval) -> str:
    """Return the ends of an interval; nothing for NaN."""
    return "" if interval.low != interval.low else f"{interval.low:.2f} to {interval.high:.2f}"


def p_value(p: float) -> str:
    """Return a p value as it is written."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def count_people(n: int) -> str:
    """Return ``1 person`` or ``n people``."""
    return "1 person" if n == 1 else f"{n:,} people"


def count_files(n: int) -> str:
    """Return ``1 file`` or ``n files``."""
    return "1 file" if n == 1 else f"{n:,} files"


def some_names(names: Sequence[str]) -> str:
    """Return names, the first twenty and how many more there are."""
    more = f" and {len(names) - N_LISTED} more" if len(names) > N_LISTED else ""
    return ", ".join(names[:N_LISTED]) + more


def first_of(rows: Sequence[object] | pd.DataFrame, what: str) -> str:
    """Return a caption that says if only the first rows are listed."""
    return f"{what}: the first {N_LISTED} of {len(rows):,}." if len(rows) > N_LISTED else f"{what}."
