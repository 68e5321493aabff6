"""The checks of the cohort report: what it warns about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aekit.brains.cohort.sessions import describe_sessions
from aekit.brains.report.analysis import LABELS, Analysis
from aekit.brains.report.reading import CohortInput
from aekit.brains.report.scans import Scans, geometries
from aekit.brains.report.tables import missing_table
from aekit.brains.report.words import count_files, count_participants, some_names
from aekit.errors import count

_MAX_FRACTION_MISSING = 0.05


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
        failed.append(FailedCheck("left-out", f"{' and '.join(counts)} left out, see left-out.csv."))
    if sessions := describe_sessions(analysis.cohort):
        failed.append(FailedCheck("sessions", f"{sessions}."))
    n_age = int((~analysis.has_age).sum())
    if n_age:
        text = f"{count_participants(n_age)} without an age: excluded wherever age is needed."
        failed.append(FailedCheck("missing-age", text))
    return [*failed, *_missing_values(analysis), *_site_effects(analysis)]


def _bad_files(scans: Scans) -> Iterator[FailedCheck]:
    bad = scans.unusable
    if bad:
        names = some_names([check.path.name for check in bad])
        yield FailedCheck("unusable-files", f"{count_files(len(bad))} cannot be used: {names}.")
    n_same = sum(bool(same) for same in scans.same_as)
    if n_same:
        text = f"{count_participants(n_same)} with a scan identical to someone else's, see files.csv."
        yield FailedCheck("same-scan", text)


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
    n_rows, n_files = len(scans.matched.without_file), len(scans.matched.without_row)
    if n_rows:
        hint = f" {scans.matched.hint}." if scans.matched.hint else ""
        yield FailedCheck("rows-without-file", f"{count_participants(n_rows)} without a file, see unmatched.csv.{hint}")
    if n_files:
        text = f"{count_files(n_files)} without a participant in the table, see unmatched.csv."
        yield FailedCheck("files-without-row", text)
    n_nan = sum(bool(check.n_nan) for check in scans.usable)
    if n_nan:
        yield FailedCheck("nan-voxels", f"{count_files(n_nan)} with voxels that are NaN or infinite, see files.csv.")
    n_geometries = len(geometries(scans))
    if n_geometries > 1:
        text = f"The files come in {n_geometries} combinations of size, spacing and orientation."
        yield FailedCheck("geometry", text)


def _missing_values(analysis: Analysis) -> Iterator[FailedCheck]:
    table = missing_table(analysis)
    gaps = table[(table["share_missing"] > _MAX_FRACTION_MISSING) & table["column"].isin(["sex", *LABELS])]
    for name, fraction in zip(gaps["column"], gaps["share_missing"], strict=True):
        yield FailedCheck(f"missing-{name}", f"{100 * fraction:.0f} % of the values of {name} are missing.")


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
