"""The participants of a report: the table, less those who failed a quality check, and what happened on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from aekit.brains.cohort.table import Cohort, read_cohort
from aekit.brains.config import Sessions, TableColumns
from aekit.brains.report.quality import QualityMeasure, apply_quality_table
from aekit.core.text_rows import Repair
from aekit.core.text_table import named
from aekit.errors import AekitError, nearest


@dataclass(frozen=True, eq=False)
class CohortInput:
    """The participants of a report and how they were read.

    Attributes:
        cohort: The participants.
        everyone: The participants of the table, before those who failed the quality check are left out.
        repairs: What was corrected in the tables.
        left_out: Rows that were left out: participant_id, column, value and reason.
        qc_notes: What was found in the quality table, a sentence each.
        quality: Measures of the quality table.
        group: Column whose groups stay in one split; None for none.
    """

    cohort: Cohort
    everyone: Cohort
    repairs: Sequence[Repair]
    left_out: pd.DataFrame
    qc_notes: Sequence[str] = ()
    quality: Sequence[QualityMeasure] = ()
    group: str | None = None


def read_input(
    table: Path,
    *,
    qc: Path | None,
    group: str | None,
    skip_bad: bool,
    chosen: TableColumns | None = None,
    sessions: Sessions = "all",
) -> CohortInput:
    """Return the participants of a report.

    Args:
        table: Participants table.
        qc: Quality table; who failed is left out. None for none.
        group: Column whose groups stay in one split; None for none.
        skip_bad: Leave out rows that cannot be used, rather than fail.
        chosen: Columns of the participants table that options name.
        sessions: Which rows of a participant with several sessions are kept.

    Raises:
        AekitError: A table cannot be read, there is no such column, or fewer than two participants are left.
    """
    everyone = read_cohort(table, need=("participant_id", "age"), skip_bad=skip_bad, chosen=chosen, sessions=sessions)
    source = CohortInput(everyone, everyone, everyone.repairs, everyone.left_out, group=group)
    if qc is not None:
        checked = apply_quality_table(everyone, qc)
        parts = [each for each in (everyone.left_out, checked.rejected) if len(each)]
        source = CohortInput(
            checked.kept,
            everyone,
            (*everyone.repairs, *checked.repairs),
            pd.concat(parts, ignore_index=True) if parts else everyone.left_out,
            checked.notes,
            checked.measures,
            group,
        )
    _check_group(source.cohort, group)
    _check_size(source, table)
    return source


def _check_group(cohort: Cohort, group: str | None) -> None:
    if group is not None and group not in cohort.table:
        columns = list(map(str, cohort.table.columns))
        hint = nearest(group, columns) or "; give one of them"
        raise AekitError(f"--group: {cohort.name} has no column {group} (it has {named(columns)}){hint}")


def _check_size(source: CohortInput, table: Path) -> None:
    n = len(source.cohort)
    if n < 2:
        raise AekitError(
            f"{table}: {n} participant{' is' if n == 1 else 's are'} left of {len(source.everyone):,}, too few for a "
            "report; give a larger table or another --qc"
        )
