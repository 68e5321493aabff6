"""A table of participants -> a Cohort: ages in years, volumes in mL, and a list of every repair."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from aekit.brains.cohort.columns import TISSUES, Stated, check_needed, column_names, find_columns, find_stated
from aekit.brains.cohort.parsed import MISSING, MISSING_NUMBER, BadValue, ColumnRepair, Parsed
from aekit.brains.cohort.repairs import is_comma_decimal, read_ages, read_numbers
from aekit.brains.cohort.sentinels import read_scores
from aekit.brains.cohort.session_names import RUNS, SESSIONS, choose_sessions, join_sessions, session_of
from aekit.brains.cohort.sexes import read_sexes
from aekit.brains.cohort.sidecar import read_sidecar
from aekit.brains.cohort.tissues import read_volumes_ml
from aekit.brains.cohort.units import squeeze
from aekit.brains.config import Sessions, TableColumns
from aekit.core.text_rows import N_EXAMPLES, Repair
from aekit.core.text_table import TextTable, named, read_text_table
from aekit.errors import AekitError, count, shown

__all__ = ["TISSUES", "Cohort", "Repair", "read_cohort"]

_CODES = re.compile(r"(id|code|number|no|scanner|phone|zip)$")  # their numbers are names
_LEFT_OUT = ["participant_id", "column", "value", "reason"]
_VALUE_LENGTH = 40  # characters of a value in a message


@dataclass(frozen=True)
class Cohort:
    """Participants of a study, one row each.

    Attributes:
        name: File name of the table, for titles and messages.
        table: N rows with index 0..N-1. Columns with a known meaning: participant_id (str, unique), age (float64
            years, NaN missing), sex ("F", "M" or NaN), gmv wmv csfv (float64 mL, NaN missing), site, file (str or
            NaN). Columns that the file does not have are absent. All other columns as they were read, numeric
            if all of their values are.
        repairs: What was corrected while it was read.
        left_out: Rows that were left out, one line per reason: participant_id, column, value, reason.
    """

    name: str
    table: pd.DataFrame
    repairs: tuple[Repair, ...]
    left_out: pd.DataFrame

    def __len__(self) -> int:
        """Return the number of participants, N."""
        return len(self.table)

    @property
    def age_years(self) -> NDArray[np.float64]:
        """Return ages in years, (N,), NaN where missing."""
        return self._numbers("age")

    @property
    def sex(self) -> NDArray[np.object_]:
        """Return "F", "M" or NaN, objects (N,)."""
        if "sex" not in self.table:
            return np.full(len(self), np.nan, dtype=object)
        return np.array(self.table["sex"], dtype=object)

    @property
    def volumes_ml(self) -> NDArray[np.float64] | None:
        """Return volumes of grey matter, white matter and CSF in mL, (N, 3); None unless the table has all three."""
        if not all(tissue in self.table for tissue in TISSUES):
            return None
        return np.column_stack([self._numbers(tissue) for tissue in TISSUES])

    @property
    def proportions(self) -> NDArray[np.float64] | None:
        """Return each volume as a proportion of the three, (N, 3) in [0, 1]; None unless the table has all three."""
        volumes_ml = self.volumes_ml
        return None if volumes_ml is None else volumes_ml / volumes_ml.sum(axis=1, keepdims=True)

    @property
    def site(self) -> NDArray[np.object_] | None:
        """Return names of sites, objects (N,), NaN where missing; None if the table has no such column."""
        return np.array(self.table["site"], dtype=object) if "site" in self.table else None

    def fingerprint(self, columns: Iterable[str] | None = None) -> str:
        """Return the SHA-256 of the values of columns, of those that there are, or of all, in any order of columns.

        It tells whether a run that goes on has the participants that it began with.
        """
        kept = sorted(set(self.table) if columns is None else set(self.table) & set(columns))
        text = self.table[kept].to_csv(index=False, lineterminator="\n")
        return hashlib.sha256(text.encode()).hexdigest()

    def subset(self, rows: ArrayLike) -> Cohort:
        """Return the participants of some rows, in that order, renumbered from 0.

        Args:
            rows: Row numbers, or bool (N,).
        """
        return replace(self, table=self.table.iloc[np.asarray(rows)].reset_index(drop=True))

    def _numbers(self, column: str) -> NDArray[np.float64]:
        if column not in self.table:
            return np.full(len(self), np.nan)
        return np.array(self.table[column], dtype=np.float64)


def read_cohort(
    path: Path,
    *,
    need: Sequence[str] = ("participant_id",),
    skip_bad: bool = False,
    chosen: TableColumns | None = None,
    sessions: Sessions = "all",
) -> Cohort:
    """Return the participants of a table: BIDS ``participants.tsv``, CSV, or an export of a spreadsheet.

    Whatever has only one possible meaning is corrected, and listed in ``repairs``.

    Args:
        path: The table.
        need: Columns that it must have, by the names of :class:`Cohort`; single values may still be missing.
        skip_bad: Leave out rows that cannot be used, rather than fail; of several with the same id the first that can
            be used is kept.
        chosen: Columns that options name, which go before their names; None if the command has no such options.
        sessions: Which rows of a person with several sessions are kept, of those that can be used.

    Raises:
        AekitError: It cannot be read, a needed column is missing or ambiguous, rows cannot be used, or none is left.
            All participants concerned are named, up to 20 for each reason.
    """
    text, sidecar = read_text_table(path), read_sidecar(path)
    found, renamed = find_columns(text.header, sidecar, path, chosen)
    check_needed(found, text.header, need, path, chosen)
    names, unnamed = column_names(text.header, found, path)
    columns = dict(zip(names, text.columns, strict=True))
    ids, joined = join_sessions(columns)
    columns["participant_id"] = ids
    labels = [one or f"line {line}" for one, line in zip(ids, text.lines, strict=True)]
    parsed = _parse(columns, text, find_stated(found, text.header, sidecar, path, chosen), path)
    bad = [one for column in parsed.values() for one in column.bad]
    bad_ids, kept = _bad_ids(ids, {one.row for one in bad}, skip_bad=skip_bad)
    repaired = [*joined, *kept, *(repair for column in parsed.values() for repair in column.repairs)]
    left_out = _left_out([*bad_ids, *bad], labels, text.ragged, found["participant_id"], len(names))
    if len(left_out) and not skip_bad:
        raise AekitError(_name_bad_rows(left_out, columns, path))
    # pandas 3 has its own type for text; objects are the same in all versions.
    table = pd.DataFrame({name: pd.Series(column.values, dtype=column.values.dtype) for name, column in parsed.items()})
    table = table.drop(index=sorted({one.row for one in (*bad_ids, *bad)}))
    if not len(table):
        why = (
            f"none of its {count(len(ids) + len(text.ragged), 'row')} can be used"
            if len(left_out)
            else "has no participants"
        )
        raise AekitError(f"{shown(path)}: {why}; give a table with one row per participant")
    table, others, odd = _chosen_sessions(table, sessions)
    repairs = (*text.repairs, *renamed, *unnamed, *(_with_examples(repair, labels) for repair in (*repaired, *odd)))
    left_out = pd.concat([left_out, others], ignore_index=True) if len(others) else left_out
    return Cohort(path.name, table.reset_index(drop=True), repairs, left_out)


def _chosen_sessions(table: pd.DataFrame, which: Sessions) -> tuple[pd.DataFrame, pd.DataFrame, list[ColumnRepair]]:
    """Return the rows of the first or last session of each person, the others with a reason, and what is odd."""
    ids = [str(one) for one in table["participant_id"]]
    ages = np.array(table["age"], np.float64) if "age" in table else np.full(len(table), np.nan)
    kept, odd = choose_sessions(ids, ages, which)
    others = [
        (one, "session", session_of(one), f"not the {which} session of its participant")
        for one, is_kept in zip(ids, kept, strict=True)
        if not is_kept
    ]
    rows = table.index.to_numpy()  # as in the file, for the examples of repairs
    odd = [ColumnRepair(repair.what, [int(rows[row]) for row in repair.rows]) for repair in odd]
    return table[kept], pd.DataFrame(others, columns=_LEFT_OUT, dtype=object), odd


def _parse(columns: Mapping[str, list[str]], text: TextTable, stated: Stated, path: Path) -> dict[str, Parsed]:
    """Return every column with its values, in the order of the table."""
    numeric = [columns[name] for name in ("age", *TISSUES) if name in columns]
    is_decimal = is_comma_decimal(itertools.chain(*numeric))
    if is_decimal is None:
        is_decimal = is_comma_decimal(itertools.chain(*columns.values()))
    if is_decimal is None and text.separator == ";":
        is_decimal = True  # spreadsheets use semicolons where the comma is the decimal sign
    parsed: dict[str, Parsed] = {}
    try:
        for name, texts in columns.items():
            if name == "participant_id":
                parsed[name] = Parsed(np.array(texts, dtype=object))
            elif name == "age":
                unit, source = stated.units.get(name, "years"), stated.source.get(name, "")
                parsed[name] = read_ages(texts, is_decimal=is_decimal, unit=unit, source=source)
            elif name == "sex":
                parsed[name] = read_sexes(texts, stated.sex_header, stated=stated.sexes, source=stated.dictionary)
            elif name in TISSUES:
                parsed[name] = read_numbers(texts, name, is_decimal=is_decimal)
            else:
                parsed[name] = _other_column(texts, name, is_text=name in ("site", "file"), is_decimal=is_decimal)
        parsed |= _tissues_ml(columns, parsed, stated)
    except ValueError as error:
        raise AekitError(f"{shown(path)}: {error}") from error
    parsed["participant_id"] = replace(parsed["participant_id"], repairs=(*stated.notes, *_missing_values(columns)))
    return parsed


def _tissues_ml(columns: Mapping[str, list[str]], parsed: Mapping[str, Parsed], stated: Stated) -> dict[str, Parsed]:
    """Return the columns of volumes in mL."""
    names = [name for name in TISSUES if name in parsed]
    if not names:
        return {}
    ml = read_volumes_ml(
        np.column_stack([parsed[name].values for name in names]),
        [columns[name] for name in names],
        names,
        units=[stated.units.get(name, "") for name in names],
        source=next((stated.source[name] for name in names if stated.source.get(name)), ""),
    )
    result = {}
    for place, name in enumerate(names):
        bad = (*parsed[name].bad, *(one for one in ml.bad if one.column == name))
        repairs = parsed[name].repairs + (ml.repairs if place == 0 else ())
        result[name] = Parsed(ml.values[:, place], repairs, bad)
    return result


def _other_column(texts: list[str], name: str, *, is_text: bool, is_decimal: bool | None) -> Parsed:
    """Return a column without a known meaning: numbers if all of its values are, else text."""
    if not is_text:
        first = next((text for text in texts if text.lower() not in MISSING_NUMBER), "x")
        is_number = not read_numbers([first], name, is_decimal=is_decimal).bad
        # A number with a leading zero is a name, as of a site or scanner.
        if is_number and not any(text[:1] == "0" and text[1:2].isdigit() for text in texts):
            numbers = read_numbers(texts, name, is_decimal=is_decimal)
            if not numbers.bad:
                is_whole = not numbers.repairs and all(text.isdigit() and len(text) < 16 for text in texts)
                numbers = _without_sentinels(numbers, texts, name)
                is_whole &= not np.isnan(numbers.values).any()
                return replace(numbers, values=numbers.values.astype(np.int64)) if is_whole else numbers
    values = np.array(texts, dtype=object)
    values[[text.lower() in MISSING for text in texts]] = np.nan
    return Parsed(values)


def _without_sentinels(numbers: Parsed, texts: list[str], name: str) -> Parsed:
    """Return a column of numbers without marks of missing values, if it is not one of codes."""
    if _CODES.search(squeeze(name)):
        return numbers
    missing, told = read_scores(name, texts, numbers.values)
    if not told:
        return numbers
    return replace(numbers, values=np.where(missing, np.nan, numbers.values), repairs=(*numbers.repairs, *told))


def _missing_values(columns: Mapping[str, list[str]]) -> tuple[ColumnRepair, ...]:
    """Return the rows of each marker of a missing value, such as ``?``; an empty value is none."""
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for name, texts in columns.items():
        markers = MISSING_NUMBER if name in ("age", "sex", *TISSUES) else MISSING
        if name != "participant_id":
            for row, text in enumerate(texts):
                if text and len(text) < 8 and text.lower() in markers:
                    rows_of[text].append(row)
    return tuple(ColumnRepair(f"{text} read as missing", rows) for text, rows in rows_of.items())


def _bad_ids(
    ids: Sequence[str], bad_rows: set[int], *, skip_bad: bool
) -> tuple[list[BadValue], tuple[ColumnRepair, ...]]:
    """Return the rows without an id of their own, and which rows are kept of several with the same one."""
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    bad, kept = [], []
    for row, one in enumerate(ids):
        if one.lower() in MISSING:
            bad.append(BadValue(row, "participant_id", one, "is missing"))
        else:
            rows_of[one].append(row)
    for one, rows in rows_of.items():
        usable = [row for row in rows if row not in bad_rows] if skip_bad and len(rows) > 1 else []
        kept += usable[:1]
        bad += (
            [BadValue(row, "participant_id", one, "occurs more than once") for row in rows if row not in usable[:1]]
            if len(rows) > 1
            else []
        )
    what = "participant_id: of several rows with the same id, the first that can be used is kept"
    return bad, (ColumnRepair(what, kept),) if kept else ()


def _with_examples(repair: ColumnRepair, labels: Sequence[str]) -> Repair:
    return Repair(repair.what, max(1, len(repair.rows)), tuple(labels[row] for row in repair.rows[:N_EXAMPLES]))


def _left_out(
    bad: Sequence[BadValue], labels: Sequence[str], ragged: Sequence[tuple[int, list[str]]], id_place: int, width: int
) -> pd.DataFrame:
    """Return one line per reason that a row cannot be used."""
    lines = [(labels[one.row], one.column, one.value, one.reason) for one in bad]
    for line, row in ragged:
        label = (row[id_place] if id_place < len(row) else "") or f"line {line}"
        lines.append((label, "", f"line {line}", f"has {count(len(row), 'field')}, not {width}"))
    return pd.DataFrame(lines, columns=_LEFT_OUT, dtype=object)


def _clipped(value: str) -> str:
    return value if len(value) <= _VALUE_LENGTH else f"{value[:_VALUE_LENGTH]}..."


def _name_bad_rows(left_out: pd.DataFrame, columns: Mapping[str, list[str]], path: Path) -> str:
    """Return one line that names all rows that cannot be used, reason by reason."""
    parts = []
    for (column, reason), lines in left_out.groupby(["column", "reason"], sort=False):
        ids, values = list(lines["participant_id"]), list(lines["value"])
        if column == "participant_id":
            who = named(dict.fromkeys(ids))
        else:
            who = named(f"{one} ({_clipped(value)})" for one, value in zip(ids, values, strict=True))
        parts.append(f"{column or 'row'} {reason}: {who}")
        if reason == "occurs more than once" and any(squeeze(name) in (*SESSIONS, *RUNS) for name in columns):
            parts[-1] += " - the table has one row per session or run, keep one per participant"
    return f"{shown(path)}: {'; '.join(parts)}; correct the table, or use --skip-bad to leave these rows out"
