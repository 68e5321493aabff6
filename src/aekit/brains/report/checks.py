"""What of a cohort ``aekit mri-eda`` warns of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aekit.brains.report.scans import Scans, geometries
from aekit.brains.report.study import LABELS, Study
from aekit.brains.report.tables import missing_table
from aekit.brains.report.words import count_files, count_people, some_names

if TYPE_CHECKING:
    import pandas as pd

    from aekit.brains.cohort.table import Cohort, Repair

_LARGE_SHARE_MISSING = 0.05


@dataclass(frozen=True)
class Failed:
    """A check that failed: a short name for programs, and a sentence for people."""

    name: str
    text: str


@dataclass(frozen=True, eq=False)
class Reading:
    """How the people that count came to be.

    Attributes:
        repairs: What was put right in the table.
        left_out: Lines of participant_id, column, value and reason.
        everyone: The people of the table, before those who failed the quality check are left out.
        qc_notes: What was found in the quality table, a sentence each.
        quality: Quality measures: name, people, mean of those that count, correlation with age.
        group: Column whose members stay in one split; None for none.
    """

    repairs: Sequence[Repair]
    left_out: pd.DataFrame
    everyone: Cohort
    qc_notes: Sequence[str] = ()
    quality: Sequence[tuple[str, int, float, float]] = ()
    group: str | None = None


def find_failed(study: Study, reading: Reading, scans: Scans | None) -> list[Failed]:
    """Return the checks that failed, the gravest first."""
    failed = [] if scans is None else _failed_scans(scans)
    n_left_out = reading.left_out["participant_id"].nunique()
    if n_left_out:
        failed.append(Failed("left-out", f"{count_people(n_left_out)} left out, see left-out.csv."))
    n_age = int((~study.has_age).sum())
    if n_age:
        failed.append(
            Failed("missing-age", f"{count_people(n_age)} without an age, who do not count wherever age is needed.")
        )
    table = missing_table(study)
    gaps = table[(table["share_missing"] > _LARGE_SHARE_MISSING) & table["column"].isin(["sex", *LABELS])]
    for name, share in zip(gaps["column"], gaps["share_missing"], strict=True):
        failed.append(Failed(f"missing-{name}", f"{100 * share:.0f} % of the values of {name} are missing."))
    failed += _failed_sites(study)
    return failed


def _failed_scans(scans: Scans) -> list[Failed]:
    failed = []
    bad = scans.unusable
    if bad:
        names = some_names([check.path.name for check in bad])
        failed.append(Failed("unusable-files", f"{count_files(len(bad))} cannot be used: {names}."))
    twice = sum(bool(same) for same in scans.same_as)
    if twice:
        failed.append(
            Failed("same-scan", f"{count_people(twice)} with the very same scan as someone else, see files.csv.")
        )
    if scans.space is not None and scans.space.unit_factor != 1:
        failed.append(
            Failed(
                "units",
                f"Brain masks have {scans.space.slope:.3g} times the volume that the table says: a unit is mixed up, "
                "in the table (mm^3 or litres for mL) or in the voxel sizes of the files.",
            )
        )
    if scans.space is not None and scans.space.space == "undecided":
        failed.append(
            Failed("space", f"It cannot be told whether the scans are in native space ({space_numbers(scans)}).")
        )
    if scans.matched.without_file:
        n = len(scans.matched.without_file)
        failed.append(Failed("rows-without-file", f"{count_people(n)} without a file, see unmatched.csv."))
    if scans.matched.without_row:
        n = len(scans.matched.without_row)
        failed.append(
            Failed("files-without-row", f"{count_files(n)} belong to nobody in the table, see unmatched.csv.")
        )
    if any(check.n_nan for check in scans.usable):
        n = sum(bool(check.n_nan) for check in scans.usable)
        failed.append(Failed("nan-voxels", f"{count_files(n)} with voxels that are no number, see files.csv."))
    if len(geometries(scans)) > 1:
        text = f"The files come in {len(geometries(scans))} combinations of size, spacing and orientation."
        failed.append(Failed("geometry", text))
    return failed


def _failed_sites(study: Study) -> list[Failed]:
    large = {
        LABELS[name.split(" ")[1]]: found.explained
        for name, found in study.sites.items()
        if name.startswith("volumes ") and found.p_value < 0.001 and found.explained > 0.01
    }
    if not large:
        return []
    text = ", ".join(f"{name} {100 * share:.0f} %" for name, share in large.items())
    return [
        Failed("sites", f"Sites differ among people of the same age and sex (share of the variance explained: {text}).")
    ]


def space_numbers(scans: Scans) -> str:
    """Return the numbers that the space of scans is told by."""
    assert scans.space is not None
    if scans.space.r != scans.space.r:
        return f"{count_people(scans.space.n)} with both scan and volumes, too few to tell"
    return (
        f"brain-mask volume against gmv + wmv + csfv: r = {scans.space.r:.3f}, median ratio {scans.space.slope:.3g}, "
        f"{scans.space.n:,} people"
    )
