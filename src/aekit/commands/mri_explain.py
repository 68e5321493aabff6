"""``aekit mri-explain``: which parts of a scan a network's age comes from, as maps with a test of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from aekit.terminal import completion, options
from aekit.terminal.brain_options import SkipBad, VoxelSize
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin


def mri_explain(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            autocompletion=completion.checkpoints, metavar="CHECKPOINT", help="A checkpoint of mri-train, .safetensors."
        ),
    ],
    scans: Annotated[
        list[str],
        typer.Argument(
            autocompletion=completion.volumes,
            metavar="SCAN...",
            help="Skull-stripped T1 volumes, or folders of them; - reads paths from stdin.",
        ),
    ],
    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            autocompletion=completion.people,
            rich_help_panel=options.DATA,
            metavar="FILE",
            help="Participants, for --group; the id is found in the name of a scan.",
            show_default="none",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            rich_help_panel=options.DATA,
            metavar="COLUMN",
            help="Also mean maps by this column of --table, and their difference if it has two values.",
            show_default="none",
        ),
    ] = None,
    voxel_size: VoxelSize = None,
    skip_bad: SkipBad = False,
    model: Annotated[
        Literal["chain", "direct"] | None,
        typer.Option(
            "--model",
            rich_help_panel=options.ANALYSIS,
            help="The networks to explain.",
            show_default="chain, if there is one",
        ),
    ] = None,
    cube: Annotated[
        float,
        typer.Option(
            "--cube",
            rich_help_panel=options.ANALYSIS,
            metavar="MM",
            help="Edge of the occluded cube, rounded to an even number of voxels of the grid.",
        ),
    ] = 24.0,
    fill: Annotated[
        Literal["mean", "blur"],
        typer.Option(
            "--fill",
            rich_help_panel=options.ANALYSIS,
            help="What replaces a cube: the mean intensity of the scan's brain, or the blurred scan.",
        ),
    ] = "mean",
    samples: Annotated[
        int,
        typer.Option("--samples", rich_help_panel=options.ANALYSIS, help="Noisy copies per scan for SmoothGrad."),
    ] = 16,
    noise: Annotated[
        float,
        typer.Option(
            "--noise",
            rich_help_panel=options.ANALYSIS,
            help="SD of their noise; the brightest parts of a brain have about 1.",
        ),
    ] = 0.1,
    randomisations: Annotated[
        int,
        typer.Option(
            "--randomisations",
            rich_help_panel=options.ANALYSIS,
            metavar="N",
            help="Draws of random weights in the test of the maps, 2 or more; 0 for no test.",
        ),
    ] = 3,
    figures: Annotated[
        int,
        typer.Option(
            "--figures", rich_help_panel=options.ANALYSIS, metavar="N", help="Scans with a figure of their own."
        ),
    ] = 4,
    seed: Annotated[
        int, typer.Option("--seed", rich_help_panel=options.ANALYSIS, help="Seed of noise and random weights.")
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=options.OUTPUT,
            metavar="FOLDER",
            help="The folder to write.",
            show_default="x.explain, next to x.safetensors",
        ),
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Map which parts of a scan the predicted age comes from.

    Reads a checkpoint of mri-train and brain volumes. Writes a folder: per scan an occlusion map (years), a SmoothGrad
    map (years per unit of intensity) and the scan on the networks' grid, as .nii.gz; their means; figures; tables of
    sums and peaks, and of the randomisation test, in which networks with random weights must not give the same maps.
    The intensity histogram, the networks' second input, is held fixed: the maps explain the image alone. How much of
    the spread of ages comes from the histogram is printed. Prints the path of the figure of the mean maps.

    Example: aekit mri-explain runs/brain.safetensors new/*.nii.gz -o maps
    """
    from aekit.brains.explain.request import ExplainRequest, ScanRequest
    from aekit.brains.explain.study import run_explain

    request = ExplainRequest(model, cube, fill, samples, noise, randomisations, figures, seed)
    paths = [Path(text) for text in with_stdin(scans, kind="volume")]
    wanted = ScanRequest(paths, voxel_size, skip_bad, table, group)
    with Console(quiet=quiet, json=json) as console:
        console.result(run_explain(checkpoint, wanted, output, request, device, threads, progress=console))
