"""``aekit mri-phantom``: a synthetic cohort and its brain volumes, for tests and a first try."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from aekit.core.settings import MAX_SEED
from aekit.terminal import options
from aekit.terminal.console import Console


def mri_phantom(
    n: Annotated[
        int,
        typer.Option(
            "-n", "--number", rich_help_panel=options.COHORT, min=1, max=100_000, help="Number of participants."
        ),
    ] = 466,
    size: Annotated[
        int, typer.Option("--size", rich_help_panel=options.COHORT, help="Voxels along each edge of a volume.")
    ] = 96,
    spacing: Annotated[
        float | None,
        typer.Option(
            "--spacing",
            rich_help_panel=options.COHORT,
            metavar="MM",
            help="Voxel size, in mm.",
            show_default="192 / size: the volume encloses a head",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option("--seed", rich_help_panel=options.COHORT, min=0, max=MAX_SEED, help="Random seed."),
    ] = 0,
    patients: Annotated[
        float | None,
        typer.Option(
            "--patients",
            rich_help_panel=options.COHORT,
            help="Fraction of participants with diagnosis patient; the older their brains look, the lower their score.",
            show_default="0; 0.3 with --group-effect",
        ),
    ] = None,
    group_effect: Annotated[
        float,
        typer.Option(
            "--group-effect",
            rich_help_panel=options.COHORT,
            metavar="YEARS",
            help="Years by which the brains of patients look older than they are, on average; the SD is 40 % of it.",
        ),
    ] = 0.0,
    site_effect: Annotated[
        float,
        typer.Option(
            "--site-effect",
            rich_help_panel=options.COHORT,
            help="How much the scanners of sites A, B and C differ. 1 stands for an SD of 5 % in contrast, of a factor "
            "of 2 in gain and of 30 % in the bias field, and a mean blur of 0.8 mm.",
        ),
    ] = 0.0,
    broken: Annotated[
        float,
        typer.Option(
            "--broken",
            rich_help_panel=options.COHORT,
            metavar="X",
            help="Fraction of scans and rows to damage, in ways listed in the column damage of qc.tsv.",
        ),
    ] = 0.0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=options.OUTPUT,
            metavar="FOLDER",
            help="Folder for participants.tsv, qc.tsv and volumes/.",
            show_default="runs/<name from the options>",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", min=1, rich_help_panel=options.OUTPUT, help="Number of threads.", show_default="all cores"
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    resume: Annotated[
        bool, typer.Option("--resume", rich_help_panel=options.OUTPUT, help="Accept a finished cohort as it is.")
    ] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Generate a synthetic cohort: a table of participants and a skull-stripped brain volume of each.

    Writes a folder: participants.tsv, qc.tsv and volumes/. Age and sex affect the tissue volumes only, with realistic
    scatter; the table has the volumes of the images, exact to the voxel. Patients and scanners that differ are made
    only if asked for. Participant k is the same for any number of participants. An interrupted run always continues;
    --resume only accepts a finished cohort instead of refusing it. Prints the path of the folder.

    Example: aekit mri-phantom -n 60 --size 48 -o runs/phantom
    """
    from aekit.brains.cohort.phantom import run_phantom
    from aekit.brains.cohort.phantom_effects import check_effects

    effects = check_effects(patients, group_effect, site_effect)
    with Console(quiet=quiet, json=json) as console:
        run = partial(run_phantom, broken=broken, effects=effects, overwrite=overwrite, resume=resume, progress=console)
        console.result(run(n, output, size, spacing, seed, jobs))
