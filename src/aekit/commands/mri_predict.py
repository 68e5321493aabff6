"""``aekit mri-predict``: tissue volumes and age of new scans, with intervals, and warnings about unusual scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aekit.terminal import completion, options
from aekit.terminal.brain_options import Pattern, SkipBad, VoxelSize
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin


def mri_predict(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            autocompletion=completion.checkpoints, metavar="CHECKPOINT", help="A checkpoint of mri-train, .safetensors."
        ),
    ],
    volumes: Annotated[
        list[str] | None,
        typer.Argument(
            autocompletion=completion.volumes,
            metavar="VOLUME...",
            help="Skull-stripped T1 volumes, or folders of them; - reads paths from stdin. None for a checkpoint of "
            "--features.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            rich_help_panel=options.DATA,
            autocompletion=completion.people,
            metavar="TABLE",
            help="Participants in the volumes, with their ages: adds ids and delta. For a checkpoint of --features the "
            "table that it predicts from.",
            show_default="none",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            rich_help_panel=options.DATA,
            autocompletion=completion.people,
            metavar="TABLE",
            help="Healthy participants with ages and scans among the volumes, 10 to 40 of the same scanner: ages and "
            "intervals are recalibrated on them.",
            show_default="none",
        ),
    ] = None,
    pattern: Pattern = None,
    voxel_size: VoxelSize = None,
    skip_bad: SkipBad = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=options.OUTPUT,
            metavar="PATH",
            help="The table to write, .csv; or a folder for it.",
            show_default="next to the checkpoint",
        ),
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Predict tissue volumes and age of new scans, as CSV.

    Reads a checkpoint of mri-train and brain volumes. Writes a table (.csv) with a row per scan, in mL and years. The
    intervals are split-conformal: they contain the truth for 90 % of participants like those on which the error was
    measured (val, or the folds of a cross-validation); if those are few, the next level that their number allows, which
    is printed. Scans that differ from the training data in voxels, size, intensities or age are marked with * and have
    no intervals: nobody knows how much the networks err for them. --reference finds out from healthy participants of
    the same scanner. Prints the path of the table.

    A checkpoint of mri-train --features needs no volumes: it predicts from the same columns of --table.

    Example: aekit mri-predict runs/brain.safetensors new/*.nii.gz -o new.csv
    """
    from aekit.brains.choice import predict_with
    from aekit.brains.scan_people import ScanTables

    paths = [Path(text) for text in with_stdin(volumes, kind="volume")] if volumes else []
    tables = ScanTables(table, reference, pattern)
    with Console(quiet=quiet, json=json) as console:
        console.result(
            predict_with(
                checkpoint, paths, output, device, threads, spacing_mm=voxel_size, skip_bad=skip_bad, tables=tables,
                progress=console,
            )
        )  # fmt: skip
