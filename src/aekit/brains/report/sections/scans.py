"""The section of the cohort report on the scans."""

from __future__ import annotations

from collections.abc import Mapping

from aekit.brains.cohort.table import Cohort
from aekit.brains.report.checks import file_warnings, space_numbers
from aekit.brains.report.figures import SPACES
from aekit.brains.report.scans import Scans, geometries
from aekit.brains.report.words import N_LISTED, first_of, picture
from aekit.plotting.html import Block, Bullets, Paragraph, Section, Table


def scan_section(scans: Scans, cohort: Cohort, pictures: Mapping[str, bytes]) -> Section:
    """Return the section on the space of the scans, their geometries, and files that are bad, odd or identical."""
    geometry = Table(
        ["size (voxels)", "spacing (mm)", "axes", "files"],
        geometries(scans)[:N_LISTED],
        caption="Usable files. All files: files.csv.",
        n_left=3,
    )
    blocks = [*_space(scans, pictures), geometry, *_unusable(scans, cohort), *_warnings(scans), *_same(scans, cohort)]
    return Section("Scans", [*blocks, *_quality(scans, pictures)])


def _quality(scans: Scans, pictures: Mapping[str, bytes]) -> list[Block]:
    judged = scans.judged
    if judged is None:
        return []
    caption = (
        "Middle slices of the most unusual scans, the worst first; red: mri-train leaves them out. quality.csv has "
        "all scans."
    )
    blocks: list[Block] = picture(pictures, "scans.png", "Middle slices of the most unusual scans", caption)
    reasons, order = judged.judgement.reasons, judged.judgement.order()
    rows = [(judged.ids[row], judged.files[row], reasons[row]) for row in order if reasons[row]]
    if rows:
        listed = first_of(rows, "Scans that are broken or unlike the others")
        heads = ["participant", "file", "reason"]
        blocks.append(Table(heads, rows[:N_LISTED], caption=listed, n_left=3, wrap=["file", "reason"]))
    if judged.suspicions:
        found = [(one.what, one.text) for one in judged.suspicions]
        listed = first_of(found, "Rows that do not go with their scans; nothing is left out for it")
        blocks.append(Table(["what", "found"], found[:N_LISTED], caption=listed, n_left=2, wrap=["found"]))
    return blocks


def _space(scans: Scans, pictures: Mapping[str, bytes]) -> list[Block]:
    if scans.space is None:
        return []
    what = SPACES[scans.space.space]
    text = f"{what[0].upper()}{what[1:]} ({space_numbers(scans)})."
    if scans.space.space == "normalised":
        text += " Absolute volumes cannot be read from such scans; use --target proportion."
    caption = (
        "Brain-mask volume of each scan against the table. A single point far off the line has someone else's scan or "
        "a bad mask; if all of them are off by the same factor, a unit is wrong."
    )
    return [Paragraph(text), *picture(pictures, "brain-volume.png", "Brain mask against the table", caption)]


def _unusable(scans: Scans, cohort: Cohort) -> list[Block]:
    listed = [
        (one, check.path.name, check.problem or scans.off_grid[row])
        for row, (one, check) in enumerate(zip(cohort.table["participant_id"], scans.checks, strict=True))
        if check is not None and (check.problem or row in scans.off_grid)
    ]
    if not listed:
        return []
    caption = first_of(listed, "Files that cannot be used")
    heads = ["participant", "file", "problem"]
    return [Table(heads, listed[:N_LISTED], caption=caption, n_left=3, wrap=["problem"])]


def _warnings(scans: Scans) -> list[Block]:
    found = file_warnings(scans)
    return [Bullets(found[:N_LISTED])] if found else []


def _same(scans: Scans, cohort: Cohort) -> list[Block]:
    same = [
        (one, ", ".join(others))
        for one, others in zip(cohort.table["participant_id"], scans.same_as, strict=True)
        if others
    ]
    if not same:
        return []
    caption = first_of(same, "Identical scans")
    return [Table(["participant", "same scan as"], same[:N_LISTED], caption=caption, n_left=2, wrap=["same scan as"])]
