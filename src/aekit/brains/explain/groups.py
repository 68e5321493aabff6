"""Groups of scans, by a column of a table of participants."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from aekit.brains.cohort.scans import rows_of_files
from aekit.brains.cohort.table import Cohort, read_cohort
from aekit.core.text_table import named
from aekit.errors import AekitError, UsageError, count, nearest, shown

MAX_GROUPS = 8


@dataclass(frozen=True)
class Groups:
    """Groups of scans.

    Attributes:
        column: Of the table.
        of_path: Group of each scan; those without a value are not in it.
    """

    column: str
    of_path: dict[Path, str]

    @property
    def names(self) -> list[str]:
        """Return the groups in alphabetical order."""
        return sorted(set(self.of_path.values()))


def read_groups(table: Path | None, column: str | None, scans: Sequence[Path]) -> Groups | None:
    """Return the group of each scan; None without a table.

    Raises:
        UsageError: A table without a column, or a column without a table.
        AekitError: The table cannot be read, has no such column, or a scan has no row in it; or there are fewer than
            two or more than eight groups.
    """
    if table is None and column is None:
        return None
    if table is None:
        raise UsageError("--group: needs a table of participants; add --table")
    if column is None:
        raise UsageError("--table: is only read for groups; add --group with one of its columns")
    cohort = read_cohort(table)
    name = _find(cohort, column, table)
    row_of = rows_of_files(cohort, scans)
    missing = [scan.name for scan in scans if scan not in row_of]
    if missing:
        n = count(len(missing), "scan")
        raise AekitError(f"{table}: has no participant for {n}: {named(missing)}; leave them out, or add their rows")
    values = cohort.table[name]
    of_path = {scan: _text(values[row_of[scan]]) for scan in scans if not pd.isna(values[row_of[scan]])}
    groups = Groups(name, of_path)
    if not 2 <= len(groups.names) <= MAX_GROUPS:
        found = count(len(groups.names), "value")
        raise AekitError(f"--group {column}: has {found} among the scans; give a column with 2 to {MAX_GROUPS} groups")
    return groups


def _find(cohort: Cohort, column: str, table: Path) -> str:
    names = [str(name) for name in cohort.table]
    for name in names:
        if name.lower() == column.lower():
            return name
    hint = nearest(column, names, f"choose one of {', '.join(names)}")
    raise AekitError(f"--group: {shown(table)} has no column '{shown(column)}'{hint}")


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def file_name(group: str) -> str:
    """Return a group as part of a file name."""
    return re.sub(r"[^\w.+-]+", "_", group).strip("._") or "group"
