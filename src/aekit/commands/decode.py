"""``aekit decode``: images of codes in a file, the inverse of ``encode``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aekit.images.record import read_checkpoints
from aekit.terminal import completion, options
from aekit.terminal.console import Console
from aekit.terminal.streams import one_from_stdin
from aekit.terminal.study_options import EachPicture, OneCheckpoint


def decode(
    checkpoint: OneCheckpoint,
    codes: Annotated[
        str,
        typer.Argument(
            autocompletion=completion.code_files,
            metavar="CODES",
            help="Codes to decode, as encode and sample --codes write them, .csv or .safetensors; - reads their path "
            "from stdin.",
        ),
    ],
    n: Annotated[
        int | None,
        typer.Option(
            "--images",
            "-n",
            rich_help_panel=options.ANALYSIS,
            min=1,
            help="Number of images in the figure, the first ones.",
            show_default="256",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--label",
            rich_help_panel=options.ANALYSIS,
            metavar="NAME",
            help="Class to decode all codes as, for a model trained with --condition label.",
            show_default="the column label of the codes",
        ),
    ] = None,
    each: EachPicture = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=options.OUTPUT,
            metavar="PATH",
            help="A figure, .png, or all images as an array, .npy or .safetensors; its table shares the stem. A path "
            "without a suffix is a folder.",
            show_default="a figure next to the checkpoint",
        ),
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Decode codes from a file into images: the inverse of encode.

    Reads a checkpoint and a file of codes: a table with the columns z0, z1, ... in any order, one per latent dimension,
    or a .safetensors file with the tensor mean (N, L). Other columns are kept as names of the rows. Writes a figure
    (.png) of the first images, or all of them as floats in [0, 1], (N, C, H, W) (.npy, .safetensors), and a table
    (.csv): which row of the codes each image is. With --each it also writes a .png per row, named by the column name or
    index. Prints the path of the main file.

    Example: aekit encode runs/vae.safetensors | aekit decode runs/vae.safetensors -
    """
    with Console(quiet=quiet, json=json) as console:
        path, file = one_from_stdin(CHECKPOINT=checkpoint, CODES=codes)
        found = read_checkpoints([path], console)  # an error in it need not wait for torch
        from aekit.images.evaluation.decode import run_decode
        from aekit.images.session import open_session

        session = open_session(found, device=device, threads=threads, progress=console)
        console.result(run_decode(session, Path(file), output, n=n, each=each, label=label))
