"""Who is in new scans: the rows of a table of participants, and controls of the same scanner as a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aekit.brains.cohort.scans import match_names
from aekit.brains.cohort.table import Cohort, read_cohort
from aekit.brains.measures.recalibration import LEAST
from aekit.core.progress import Progress
from aekit.core.text_table import named
from aekit.errors import AekitError, count, shown

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

_SAME_AGE_YEARS = 0.5  # ages of two tables that differ by less are rounded


@dataclass(frozen=True)
class ScanTables:
    """Tables that say who is in new scans.

    Attributes:
        table: Participants; None for none.
        reference: Controls of the scanner of these scans, with their ages; None for none.
        pattern: Where the id is in the names of files; None searches each name for an id.
    """

    table: Path | None = None
    reference: Path | None = None
    pattern: str | None = None

    def __post_init__(self) -> None:
        """Check that a pattern has something to match."""
        if self.pattern is not None and self.table is None and self.reference is None:
            raise AekitError("--pattern: finds the ids of a table in the names of files; give --table or --reference")


NO_TABLES = ScanTables()


@dataclass(frozen=True)
class ScanPeople:
    """Who is in n scans.

    Attributes:
        ids: participant_id, objects (n,); empty where a scan has no row.
        age_years: True ages, (n,), NaN where unknown.
        is_reference: Who belongs to the reference, (n,).
    """

    ids: npt.NDArray[np.object_]
    age_years: Floats
    is_reference: npt.NDArray[np.bool_]

    def take(self, rows: Rows) -> ScanPeople:
        """Return those of some scans."""
        return ScanPeople(self.ids[rows], self.age_years[rows], self.is_reference[rows])

    def without_reference(self, rows: npt.NDArray[np.bool_]) -> ScanPeople:
        """Return the same, with those marked in ``rows``, (n,), no longer in the reference."""
        return replace(self, is_reference=self.is_reference & ~rows)


def match_people(tables: ScanTables, files: Sequence[Path], *, skip_bad: bool, progress: Progress) -> ScanPeople | None:
    """Return who is in each scan, or None without tables; rows without scans and scans without rows are named.

    Args:
        tables: The tables.
        files: The scans, n of them.
        skip_bad: Leave out rows of tables that cannot be used.
        progress: Told what is missing and corrected.

    Raises:
        AekitError: A table cannot be used or has none of the scans, or two tables give different ages.
    """
    if tables.table is None and tables.reference is None:
        return None
    people = ScanPeople(np.full(len(files), "", object), np.full(len(files), np.nan), np.zeros(len(files), np.bool_))
    if tables.table is not None:
        _add(people, tables.table, files, tables, "--table", skip_bad=skip_bad, progress=progress)
    if tables.reference is not None:
        rows = _add(people, tables.reference, files, tables, "--reference", skip_bad=skip_bad, progress=progress)
        with_age = [row for row in rows if np.isfinite(people.age_years[row])]
        people.is_reference[with_age] = True
        check_reference(len(with_age), tables.reference)
    without = [files[row].name for row in np.flatnonzero(people.ids == "").tolist()]
    if without:
        progress.notice(f"{count(len(without), 'scan')} without a row in the table: {named(without)}")
    return people


def check_reference(n: int, table: Path, what: str = "a usable scan among those given") -> None:
    """Raise an AekitError if there are too few reference participants, who have an age and ``what``."""
    if n < LEAST:
        raise AekitError(
            f"--reference: {shown(table.name)} has {count(n, 'participant')} with an age and {what}, "
            f"at least {LEAST} are needed, better 20"
        )


def _add(
    people: ScanPeople,
    path: Path,
    files: Sequence[Path],
    tables: ScanTables,
    option: str,
    *,
    skip_bad: bool,
    progress: Progress,
) -> list[int]:
    """Write the ids and ages of a table into ``people``, and return the scans that it has."""
    need = ("participant_id", "age") if option == "--reference" else ("participant_id",)
    cohort = read_cohort(path, need=need, skip_bad=skip_bad)
    _report(cohort, progress)
    place = {file: row for row, file in enumerate(files)}
    found = [None if file is None else place[file] for file in match_names(cohort, files, pattern=tables.pattern)]
    ids = [str(one) for one in cohort.table["participant_id"]]
    rows = [row for row in found if row is not None]
    if not rows:
        raise AekitError(
            f"{option}: none of the scans is of a participant of {shown(cohort.name)}; an id is '{shown(ids[0])}' and "
            f"a file '{shown(files[0].name)}', show with --pattern where the id is, as in '{{id}}_T1w.nii.gz'"
        )
    if missing := [one for one, row in zip(ids, found, strict=True) if row is None]:
        progress.notice(f"{cohort.name}: {count(len(missing), 'row')} without a scan: {named(missing)}")
    ages = cohort.age_years
    if no_age := [one for one, row, age in zip(ids, found, ages, strict=True) if row is not None and age != age]:
        progress.notice(f"{cohort.name}: no age: {named(no_age)}")
    for own, row in enumerate(found):
        if row is None:
            continue
        if people.ids[row] and people.ids[row] != ids[own]:
            raise AekitError(
                f"{option}: {shown(files[row].name)} is of {shown(people.ids[row])} in one table and of "
                f"{shown(ids[own])} in the other; fix the ids"
            )
        if abs(people.age_years[row] - ages[own]) > _SAME_AGE_YEARS:
            raise AekitError(
                f"{option}: {shown(ids[own])} is {people.age_years[row]:.1f} years old in one table and "
                f"{ages[own]:.1f} in the other; fix one of them"
            )
        people.ids[row] = ids[own]
        people.age_years[row] = ages[own] if np.isfinite(ages[own]) else people.age_years[row]
    return rows


def _report(cohort: Cohort, progress: Progress) -> None:
    for repair in cohort.repairs:
        examples = f": {', '.join(repair.examples)}" if repair.examples else ""
        progress.notice(f"{cohort.name}: {repair.what} ({repair.n:,}{examples})")
    if len(cohort.left_out):
        progress.notice(f"{cohort.name}: rows left out: {named(cohort.left_out['participant_id'])}")
