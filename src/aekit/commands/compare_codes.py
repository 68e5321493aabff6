"""``aekit compare-codes``: how alike the codes of several models are on the same images."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from aekit.images.record import read_checkpoints
from aekit.images.similarity.request import MIN_IMAGES
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import Checkpoints, FigureOutput, NoiseSeed, OtherData, Resamples, WhichSplit


def compare_codes(
    checkpoints: Checkpoints,
    n: Annotated[
        int,
        typer.Option(
            "--images", "-n", rich_help_panel=options.ANALYSIS, min=MIN_IMAGES, help="Number of images to encode."
        ),
    ] = 2000,
    neighbours: Annotated[
        int,
        typer.Option(
            "--neighbours",
            "-k",
            rich_help_panel=options.ANALYSIS,
            min=1,
            help="Nearest neighbours of an image that two codes are asked to share.",
        ),
    ] = 10,
    pixels: Annotated[
        bool,
        typer.Option(
            "--pixels/--no-pixels",
            rich_help_panel=options.ANALYSIS,
            help="Compare with principal components of the pixels, too.",
        ),
    ] = True,
    bootstrap: Resamples = 200,
    seed: NoiseSeed = 0,
    split: WhichSplit = "test",
    data: OtherData = None,
    data_root: options.DataRoot = None,
    output: FigureOutput = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Measure how alike the codes of several models are on the same images.

    Reads checkpoints and the images that they were trained on (others with --data). For each pair of codes (a VAE's
    posterior means): centred kernel alignment, Procrustes disparity, and the fraction of nearest neighbours that both
    share, each with a 95 % interval over images, and its value if the images of one are permuted. None of them depends
    on shifts, a common scale, or turned axes, so that numbers of dimensions and seeds compare. Writes a figure (.png)
    of matrices and a table (.csv) with a row per pair. Prints the path of the figure.

    Example: aekit compare-codes runs/ae-*.safetensors runs/vae-*.safetensors
    """
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(with_stdin(checkpoints), console)  # an error in them need not wait for torch
        from aekit.images.session import open_session
        from aekit.images.similarity.study import run_compare_codes

        session = open_session(found, data=data, data_root=data_root, device=device, threads=threads, progress=console)
        drawn: dict[str, Any] = {"n_images": n, "bootstrap": bootstrap, "seed": seed, "split": split}
        result = run_compare_codes(session, output, neighbours=neighbours, pixels=pixels, **drawn)
        console.result(result)
