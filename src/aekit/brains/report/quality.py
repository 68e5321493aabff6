"""A quality table: who failed the check, and what its other columns measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.brains.cohort.session_names import person_of
from aekit.brains.cohort.table import Cohort, read_cohort
from aekit.brains.measures.cohort import correlate, describe
from aekit.brains.report.words import count_participants
from aekit.core.text_rows import Repair
from aekit.core.text_table import named
from aekit.errors import AekitError

_VERDICTS = dict.fromkeys(("1", "1.0", "pass", "true", "yes", "ok"), True)
_VERDICTS |= dict.fromkeys(("0", "0.0", "fail", "false", "no"), False)
_MAX_MEASURES = 20


class QualityMeasure(NamedTuple):
    """A numeric column of a quality table: its name, participants, mean, and correlation with age."""

    name: str
    n: int
    mean: float
    r_age: float


@dataclass(frozen=True, eq=False)
class CheckedCohort:
    """What a quality table makes of a cohort.

    Attributes:
        kept: The participants who did not fail.
        rejected: Those who did: participant_id, column, value and reason.
        notes: What was found, a sentence each.
        measures: Numeric columns of the quality table, at most twenty.
        repairs: What was corrected in the quality table.
    """

    kept: Cohort
    rejected: pd.DataFrame
    notes: Sequence[str]
    measures: Sequence[QualityMeasure]
    repairs: Sequence[Repair]


def apply_quality_table(cohort: Cohort, path: Path) -> CheckedCohort:
    """Return the participants of a cohort who did not fail a quality check; those it does not know are kept.

    Args:
        cohort: The participants.
        path: Table of participant_id, with or without ``sub-``, and qc; an id without a session stands for all of them.

    Raises:
        AekitError: It cannot be read, it knows nobody of the cohort, or a verdict is neither pass nor fail.
    """
    checked = read_cohort(path, need=("participant_id", "qc"))
    row_of = {_bare(one): row for row, one in enumerate(checked.table["participant_id"])}
    ids = [_bare(one) for one in cohort.table["participant_id"]]
    rows = [row_of.get(one, row_of.get(person_of(one))) for one in ids]
    if all(row is None for row in rows):
        ours, theirs = cohort.table["participant_id"].iloc[0], checked.table["participant_id"].iloc[0]
        raise AekitError(
            f"{path}: none of its ids (such as {theirs}) is in {cohort.name} (such as {ours}); use the same ids in both"
        )
    verdicts = _read_verdicts(checked, path)
    failed = np.array([row is not None and verdicts[row] is False for row in rows])
    rejected = pd.DataFrame(
        {
            "participant_id": cohort.table.loc[failed, "participant_id"].tolist(),
            "column": "qc",
            "value": "0",
            "reason": f"failed the quality check of {path.name}",
        }
    )
    kept = cohort.subset(~failed)
    own = [row for row, bad in zip(rows, failed, strict=True) if not bad]
    n_unknown = sum(row is None or verdicts[row] is None for row in rows)
    n_other = len(row_of) - len({row for row in rows if row is not None})
    notes = [
        f"{path.name}: {int(failed.sum()):,} of {count_participants(len(cohort))} failed the quality check, left out."
    ]
    if n_unknown:
        notes.append(f"{count_participants(n_unknown)} without a verdict in {path.name} kept.")
    if n_other:
        notes.append(f"{count_participants(n_other)} of {path.name} not in {cohort.name}.")
    return CheckedCohort(kept, rejected, notes, _measures(kept, checked, own), checked.repairs)


def _bare(one: object) -> str:
    return str(one).removeprefix("sub-")


def _read_verdicts(checked: Cohort, path: Path) -> list[bool | None]:
    """Return whether each row passed; None where the value is missing."""
    keys = ["" if value != value else str(value).strip().lower() for value in checked.table["qc"]]
    unknown = [row for row, key in enumerate(keys) if key and key not in _VERDICTS]
    if unknown:
        ids, values = checked.table["participant_id"].tolist(), checked.table["qc"].tolist()
        names = named(f"{ids[row]} ({values[row]})" for row in unknown)
        raise AekitError(f"{path}: column qc is neither 1 nor 0 for {names}; correct it")
    return [_VERDICTS.get(key) for key in keys]


def _measures(kept: Cohort, checked: Cohort, rows: Sequence[int | None]) -> list[QualityMeasure]:
    found = []
    for name in checked.table.columns:
        column = checked.table[name]
        if name in ("participant_id", "qc", "age") or not pd.api.types.is_numeric_dtype(column):
            continue
        all_values: npt.NDArray[np.float64] = column.to_numpy(np.float64, na_value=np.nan)
        values = np.array([np.nan if row is None else all_values[row] for row in rows])
        r = correlate(np.column_stack([kept.age_years, values])).pearson[0, 1]
        distribution = describe(values)
        found.append(QualityMeasure(str(name), distribution.n, distribution.mean, float(r)))
    return found[:_MAX_MEASURES]
