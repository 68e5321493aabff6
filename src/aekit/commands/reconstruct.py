"""``aekit reconstruct``: originals over their reconstructions, and the error of every image."""

from __future__ import annotations

from typing import Annotated

import typer

from aekit.images.record import read_checkpoints
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import Checkpoints, LabelTable, OtherData, Output, WhichSplit


def reconstruct(
    checkpoints: Checkpoints,
    n: Annotated[
        int,
        typer.Option("--images", "-n", rich_help_panel=options.ANALYSIS, min=1, help="Number of images in the figure."),
    ] = 32,
    worst: Annotated[
        bool,
        typer.Option("--worst", rich_help_panel=options.ANALYSIS, help="Sort figure and table by loss, largest first."),
    ] = False,
    split: WhichSplit = "test",
    data: OtherData = None,
    labels: LabelTable = None,
    data_root: options.DataRoot = None,
    output: Output = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Show originals over their reconstructions, and measure the error of every image.

    Reads checkpoints and the images that they were trained on (others with --data). A VAE reconstructs images from the
    posterior mean. Writes a figure (.png) and a table (.csv) of all images of the split: index, label, reconstruction
    (the training loss, in nats unless it is mse), mse, psnr (dB) and ssim. Prints the path of the figure.

    Example: aekit reconstruct runs/vae.safetensors --worst
    """
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(with_stdin(checkpoints), console)  # an error in them need not wait for torch
        from aekit.images.evaluation.reconstruct import run_reconstruct
        from aekit.images.session import open_session

        session = open_session(
            found, data=data, table=labels, data_root=data_root, device=device, threads=threads, progress=console
        )
        console.result(run_reconstruct(session, output, split=split, n=n, worst=worst))
