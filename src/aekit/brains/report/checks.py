"""The checks of the cohort report: what it warns about."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aekit.brains.cohort.sessions import describe_sessions
from aekit.brains.report.analysis import LABELS, Analysis
from aekit.brains.report.reading import CohortInput
from aekit.brains.report.scans import Scans, geometries, geometry_of
from aekit.brains.report.tables import missing_table
from aekit.brains.report.words import count_files, count_participants, some_names
from aekit.errors import count

_MAX_FRACTION_MISSING = 0.05
_NUMBER = re.compile(r"\d[\d.,]*(e[-+]?\d+)?")


@dataclass(frozen=True)
class FailedCheck:
    """A check that failed: a short name for programs, and a sentence for readers."""

    name: str
    text: str


def find_failed(analysis: Analysis, source: CohortInput, scans: Scans | None) -> list[FailedCheck]:
    """Return the checks that failed, the most serious first."""
    failed = (
        [] if scans is None else [*_bad_files(scans), *_doubtful_scans(scans), *_bad_space(scans), *_odd_files(scans)]
    )
    is_session = source.left_out["column"] == "session"  # of participants who take part with another
    n_left_out, n_sessions = source.left_out.loc[~is_session, "participant_id"].nunique(), int(is_session.sum())
    counts = [count_participants(n_left_out)] * bool(n_left_out) + [count(n_sessions, "session")] * bool(n_sessions)
    if counts:
        names = some_names(list(dict.fromkeys(map(str, source.left_out["participant_id"]))))
        failed.append(FailedCheck("left-out", f"{' and '.join(counts)} left out, see left-out.csv: {names}."))
    if sessions := describe_sessions(analysis.cohort):
        failed.append(FailedCheck("sessions", f"{sessions}."))
    n_age = int((~analysis.has_age).sum())
    if n_age:
        names = some_names(_ids(analysis, ~analysis.has_age))
        text = f"{count_participants(n_age)} without an age, excluded wherever age is needed: {names}."
        failed.append(FailedCheck("missing-age", text))
    return [*failed, *_missing_values(analysis), *_site_effects(analysis)]


def _bad_files(scans: Scans) -> Iterator[FailedCheck]:
    bad = scans.unusable
    if bad:
        names = some_names([f"{check.path.name} ({check.problem})" for check in bad])
        yield FailedCheck("unusable-files", f"{count_files(len(bad))} cannot be used: {names}.")
    if scans.off_grid:
        listed = _by_kind([(_name_of(scans, row), why) for row, why in scans.off_grid.items()])
        yield FailedCheck("unusable-on-grid", f"Cannot be used on the grid of mri-train: {'; '.join(listed)}.")
    same = [_name_of(scans, row) for row, others in enumerate(scans.same_as) if others]
    if same:
        what = f"{count_participants(len(same))} with a scan identical to someone else's"
        yield FailedCheck("same-scan", f"{what}, see files.csv: {some_names(same)}.")


def _doubtful_scans(scans: Scans) -> Iterator[FailedCheck]:
    judged = scans.judged
    if judged is None:
        return
    reasons = judged.judgement.reasons
    doubtful = [f"{judged.ids[row]} ({reasons[row]})" for row in judged.judgement.order() if reasons[row]]
    if doubtful:
        what = "scan is" if len(doubtful) == 1 else "scans are"
        text = f"{len(doubtful):,} {what} broken or unlike the others, and mri-train leaves them out by default"
        yield FailedCheck("doubtful-scans", f"{text}: {some_names(doubtful)}.")
    if judged.suspicions:
        texts = some_names([one.text for one in judged.suspicions])
        yield FailedCheck("suspicions", f"Rows that do not go with their scans: {texts}.")


def _bad_space(scans: Scans) -> Iterator[FailedCheck]:
    if scans.space is None:
        return
    if scans.space.unit_factor != 1:
        text = (
            f"Brain masks are {scans.space.slope:.3g} times as large as the volumes in the table: a unit is wrong, in "
            "the table (mm^3 or litres instead of mL) or in the voxel sizes of the files."
        )
        yield FailedCheck("units", text)
    if scans.space.space == "undecided":
        text = f"The scans are in neither clearly native nor clearly normalised space ({space_numbers(scans)})."
        yield FailedCheck("space", text)
    if odd := scans.space.disagreeing:
        ratio = scans.space.ratio
        named = [_name_of(scans, row) + ("" if ratio is None else f" ({ratio[row]:.2f})") for row in odd]
        text = (
            f"{count_files(len(odd))} with a brain that does not fit the table as the others do (brain / table, median "
            f"{scans.space.slope / scans.space.unit_factor:.2f}): another space, someone else's scan, a bad mask or a "
            f"wrong value: {some_names(named)}."
        )
        yield FailedCheck("space-of-scans", text)


def _name_of(scans: Scans, row: int) -> str:
    path = scans.matched.paths[row]
    return "" if path is None else path.name


def _odd_files(scans: Scans) -> Iterator[FailedCheck]:
    without_file, without_row = scans.matched.without_file, scans.matched.without_row
    if without_file:
        hint = f" {scans.matched.hint}." if scans.matched.hint else ""
        text = f"{count_participants(len(without_file))} without a file, see unmatched.csv"
        yield FailedCheck("rows-without-file", f"{text}: {some_names(without_file)}.{hint}")
    if without_row:
        text = f"{count_files(len(without_row))} without a participant in the table, see unmatched.csv"
        yield FailedCheck("files-without-row", f"{text}: {some_names([path.name for path in without_row])}.")
    has_nan = [check.path.name for check in scans.usable if check.n_nan]
    if has_nan:
        text = f"{count_files(len(has_nan))} with voxels that are NaN or infinite, see files.csv"
        yield FailedCheck("nan-voxels", f"{text}: {some_names(has_nan)}.")
    kinds = geometries(scans)
    if len(kinds) > 1:
        usual = kinds[0][:-1]
        others = [check.path.name for check in scans.usable if geometry_of(check) != usual]
        text = f"The files come in {len(kinds)} combinations of size, spacing and orientation; unlike most"
        yield FailedCheck("geometry", f"{text}: {some_names(others)}.")
    for text in file_warnings(scans):
        yield FailedCheck("file-warnings", f"{text}.")


def file_warnings(scans: Scans) -> list[str]:
    """Return what is unusual about files, the most frequent first: how many of them, what, and their names."""
    return _by_kind([(_name_of(scans, row), text) for row, texts in enumerate(scans.warnings()) for text in texts])


def _by_kind(texts: Sequence[tuple[str, str]]) -> list[str]:
    """Return a line per kind of text, with the names of the files; those that differ in numbers alone are of a kind."""
    kinds: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, text in texts:
        kinds[_NUMBER.sub("#", text)].append((name, text))
    lines = []
    for own in sorted(kinds.values(), key=len, reverse=True):
        if len({text for _, text in own}) == 1:
            lines.append(f"{count_files(len(own))}: {own[0][1]}: {some_names([name for name, _ in own])}")
        else:
            lines.append(f"{count_files(len(own))}: {some_names([f'{name} ({text})' for name, text in own])}")
    return lines


def _missing_values(analysis: Analysis) -> Iterator[FailedCheck]:
    table = missing_table(analysis)
    gaps = table[(table["share_missing"] > _MAX_FRACTION_MISSING) & table["column"].isin(["sex", *LABELS])]
    for name, fraction in zip(gaps["column"], gaps["share_missing"], strict=True):
        names = some_names(_ids(analysis, analysis.cohort.table[name].isna().to_numpy(bool)))
        text = f"{100 * fraction:.0f} % of the values of {name} are missing: {names}."
        yield FailedCheck(f"missing-{name}", text)


def _ids(analysis: Analysis, which: npt.NDArray[np.bool_]) -> list[str]:
    return [str(one) for one in analysis.cohort.table["participant_id"][which]]


def _site_effects(analysis: Analysis) -> Iterator[FailedCheck]:
    large = {
        LABELS[name.split(" ")[1]]: found.explained
        for name, found in analysis.sites.items()
        if name.startswith("volumes ") and found.p_value < 0.001 and found.explained > 0.01
    }
    if large:
        text = ", ".join(f"{name} {100 * fraction:.0f} %" for name, fraction in large.items())
        yield FailedCheck("sites", f"Sites differ at equal age and sex (fraction of variance explained: {text}).")


def space_numbers(scans: Scans) -> str:
    """Return the numbers that decide in which space the scans are."""
    assert scans.space is not None
    if scans.space.r != scans.space.r:
        return f"too few to decide: {count_participants(scans.space.n)} with both a scan and volumes"
    spread = "" if scans.space.spread != scans.space.spread else f" +- {100 * scans.space.spread:.1f} %"
    return (
        f"brain-mask volume against {scans.table_columns}: r = {scans.space.r:.3f}, median ratio "
        f"{scans.space.slope:.3g}{spread}, "
        f"{count_participants(scans.space.n)}"
    )
