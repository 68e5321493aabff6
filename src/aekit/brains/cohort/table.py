"""A table of participants -> a Cohort: ages in years, volumes in mL, and a list of every repair."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from aekit.brains.cohort.repairs import (
    MISSING,
    MISSING_NUMBER,
    BadValue,
    ColumnRepair,
    Parsed,
    is_comma_decimal,
    read_ages,
    read_numbers,
    read_sexes,
    read_volumes_ml,
)
from aekit.brains.cohort.sidecar import Sidecar, read_sidecar
from aekit.brains.cohort.units import (
    KNOWN,
    NATIVE,
    PROPORTIONS,
    UNKNOWN,
    Kind,
    match_header,
    split_header,
    squeeze,
)
from aekit.core.text_table import N_EXAMPLES, Repair, TextTable, named, read_text_table
from aekit.errors import AekitError, count, nearest, shown

__all__ = ["TISSUES", "Cohort", "Repair", "read_cohort"]

TISSUES = ("gmv", "wmv", "csfv")

# Other names of a column, in lower case, without blanks, punctuation, units and text in brackets.
_ALIASES = {
    "participant_id": frozenset(
        {"participantid", "participant", "subjectid", "subject", "subjid", "sub", "id", "ixiid"}
    )
    | {"mrid"},
    "age": frozenset({"age", "ageatscan", "ageatvisit"}),
    "sex": frozenset({"sex", "gender", "sexid", "genderid"}),
    "gmv": frozenset({"gmv", "gm", "gmvol", "graymatter", "greymatter", "graymattervolume", "greymattervolume"})
    | {"totalgrayvol", "totalgreyvol"},
    "wmv": frozenset({"wmv", "wm", "wmvol", "whitematter", "whitemattervolume", "cerebralwhitemattervol"})
    | {"totalwhitevol"},
    "csfv": frozenset({"csfv", "csf", "csfvol", "csfvolume", "cerebrospinalfluid", "cerebrospinalfluidvolume"}),
    "site": frozenset({"site", "siteid", "center", "centre"}),
    "file": frozenset({"file", "filename", "filepath"}),
}
_KINDS: dict[str, Kind] = {"age": "age", **dict.fromkeys(TISSUES, "volume")}
_SESSIONS = ("sessionid", "session", "ses")
_SEVERAL_PER_PARTICIPANT = {*_SESSIONS, "run", "runid", "visit", "visitid", "timepoint"}
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


def read_cohort(path: Path, *, need: Sequence[str] = ("participant_id",), skip_bad: bool = False) -> Cohort:
    """Return the participants of a table: BIDS ``participants.tsv``, CSV, or an export of a spreadsheet.

    Whatever has only one possible meaning is corrected, and listed in ``repairs``.

    Args:
        path: The table.
        need: Columns that it must have, by the names of :class:`Cohort`; single values may still be missing.
        skip_bad: Leave out rows that cannot be used, rather than fail; with duplicate ids, all of their rows.

    Raises:
        AekitError: It cannot be read, a needed column is missing or ambiguous, rows cannot be used, or none is left.
            All participants concerned are named, up to 20 for each reason.
    """
    text, sidecar = read_text_table(path), read_sidecar(path)
    found, renamed = _find_columns(text.header, sidecar, path)
    _check_needed(found, text.header, need, path)
    names, unnamed = _column_names(text.header, found, path)
    columns = dict(zip(names, text.columns, strict=True))
    ids, joined = _with_sessions(columns)
    columns["participant_id"] = ids
    labels = [one or f"line {line}" for one, line in zip(ids, text.lines, strict=True)]
    stated = _stated(found, text.header, sidecar, path)
    parsed = _parse(columns, text, stated, path)
    bad = [*_bad_ids(ids), *(one for column in parsed.values() for one in column.bad)]
    repaired = [*joined, *(repair for column in parsed.values() for repair in column.repairs)]
    repairs = (*text.repairs, *renamed, *unnamed, *(_with_examples(repair, labels) for repair in repaired))
    left_out = _left_out(bad, labels, text.ragged, found["participant_id"], len(names))
    if len(left_out) and not skip_bad:
        raise AekitError(_name_bad_rows(left_out, columns, path))
    # pandas 3 has its own type for text; objects are the same in all versions.
    table = pd.DataFrame({name: pd.Series(column.values, dtype=column.values.dtype) for name, column in parsed.items()})
    table = table.drop(index=sorted({one.row for one in bad})).reset_index(drop=True)
    if not len(table):
        why = (
            f"none of its {count(len(ids) + len(text.ragged), 'row')} can be used"
            if len(left_out)
            else "has no participants"
        )
        raise AekitError(f"{shown(path)}: {why}; give a table with one row per participant")
    return Cohort(path.name, table, repairs, left_out)


def _find_columns(header: Sequence[str], sidecar: Sidecar, path: Path) -> tuple[dict[str, int], list[Repair]]:
    """Return the position of each column with a known meaning, and which columns were renamed for it."""
    squeezed = [squeeze(split_header(written)[0]) for written in header]
    found: dict[str, int] = {}
    repairs = []
    for name in _ALIASES:
        fit = _fitting(name, header, squeezed, sidecar)
        if len(fit) > 1:
            both = ", ".join(f"'{shown(header[place])}'" for place in fit)
            raise AekitError(
                f"{shown(path)}: columns {both} could all be '{name}'; rename the right one to {name}"
                if header[fit[0]] != name
                else f"{shown(path)}: has {len(fit)} columns '{name}'; rename or remove the others"
            )
        if fit:
            found[name] = fit[0]
            if header[fit[0]] != name:
                repairs.append(Repair(f"column '{header[fit[0]]}' read as {name}", 1, ()))
    return found, repairs


def _fitting(name: str, header: Sequence[str], squeezed: Sequence[str], sidecar: Sidecar) -> list[int]:
    """Return the columns that may be the one of a name: of that name, else in its own unit, else in any other."""
    exact = [place for place, written in enumerate(header) if written == name]
    if exact:
        return exact
    kind, aliases = _KINDS.get(name), _ALIASES[name]
    if kind is None:
        return [place for place, bare in enumerate(squeezed) if bare in aliases]
    starts = tuple({alias[:2] for alias in aliases})  # there may be thousands of other columns
    likely = [place for place, bare in enumerate(squeezed) if bare.startswith(starts)]
    units = {place: match_header(header[place], aliases, kind) for place in likely}
    fit = {
        place: sidecar.unit(header[place], kind) or unit or NATIVE[kind]
        for place, unit in units.items()
        if unit is not None
    }
    ranks = {NATIVE[kind]: 0, PROPORTIONS: 2, UNKNOWN: 2}
    best = min((ranks.get(unit, 1) for unit in fit.values()), default=0)
    return [place for place, unit in fit.items() if ranks.get(unit, 1) == best]


@dataclass(frozen=True)
class _Stated:
    """What header and data dictionary state about the known columns.

    Attributes:
        units: Column -> its unit; columns without a stated unit are absent.
        source: Column -> what states its unit, empty for the header.
        sex_header: The column of sexes as it is written.
        sexes: Code -> sex, of the data dictionary.
        dictionary: Name of the data dictionary.
        notes: Where it contradicts a header.
    """

    units: dict[str, str]
    source: dict[str, str]
    sex_header: str
    sexes: dict[str, str]
    dictionary: str
    notes: tuple[ColumnRepair, ...]


def _stated(found: Mapping[str, int], header: Sequence[str], sidecar: Sidecar, path: Path) -> _Stated:
    """Return what is stated about the known columns.

    Raises:
        AekitError: A unit cannot be converted.
    """
    units, source, notes = {}, {}, []
    for name, kind in _KINDS.items():
        if name not in found:
            continue
        written = header[found[name]]
        own, of_file = match_header(written, _ALIASES[name], kind) or "", sidecar.unit(written, kind)
        unit = of_file or own
        if of_file and own not in ("", of_file):
            notes.append(ColumnRepair(f"column '{written}' is in {of_file}, as {sidecar.name} says", ()))
        if unit in (PROPORTIONS, UNKNOWN):
            raise AekitError(_refused(written, name, unit, sidecar if of_file else None, path))
        if unit:
            units[name], source[name] = unit, sidecar.name if of_file else ""
    sex_header = header[found["sex"]] if "sex" in found else "sex"
    sexes = sidecar.sexes(sex_header) if "sex" in found else {}
    return _Stated(units, source, sex_header, sexes, sidecar.name, tuple(notes))


def _refused(written: str, name: str, unit: str, sidecar: Sidecar | None, path: Path) -> str:
    """Return why a column cannot be used in its unit."""
    kind, where = _KINDS[name], shown(sidecar.path if sidecar else path)
    give = "ages in years" if kind == "age" else "volumes in mL"
    what = f"holds proportions, not {name} as a volume"
    if unit == UNKNOWN:
        note = split_header(written)[1]
        what = f"could be {name}, but '{shown(note)}' is not {KNOWN[kind]}"
    return f"{where}: column '{shown(written)}' {what}; give {give}, or rename the column if it means something else"


def _with_sessions(columns: Mapping[str, list[str]]) -> tuple[list[str], list[ColumnRepair]]:
    """Return ids that are unique: those of a table with a row per session are joined with it, as in sub-01_ses-1."""
    ids = columns["participant_id"]
    session = next((column for name, column in columns.items() if squeeze(name) in _SESSIONS), None)
    if session is None or len(set(ids)) == len(ids):
        return ids, []
    rows = [row for row, one in enumerate(session) if one.lower() not in MISSING and ids[row].lower() not in MISSING]
    joined = list(ids)
    for row in rows:
        joined[row] = f"{ids[row]}_ses-{session[row].removeprefix('ses-')}"
    return joined, [ColumnRepair("participant_id and session joined, as several rows have the same id", rows)]


def _check_needed(found: Mapping[str, int], header: Sequence[str], need: Sequence[str], path: Path) -> None:
    missing = [name for name in dict.fromkeys(("participant_id", *need)) if name not in found and name not in header]
    if not missing:
        return
    if not found and any(re.fullmatch(r"[+-]?\d+([.,]\d+)?", name) for name in header):
        raise AekitError(
            f"{shown(path)}: its first line is not a header ({named(header)}); put the names of the columns there"
        )
    columns = f"column {missing[0]}" if len(missing) == 1 else f"columns {', '.join(missing)}"
    hint = nearest(missing[0], header) if len(missing) == 1 else ""
    hint = hint or f"; rename or add {'it' if len(missing) == 1 else 'them'}"
    raise AekitError(f"{shown(path)}: has no {columns} (it has {named(header)}){hint}")


def _column_names(header: Sequence[str], found: Mapping[str, int], path: Path) -> tuple[list[str], list[Repair]]:
    """Return unique names of the columns, and which of them had none."""
    place_of = {place: name for name, place in found.items()}
    names = [place_of.get(place, written or f"column {place + 1}") for place, written in enumerate(header)]
    twice = [name for name, n in pd.Series(names, dtype=object).value_counts().items() if n > 1]
    if twice:
        raise AekitError(f"{shown(path)}: has several columns named {named(twice)}; rename or remove the others")
    unnamed = [name for name, written in zip(names, header, strict=True) if not written]
    return names, [
        Repair("columns without a name numbered", len(unnamed), tuple(unnamed[:N_EXAMPLES]))
    ] if unnamed else []


def _parse(columns: Mapping[str, list[str]], text: TextTable, stated: _Stated, path: Path) -> dict[str, Parsed]:
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


def _tissues_ml(columns: Mapping[str, list[str]], parsed: Mapping[str, Parsed], stated: _Stated) -> dict[str, Parsed]:
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
                return replace(numbers, values=numbers.values.astype(np.int64)) if is_whole else numbers
    values = np.array(texts, dtype=object)
    values[[text.lower() in MISSING for text in texts]] = np.nan
    return Parsed(values)


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


def _bad_ids(ids: Sequence[str]) -> list[BadValue]:
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    bad = []
    for row, one in enumerate(ids):
        if one.lower() in MISSING:
            bad.append(BadValue(row, "participant_id", one, "is missing"))
        else:
            rows_of[one].append(row)
    for one, rows in rows_of.items():
        if len(rows) > 1:
            bad += [BadValue(row, "participant_id", one, "occurs more than once") for row in rows]
    return bad


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
    return pd.DataFrame(lines, columns=["participant_id", "column", "value", "reason"], dtype=object)


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
        if reason == "occurs more than once" and any(squeeze(name) in _SEVERAL_PER_PARTICIPANT for name in columns):
            parts[-1] += " - the table has one row per session or run, keep one per participant"
    return f"{shown(path)}: {'; '.join(parts)}; correct the table, or use --skip-bad to leave these rows out"
