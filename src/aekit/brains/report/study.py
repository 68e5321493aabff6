"""The cohort report: what is in a table of participants, what is odd, and what any model must beat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from aekit import __version__
from aekit.brains.cohort.splits import SPLITS, SplitPlan
from aekit.brains.config import Sessions, TableColumns
from aekit.brains.report.analysis import Analysis, add_columns, analyse_cohort
from aekit.brains.report.checks import FailedCheck, find_failed
from aekit.brains.report.figures import draw_figures
from aekit.brains.report.harmonise import describe_harmonised, harmonise
from aekit.brains.report.page import build_sections
from aekit.brains.report.reading import CohortInput, read_input
from aekit.brains.report.scans import (
    Scans,
    check_scans,
    files_table,
    quality_table,
    suspicions_table,
    unmatched_table,
)
from aekit.brains.report.tables import build_tables, repairs_table
from aekit.brains.report.words import count_participants
from aekit.core.artifacts import check_writable, write_atomically, write_csv, write_html, write_png
from aekit.core.output import Result
from aekit.core.process import keeps_settings
from aekit.core.progress import SILENT, Named, Progress
from aekit.errors import AekitError, count, shown
from aekit.plotting.html import build_report

DEFAULT_SPLIT = SplitPlan()
BY_NAME = TableColumns()


@keeps_settings
def run_eda(
    table: Path,
    output: Path | None = None,
    *,
    volumes: Path | None = None,
    pattern: str | None = None,
    qc: Path | None = None,
    split: SplitPlan = DEFAULT_SPLIT,
    chosen: TableColumns = BY_NAME,
    sessions: Sessions = "all",
    combat: str | None = None,
    skip_bad: bool = False,
    hypotheses: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Return report.html, written with its figures (.png), tables (.csv) and participants.tsv into one folder.

    Args:
        table: Participants table.
        output: Folder of the report; ``runs/eda-<name of the table>`` by default.
        volumes: Folder of the scans, to check them; None reads only the table.
        pattern: Names of the scans, with ``{id}`` in them.
        qc: Table of participant_id and qc; who failed is left out.
        split: How to split the participants.
        chosen: Columns of the table that are not to be found by their names.
        sessions: Which rows of a participant with several sessions are described.
        combat: Names or patterns of columns, with commas, whose effects of sites are removed; None for none.
        skip_bad: Leave out rows that cannot be used, rather than fail.
        hypotheses: Say what the cohort means for hypothesis H1 of ``mri-train --hypotheses``.
        progress: Shows the scans being checked, the corrections, and the main numbers.

    Raises:
        AekitError: The table or the scans cannot be used, a split would be empty, the folder cannot be written, or
            has the table itself under a name that the report would write.
    """
    folder = output or Path("runs") / f"eda-{table.stem}"
    if folder.is_file():
        raise AekitError(f"{folder}: is a file; give a folder with --output")
    progress = Named(progress, str(folder))  # others may be running on the same terminal
    inputs = [table, *([qc] if qc else [])]
    _check_inputs_stay(folder, ["participants.tsv"], inputs)
    source = read_input(table, qc=qc, group=split.group, skip_bad=skip_bad, chosen=chosen, sessions=sessions)
    cohort = source.cohort
    check_writable(folder / "report.html")
    splits = split.draw(cohort)
    analysis = analyse_cohort(cohort, splits, None if combat is None else harmonise(cohort, splits, combat))
    scans = None
    if volumes is not None:
        scans = check_scans(
            cohort, volumes, everyone=source.everyone, table_path=table, pattern=pattern, progress=progress
        )
    parameters = {
        "command": "mri-eda",
        "table": cohort.name,
        "volumes": volumes.name if volumes is not None else None,
        "qc": qc.name if qc is not None else None,
        "n": len(cohort),
        "val": split.val,
        "test": split.test,
        "split_seed": split.seed,
        "group": split.group,
        "columns": chosen.by_name(),
        "session": sessions,
        "combat": combat,
        "skip_bad": skip_bad,
        "hypotheses": hypotheses,
    }
    failed = find_failed(analysis, source, scans)
    tables = _tables(analysis, source, scans)
    _check_inputs_stay(folder, tables, inputs)
    for name, each in tables.items():
        write_csv(folder / name, each)
    _write_participants(folder, analysis, scans)
    page = _write_page(folder, analysis, source, scans, failed, parameters)
    _show(analysis, source, failed, progress)
    return Result(page, _values(analysis, source, scans, failed))


def _check_inputs_stay(folder: Path, names: Iterable[str], inputs: Sequence[Path]) -> None:
    """Raise an AekitError if a file of the report would replace one of the tables that it is made of."""
    if (folder / "participants.json").exists():  # its units would be taken for those of the corrected table
        what = "has a participants.json, which would describe the corrected participants.tsv"
        raise AekitError(f"--output {shown(folder)}: {what}; give another folder")
    for target in (folder / name for name in names):
        for own in inputs:
            if target.exists() and own.exists() and target.samefile(own):
                what = f"its {target.name} is the input, and would be replaced"
                raise AekitError(f"--output {shown(folder)}: {what}; give another folder")


