"""Predictions and participants joined: the gap of each participant, with everything that the table says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.brains.associate.predicted import Predicted, choose_model, read_predicted
from aekit.brains.associate.request import Request
from aekit.brains.cohort.expressions import Expression
from aekit.brains.cohort.parsed import MISSING_NUMBER
from aekit.brains.cohort.repairs import read_numbers
from aekit.brains.cohort.scans import match_names
from aekit.brains.cohort.session_names import person_of
from aekit.brains.cohort.sexes import read_sexes
from aekit.brains.cohort.table import Cohort, read_cohort
from aekit.brains.measures.regression import natural_key
from aekit.core.text_table import named
from aekit.errors import AekitError, count, nearest, shown

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

_SAME_AGE_YEARS = 0.5  # a table rounds ages, or has them at another visit
MIN_CONTROLS = 10


@dataclass(frozen=True, eq=False)
class Sample:
    """The participants that are analysed.

    Attributes:
        name: File name of the table, or of the predictions if there is none.
        table: N rows: participant_id, age, sex, site and all other columns of the table.
        age_years: Ages, (N,), all known.
        predicted_years: Predicted ages of the chosen model, (N,).
        model: Its name; empty if the file does not say.
        is_control: Who is a control, (N,); None if nobody was called so.
        sessions: Person -> rows, in order of their sessions, of participants with several; empty if nobody has.
        notes: What was chosen, joined and left out.
    """

    name: str
    table: pd.DataFrame
    age_years: Floats
    predicted_years: Floats
    model: str
    is_control: Bools | None
    sessions: dict[str, list[int]]
    notes: tuple[str, ...]

    @property
    def gap_years(self) -> Floats:
        """Return the brain-age gap, predicted minus true age, (N,)."""
        return self.predicted_years - self.age_years

    @property
    def first_rows(self) -> Rows:
        """Return one row per person, that of the first session."""
        later = {row for rows in self.sessions.values() for row in rows[1:]}
        return np.array([row for row in range(len(self.table)) if row not in later], np.int64)


def read_sample(request: Request) -> Sample:
    """Return predictions and participants, joined.

    Raises:
        AekitError: A file cannot be used, they are of different cohorts, a column is missing, or nobody is a control.
    """
    predicted = read_predicted(request.predictions)
    notes = list(predicted.notes)
    if request.table is None:
        table, rows, name = _own_table(predicted), np.arange(len(predicted.ids)), predicted.path.name
    else:
        cohort = read_cohort(request.table, skip_bad=request.skip_bad, chosen=request.columns)
        notes += _describe_repairs(cohort)
        table, rows, more = _joined(predicted, cohort, request)
        notes, name = [*notes, *more], cohort.name
    table, age_years, more = _with_ages(predicted, table, rows, name)
    notes += more
    control = None if request.controls is None else _is_control(table, request.controls, name)
    known = np.full(len(predicted.ids), np.nan)
    known[rows] = age_years if control is None else np.where(control, age_years, np.nan)
    model, why = choose_model(predicted, request.model, known)
    among = " among controls" if control is not None and "MAE" in why else ""
    notes.append(f"gap of {model or 'the only network'}, {why}{among}")
    used = np.isfinite(age_years) & np.isfinite(predicted.ages[model][rows])
    if not used.all():
        without = named(table["participant_id"][~used])
        notes.append(f"left out: no age or no prediction ({int((~used).sum()):,}: {without})")
    table = table[used].reset_index(drop=True)
    if control is not None:
        _check_controls(int(control[used].sum()), request)
    return Sample(
        name=name,
        table=table,
        age_years=age_years[used],
        predicted_years=predicted.ages[model][rows][used],
        model=model,
        is_control=None if control is None else control[used],
        sessions=_sessions(table),
        notes=tuple(notes),
    )


def _check_controls(n: int, request: Request) -> None:
    if n < MIN_CONTROLS and request.controls is not None:
        text = count(n, "participant with a prediction fits", "participants with a prediction fit")
        raise AekitError(
            f"--controls: {text} '{shown(request.controls.text)}', at least {MIN_CONTROLS} are needed; give more of "
            "them, or leave --controls out"
        )


def _describe_repairs(cohort: Cohort) -> list[str]:
    notes = []
    for repair in cohort.repairs:
        examples = f": {', '.join(repair.examples)}" if repair.examples else ""
        notes.append(f"{cohort.name}: {repair.what} ({repair.n:,}{examples})")
    if len(cohort.left_out):
        notes.append(f"{cohort.name}: rows left out: {named(cohort.left_out['participant_id'])}")
    return notes


def _own_table(predicted: Predicted) -> pd.DataFrame:
    """Return the further columns of the predictions as a table of participants."""
    if not any(predicted.ids):
        raise AekitError(
            f"{shown(predicted.path)}: has names of scans and no participants; give the participants table as the "
            "second argument"
        )
    columns = {"participant_id": np.array(predicted.ids, dtype=object)}
    columns |= {name: _values(texts, name) for name, texts in predicted.others.items()}
    return pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()})


def _values(texts: Sequence[str], name: str) -> npt.NDArray[np.generic]:
    """Return numbers if all texts are, else objects, NaN where missing."""
    if name == "sex":
        return read_sexes(texts).values
    numbers = read_numbers(texts, name, is_decimal=False)
    if not numbers.bad and name not in ("site", "file"):
        return numbers.values
    return np.array([np.nan if text.lower() in MISSING_NUMBER else text for text in texts], dtype=object)


def _joined(predicted: Predicted, cohort: Cohort, request: Request) -> tuple[pd.DataFrame, Rows, list[str]]:
    """Return the rows of the table that have a prediction, the rows of the predictions, and who is in one alone."""
    ids = [str(one) for one in cohort.table["participant_id"]]
    if any(predicted.ids):
        row_of = {one: row for row, one in enumerate(predicted.ids)}
        found = [row_of.get(one) for one in ids]
        labels: Sequence[str] = predicted.ids
    else:
        files = [Path(file) for file in predicted.files]
        place = {file: row for row, file in enumerate(files)}
        matched = match_names(cohort, list(place), pattern=request.pattern)
        found = [None if file is None else place[file] for file in matched]
        labels = [file.name for file in files]
    own = np.array([row for row, match in enumerate(found) if match is not None], np.int64)
    rows = np.array([match for match in found if match is not None], np.int64)
    if not len(own):
        raise AekitError(
            f"{shown(predicted.path)} and {shown(cohort.name)}: have no participant in common; one of the predictions "
            f"is '{shown(labels[0])}' and one of the table '{shown(ids[0])}'; give the table of the same cohort"
        )
    notes = []
    alone = [ids[row] for row, match in enumerate(found) if match is None]
    if alone:
        notes.append(f"{count(len(alone), 'row')} of {cohort.name} without a prediction: {named(alone)}")
    if strangers := [labels[row] for row in sorted(set(range(len(labels))) - set(rows.tolist()))]:
        notes.append(f"{count(len(strangers), 'prediction')} without a row in {cohort.name}: {named(strangers)}")
    table = cohort.table.iloc[own].reset_index(drop=True)
    for name, texts in predicted.others.items():  # what only the predictions know
        if name not in table:
            table[name] = _values([texts[row] for row in rows], name)
    return table, rows, notes


def _with_ages(
    predicted: Predicted, table: pd.DataFrame, rows: Rows, name: str
) -> tuple[pd.DataFrame, Floats, list[str]]:
    """Return the table with ages, those of the predictions where they have them, and notes of those that differ.

    Raises:
        AekitError: There are no ages, or most of them differ: the files are of different cohorts.
    """
    ages = predicted.age_years[rows]
    stated = table["age"].to_numpy(np.float64) if "age" in table else np.full(len(table), np.nan)
    notes = []
    differ = np.abs(ages - stated) > _SAME_AGE_YEARS
    if differ.any():
        row = int(np.flatnonzero(differ)[0])
        example = f"{shown(table['participant_id'][row])} is {ages[row]:.1f} and {stated[row]:.1f} years old"
        if differ.sum() > len(table) / 2:
            raise AekitError(
                f"{shown(predicted.path)} and {shown(name)}: ages differ for {differ.sum():,} of "
                f"{count(len(table), 'participant')} in common ({example}); give the table of the same cohort"
            )
        who = named(table["participant_id"][differ])
        notes.append(f"ages of {name} differ from those of the predictions, which are used ({differ.sum():,}: {who})")
    ages = np.where(np.isfinite(ages), ages, stated)
    if not np.isfinite(ages).any():
        raise AekitError(f"{shown(name)}: has no ages; the gap is predicted minus true age, so add a column age")
    return table.assign(age=ages), ages, notes


def check_column(table: pd.DataFrame, column: str, option: str, name: str) -> None:
    """Raise an AekitError that names the columns there are, if this one is not among them."""
    if column not in table:
        columns = [str(one) for one in table.columns]
        advice = nearest(column, columns) or "; choose one of them, or give the table that has it"
        raise AekitError(f"{option}: {shown(name)} has no column '{shown(column)}' (it has {named(columns)}){advice}")


def text_of(value: object) -> str:
    """Return a value of a table as it is written there: 1 for 1.0; empty where missing."""
    if value is None or value != value:
        return ""
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.10g}"
    return str(value).strip()


def _is_control(table: pd.DataFrame, controls: Expression, name: str) -> Bools:
    """Return who fits the expression, (N,); rows without a value do not, whatever it is."""
    check_column(table, controls.column, "--controls", name)
    texts = [text_of(value) for value in table[controls.column]]
    wanted = set(controls.values)
    there = sorted({text for text in texts if text}, key=natural_key)
    for value in controls.values:
        if value not in there:
            advice = nearest(value, there) or "; choose from these"
            raise AekitError(
                f"--controls: nobody in {shown(name)} has {shown(controls.column)} '{shown(value)}', only "
                f"{named(there) or 'empty cells'}{advice}"
            )
    return np.array([bool(text) and ((text in wanted) != controls.negated) for text in texts])


def _sessions(table: pd.DataFrame) -> dict[str, list[int]]:
    """Return the rows of each person with several, in the order of the names of their sessions."""
    found: dict[str, list[int]] = {}
    for row, one in enumerate(table["participant_id"]):
        found.setdefault(person_of(one), []).append(row)
    ids = table["participant_id"]
    return {
        who: sorted(rows, key=lambda row: natural_key(str(ids[row]))) for who, rows in found.items() if len(rows) > 1
    }
