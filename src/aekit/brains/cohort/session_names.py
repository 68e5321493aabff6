"""The session in the id of a row, such as ``_ses-2``, ``_MR1`` or ``_m06``: whose it is, and which comes first."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aekit.brains.cohort.parsed import MISSING, ColumnRepair
from aekit.brains.cohort.units import squeeze
from aekit.brains.config import Sessions

# Names of the column of sessions, squeezed, the likelier first.
SESSIONS = (
    "sessionid", "session", "sessionlabel", "sessionnumber", "sessionname", "viscode2", "viscode", "visit",
    "visitid", "visitcode", "visitlabel", "visitname", "visitnumber", "visitno", "timepoint", "timepointid", "tp",
    "wave", "eventname", "redcapeventname", "ses",
)  # fmt: skip
RUNS = ("run", "runid")  # scans of one session, of which none comes first

_SES = re.compile(r"_ses(?:s(?:ion)?)?(?:-|(?=\d))", re.IGNORECASE)
_BASELINE = "bl|baseline|screening|scmri|sc|pre"
# What ends an id and can only be a session: OAS1_0001_MR1, OAS30001_MR_d0757, x_visit-2, x_baseline. T1 and T2 are
# kinds of scan, and a single number may be anything.
_PLAIN = (
    rf"mr\d{{1,2}}|(?:mr_)?d\d{{4,5}}|(?:visit|session|sess|time|timepoint|tp|wave|scan)[-_]?\d{{1,2}}|{_BASELINE}|"
    r"post|follow-?up\d{0,2}|fu\d{0,2}"
)
# What is a session only behind the number of a person: sub-V01 may be the first volunteer, 0413_m06 is month 6.
_NUMBERED = r"v\d{1,2}|(?-i:m)(?P<month>\d{2,3})|(?:19|20)\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])"
_SUFFIX = re.compile(rf"(?P<person>.*?[^\W_])[_-](?:(?P<plain>{_PLAIN})|(?P<numbered>{_NUMBERED}))", re.IGNORECASE)
_FIRST = {"screening": -2, "scmri": -2, "sc": -2, "baseline": -1, "bl": -1, "pre": -1, "initial": -1}


def person_of(participant_id: object) -> str:
    """Return an id without its session: sub-01 of sub-01_ses-2, OAS1_0001 of OAS1_0001_MR1."""
    return _split(str(participant_id))[0]


def session_of(participant_id: object) -> str:
    """Return the session in an id, or an empty text: 2 of sub-01_ses-2, MR1 of OAS1_0001_MR1."""
    return _split(str(participant_id))[1]


def _split(one: str) -> tuple[str, str]:
    """Return the person and the session in an id."""
    parts = _SES.split(one, maxsplit=1)
    if len(parts) == 2:
        return _split_suffix(parts[0])[0], parts[1]
    return _split_suffix(one)


def _split_suffix(one: str) -> tuple[str, str]:
    match = _SUFFIX.fullmatch(one)
    if match is None:
        return one, ""
    if match["plain"]:
        return match["person"], match["plain"]
    is_of_person = re.search(r"\d", match["person"]) and int(match["month"] or 0) % 3 == 0  # visits are quarterly
    return (match["person"], match["numbered"]) if is_of_person else (one, "")


def order_of(session: str) -> tuple[int, list[tuple[int, int, str]]]:
    """Return what sorts sessions as people count: baseline first, ses-2 before ses-10, m06 before m12."""
    plain = session.lower().removeprefix("ses-")
    parts = re.findall(r"\d{1,99}|[^\d\W_]+", plain)  # Python refuses to read a number of thousands of digits
    return _FIRST.get(plain, 0), [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def join_sessions(columns: Mapping[str, list[str]]) -> tuple[list[str], list[ColumnRepair]]:
    """Return ids that are unique: those of a table with a row per session are joined with it, as in sub-01_ses-1."""
    ids = columns["participant_id"]
    if len(set(ids)) == len(ids):
        return ids, []
    known = {squeeze(name): column for name, column in reversed(list(columns.items())) if name != "SES"}  # status
    candidates = [known[name] for name in SESSIONS if name in known]
    if not candidates:
        return ids, []
    session = max(candidates, key=lambda column: _n_told_apart(ids, column))
    rows = [row for row, one in enumerate(session) if one.lower() not in MISSING and ids[row].lower() not in MISSING]
    joined = list(ids)
    for row in rows:
        joined[row] = _joined(ids[row], session[row])
    return joined, [ColumnRepair("participant_id and session joined, as several rows have the same id", rows)]


def _n_told_apart(ids: Sequence[str], session: Sequence[str]) -> int:
    """Return how many rows have an id and a session that no other has."""
    known = [pair for pair in zip(ids, session, strict=True) if pair[1].lower() not in MISSING]
    return len(set(known))


def _joined(one: str, session: str) -> str:
    if session.startswith(one) and person_of(session) == one:  # OAS30001_MR_d0129 of OAS30001
        return session
    return f"{one}_ses-{''.join(session.split()).removeprefix('ses-')}"


def choose_sessions(
    ids: Sequence[str], age_years: NDArray[np.float64], which: Sessions
) -> tuple[NDArray[np.bool_], list[ColumnRepair]]:
    """Return the rows that are kept, bool (N,): the first or last session of each person, and what is odd about it.

    Args:
        ids: The id of each row, with its session, N of them.
        age_years: Decides between sessions of the same name, (N,).
        which: ``all`` keeps every row.
    """
    if which == "all":
        return np.ones(len(ids), bool), []
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, one in enumerate(ids):
        rows_of[person_of(one)].append(row)
    kept, doubtful = np.zeros(len(ids), bool), []
    for rows in rows_of.values():
        ordered = sorted(rows, key=lambda row: (order_of(session_of(ids[row])), np.nan_to_num(age_years[row]), row))
        kept[ordered[0 if which == "first" else -1]] = True
        ages = [age for age in age_years[ordered] if np.isfinite(age)]
        if ages != sorted(ages):
            doubtful.append(ordered[0])
    what = f"sessions of a participant are not in the order of ages; the {which} one is that of their names"
    return kept, [ColumnRepair(what, doubtful)] if doubtful else []
