"""``aekit mri-associate``: whether the brain-age gap is related to diagnosis and other columns of the table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aekit.brains.associate.request import AgeTrend
from aekit.brains.config import TableColumns
from aekit.core.settings import MAX_SEED
from aekit.terminal import completion, options
from aekit.terminal.brain_options import AgeColumn, IdColumn, SexColumn, SiteColumn, SkipBad
from aekit.terminal.console import Console


def mri_associate(
    predictions: Annotated[
        Path,
        typer.Argument(
            autocompletion=completion.tables,
            metavar="PREDICTIONS",
            help="x.predictions.csv of mri-train, or x.predicted.csv of mri-predict.",
        ),
    ],
    covariates: Annotated[
        str,
        typer.Option(
            "--with",
            rich_help_panel=options.ANALYSIS,
            metavar="COLUMNS",
            help="Columns to test, with commas: numbers, or groups such as diagnosis.",
        ),
    ],
    table: Annotated[
        Path | None,
        typer.Argument(
            autocompletion=completion.people,
            metavar="TABLE",
            help="Participants with age, sex, site and the columns to test; not needed if PREDICTIONS has them.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            rich_help_panel=options.ANALYSIS,
            autocompletion=completion.one_of(("chain", "direct")),
            metavar="NAME",
            help="Whose gap is tested: chain, direct, or another model of PREDICTIONS.",
            show_default="chain or direct, by MAE",
        ),
    ] = None,
    controls: Annotated[
        str | None,
        typer.Option(
            "--controls",
            rich_help_panel=options.ANALYSIS,
            metavar="EXPR",
            help="Who is healthy, as 'diagnosis=control' or 'diagnosis!=patient': they alone determine the age trend "
            "that groups are compared with, and are the reference.",
            show_default="none",
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            rich_help_panel=options.ANALYSIS,
            metavar="EXPR",
            help="Group that the others of its column are compared with, as apoe=e3; may be repeated.",
            show_default="controls, or the largest",
        ),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(
            "--groups",
            rich_help_panel=options.ANALYSIS,
            metavar="COLUMNS",
            help="Columns whose numbers are names of groups.",
            show_default="those with two values",
        ),
    ] = None,
    adjust: Annotated[
        str | None,
        typer.Option(
            "--adjust",
            rich_help_panel=options.ANALYSIS,
            metavar="COLUMNS",
            help="Columns in every model; none for none.",
            show_default="age, sex and site",
        ),
    ] = None,
    age_trend: Annotated[
        AgeTrend,
        typer.Option("--age-trend", rich_help_panel=options.ANALYSIS, help="Whether age squared is in the models too."),
    ] = "linear",
    permutations: Annotated[
        int,
        typer.Option(
            "--permutations", rich_help_panel=options.ANALYSIS, min=0, max=1_000_000, help="Permutations per test."
        ),
    ] = 5000,
    seed: Annotated[
        int,
        typer.Option("--seed", rich_help_panel=options.ANALYSIS, min=0, max=MAX_SEED, help="Seed of the permutations."),
    ] = 0,
    pattern: Annotated[
        str | None,
        typer.Option(
            "--pattern",
            rich_help_panel=options.DATA,
            help="Where the id is in names of files of mri-predict, such as {id}_T1w.nii.gz.",
            show_default="column file, or the id in the name",
        ),
    ] = None,
    id_column: IdColumn = None,
    age_column: AgeColumn = None,
    sex_column: SexColumn = None,
    site_column: SiteColumn = None,
    skip_bad: SkipBad = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=options.OUTPUT,
            metavar="PATH",
            help="The table to write, .csv, with .png and .md of the same stem; or a folder.",
            show_default="next to PREDICTIONS",
        ),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Test whether the brain-age gap is related to diagnosis, scores and other columns, given age, sex and site.

    The gap is predicted minus true age of participants that the network was not trained on. Numbers are tested by
    linear regression with HC3 robust errors, groups by adjusted differences with Cohen's d and AUC; all with
    permutation p values, and corrected for the number of tests (Holm, false discovery rate). Where the table has tissue
    volumes, they go through the same tests, and so does the gap given the volumes: what the image adds. With two
    sessions of the same participants, their agreement is measured (ICC, smallest detectable change).

    Reads predictions, and the participants table if they do not have its columns. Writes a row per test (.csv), a
    figure (.png) and a paragraph on method and results (.md). Prints the path of the table.

    Example: aekit mri-associate runs/brain.predictions.csv participants.tsv --with diagnosis,mmse --controls
    'diagnosis=control'
    """
    from aekit.brains.associate.request import build_request
    from aekit.brains.associate.study import run_associate

    request = build_request(
        predictions, table, covariates, model=model, controls=controls, references=reference, groups=groups,
        adjust=adjust, age_trend=age_trend, n_permutations=permutations, seed=seed, pattern=pattern, skip_bad=skip_bad,
        columns=TableColumns(id_column, age_column, sex_column, site_column),
    )  # fmt: skip
    with Console(quiet=quiet, json=json) as console:
        console.result(run_associate(request, output, progress=console))