def _tables(analysis: Analysis, source: CohortInput, scans: Scans | None) -> dict[str, pd.DataFrame]:
    tables = build_tables(analysis)
    tables["left-out.csv"] = source.left_out
    tables["repairs.csv"] = repairs_table(source.repairs)
    if analysis.harmonised is not None:
        tables["combat.csv"] = analysis.harmonised.effects_table()
    if scans is not None:
        tables["files.csv"] = files_table(analysis.cohort, scans)
        tables["unmatched.csv"] = unmatched_table(scans)
        if scans.judged is not None:
            tables["quality.csv"] = quality_table(scans.judged)
            tables["suspicions.csv"] = suspicions_table(scans.judged)
    return tables


def _write_participants(folder: Path, analysis: Analysis, scans: Scans | None) -> None:
    participants = add_columns(analysis, None if scans is None else scans.relative_files())
    if analysis.harmonised is not None:
        participants = analysis.harmonised.add_to(participants)
    text = participants.to_csv(sep="\t", index=False, na_rep="n/a", float_format="%.9g", lineterminator="\n")
    write_atomically(folder / "participants.tsv", lambda file: file.write(text.encode()))


def _write_page(
    folder: Path,
    analysis: Analysis,
    source: CohortInput,
    scans: Scans | None,
    failed: list[FailedCheck],
    parameters: dict[str, Any],
) -> Path:
    pictures = {
        name: write_png(folder / name, figure, parameters).read_bytes()
        for name, figure in draw_figures(analysis, scans).items()
    }
    n_scans = "" if scans is None else f", {count(len(scans.usable), 'scan')}"
    page = build_report(
        build_sections(analysis, source, scans, pictures, failed=failed, hypotheses=bool(parameters["hypotheses"])),
        title=f"Cohort report: {analysis.cohort.name}",
        subtitle=f"{count_participants(len(analysis.cohort))}{n_scans}",
        footer=f"aekit {__version__} mri-eda. Every figure and table is also a separate file next to this page.",
        parameters=parameters,
    )
    return write_html(folder / "report.html", page)


def _show(analysis: Analysis, source: CohortInput, failed: list[FailedCheck], progress: Progress) -> None:
    for repair in source.repairs:
        examples = f" ({', '.join(repair.examples)})" if repair.examples else ""
        times = "once" if repair.n == 1 else f"{repair.n:,} times"
        progress.notice(f"corrected: {repair.what}, {times}{examples}")
    for note in source.qc_notes:
        progress.notice(note)
    if analysis.harmonised is not None:
        progress.notice(describe_harmonised(analysis.harmonised))
    cohort, floor, outliers = analysis.cohort, analysis.floor, analysis.outliers
    age = cohort.age_years[analysis.has_age]
    row = {
        "participants": f"{len(cohort):,}",
        "female": int((cohort.sex == "F").sum()),
        "male": int((cohort.sex == "M").sum()),
        "age": f"{age.min():.1f} to {age.max():.1f}",
        "MAE of the median age (floor)": f"{floor.mae_median_years.value:.2f} years",
        "MAE of the mean age": f"{floor.mae_mean_years.value:.2f} years",
        "outliers": None if outliers is None else int(outliers.flagged.sum()),
    }
    progress.table(f"Cohort {cohort.name}", list(row), [list(row.values())])
    for each in failed:
        progress.notice(f"{each.name}: {each.text}")


def _values(
    analysis: Analysis, source: CohortInput, scans: Scans | None, failed: list[FailedCheck]
) -> Mapping[str, Any]:
    floor, sex = analysis.floor, analysis.cohort.sex
    values: dict[str, Any] = {
        "n": len(analysis.cohort),
        "n_female": int((sex == "F").sum()),
        "n_male": int((sex == "M").sum()),
        "n_left_out": int(source.left_out["participant_id"].nunique()),
        "n_missing": int(analysis.cohort.table.isna().to_numpy().sum()),
        "n_missing_age": int((~analysis.has_age).sum()),
        "mae_mean_years": floor.mae_mean_years.value,
        "mae_median_years": floor.mae_median_years.value,
        "n_outliers": None if analysis.outliers is None else int(analysis.outliers.flagged.sum()),
        "split": {name: int((analysis.split == name).sum()) for name in SPLITS},
        "failed": list(dict.fromkeys(each.name for each in failed)),
    }
    if scans is not None:
        values |= {
            "n_files": len(scans.usable),
            "n_unusable_files": len(scans.unusable),
            "space": None if scans.space is None else scans.space.space,
        }
    return values
