"""``aekit mri-eda``: a cohort described - what is in the table, what is odd, and what any model must beat."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from aekit.terminal import options
from aekit.terminal.brain_options import (
    AgeColumn,
    Group,
    IdColumn,
    Pattern,
    Session,
    SexColumn,
    SiteColumn,
    SkipBad,
    Table,
)
from aekit.terminal.console import Console


def mri_eda(
    table: Table,
    volumes: Annotated[
        Path | None,
        typer.Option(
            "--volumes",
            rich_help_panel=options.DATA,
            help="Folder of the scans to check (.nii, .nii.gz, .npy).",
            show_default="only the table is read",
        ),
    ] = None,
    pattern: Pattern = None,
    id_column: IdColumn = None,
    age_column: AgeColumn = None,
    sex_column: SexColumn = None,
    site_column: SiteColumn = None,
    session: Session = "all",
    qc: Annotated[
        Path | None,
        typer.Option(
            "--qc",
            rich_help_panel=options.DATA,
            help="Table of participant_id and qc (1 pass, 0 fail); participants who fail are left out.",
            show_default="none",
        ),
    ] = None,
    group: Group = None,
    val: Annotated[
        float, typer.Option("--val", rich_help_panel=options.DATA, help="Fraction of participants for validation.")
    ] = 0.15,
    test: Annotated[
        float, typer.Option("--test-split", rich_help_panel=options.DATA, help="Fraction of participants for testing.")
    ] = 0.2,
    split_seed: Annotated[
        int, typer.Option("--split-seed", rich_help_panel=options.DATA, help="Seed of the random split.")
    ] = 0,
    combat: Annotated[
        str | None,
        typer.Option(
            "--combat",
            rich_help_panel=options.DATA,
            metavar="COLUMNS",
            help="Remove the effects of sites from these columns by ComBat, fitted on train, as in gmv,wmv,csfv or "
            "'roi_*'; age and sex are kept.",
            show_default="none",
        ),
    ] = None,
    skip_bad: SkipBad = False,
    hypotheses: Annotated[
        bool,
        typer.Option(
            "--hypotheses",
            rich_help_panel=options.DATA,
            help="Say what the cohort means for H1 of mri-train --hypotheses: proportions of tissues differ less by "
            "sex than volumes, and predict age better.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=options.OUTPUT,
            metavar="FOLDER",
            help="Folder for the report, its figures and tables.",
            show_default="runs/eda-<name of the table>",
        ),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Describe a cohort: report on ages, tissue volumes, sexes, sites, outliers and scans, and propose a split.

    Reads the table, and with --volumes every scan. Writes a folder: report.html with everything on one page, every
    figure as PNG, every table as CSV, and participants.tsv, the input of mri-train: the corrected table with columns
    for outliers and for a split that is balanced in age and sex. Outliers are flagged, not removed. Prints the path of
    the report. If the table is called participants.tsv, the folder must be another than its own.

    Example: aekit mri-eda participants.tsv --volumes scans -o report
    """
    from aekit.brains.cohort.splits import SplitPlan
    from aekit.brains.config import TableColumns
    from aekit.brains.report.study import run_eda

    chosen = TableColumns(id_column, age_column, sex_column, site_column)
    split = SplitPlan(val, test, split_seed, group)
    reading = partial(run_eda, chosen=chosen, sessions=session, combat=combat, skip_bad=skip_bad)
    reporting = partial(reading, volumes=volumes, pattern=pattern, qc=qc, split=split, hypotheses=hypotheses)
    with Console(quiet=quiet, json=json) as console:
        console.result(reporting(table, output, progress=console))
