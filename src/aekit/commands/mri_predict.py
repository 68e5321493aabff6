"""``aekit mri-predict``: tissue volumes and age of new scans, with intervals, and warnings about unusual scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aekit.terminal import completion, options
from aekit.terminal.brain_options import SkipBad, VoxelSize
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
        list[str],
        typer.Argument(
            autocompletion=completion.volumes,
            metavar="VOLUME...",
            help="Skull-stripped T1 volumes, or folders of them; - reads paths from stdin.",
        ),
    ],
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
    is printed. For scans that differ from the training data in voxels, size,
    intensities or age, there is no such guarantee; the column warnings marks them. Prints the path of the table.

    Example: aekit mri-predict runs/brain.safetensors new/*.nii.gz -o new.csv
    """
    from aekit.brains.predict import run_predict

    paths = [Path(text) for text in with_stdin(volumes, kind="volume")]
    with Console(quiet=quiet, json=json) as console:
        console.result(
            run_predict(
                checkpoint, paths, output, device, threads, spacing_mm=voxel_size, skip_bad=skip_bad, progress=console
            )
        )
