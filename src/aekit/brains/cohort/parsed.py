"""What becomes of the texts of a column: values, what was corrected, and what cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

MISSING = frozenset({"", "n/a", "na", "nan", "#n/a", "null", "#null!"})
# In a column of numbers or sexes these mean missing too; in other columns they might be an answer.
MISSING_NUMBER = MISSING | {"none", ".", "-", "--", "?", "missing"}


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
