"""``aekit neighbours``: the images whose codes are nearest to those of given images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aekit.images.config import Split
from aekit.images.record import read_checkpoints
from aekit.images.similar_images.request import NeighbourRequest, check_one
from aekit.terminal import completion, options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import FigureOutput, OtherData


def neighbours(
    checkpoint: Annotated[
        str,
        typer.Argument(
            autocompletion=completion.checkpoints,
            metavar="CHECKPOINT",
            help="Checkpoint trained by aekit; - reads its path from stdin.",
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            autocompletion=completion.image_files,
            metavar="IMAGE...",
            help="Images to look up: files, folders or arrays (.npy, .npz, .safetensors); - reads paths from stdin.",
        ),
    ],
    k: Annotated[
        int,
        typer.Option(
            "--neighbours", "-k", rich_help_panel=options.ANALYSIS, min=1, help="Number of neighbours of each image."
        ),
    ] = 8,
    n: Annotated[
        int,
        typer.Option(
            "--images",
            "-n",
            rich_help_panel=options.ANALYSIS,
            min=1,
            help="Number of looked-up images in the figure; the table has all.",
        ),
    ] = 16,
    split: Annotated[
        Split | None,
        typer.Option(
            "--split",
            rich_help_panel=options.DATA,
            help="Images to search: the test, training or validation set, or all.",
            show_default="train, or what --codes are of",
        ),
    ] = None,
    data: OtherData = None,
    codes: Annotated[
        Path | None,
        typer.Option(
            "--codes",
            autocompletion=completion.code_files,
            rich_help_panel=options.DATA,
            metavar="FILE",
            help="Search the codes in this file of aekit encode, instead of encoding the images again.",
            show_default="none",
        ),
    ] = None,
    data_root: options.DataRoot = None,
    output: FigureOutput = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Find the images whose codes are nearest to those of given images.

    Reads one checkpoint, the images to look up, and the images that it was trained on (others with --data), or with
    --codes the codes that aekit encode wrote. The distance is Euclidean, between codes or posterior means; the search
    is exact. Images of another size or colour are fitted to those of the training, transparent areas become white, and
    it is said; so it is of images that are brighter or darker than all that are searched. Writes a contact
    sheet (.png) with a row per image, and a table (.csv) with a row per image and neighbour: rank, file, label,
    distance, and whether it is the same image, pixel by pixel. With codes whose images are not here, or an --output
    that ends in .csv, it writes only the table. Prints the path of the sheet, or else of the table.

    Example: aekit neighbours runs/vae.safetensors photos/7.png photos/8.png
    """
    request = NeighbourRequest(k, n, split)
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(with_stdin([checkpoint]), console)  # an error in them need not wait for torch
        check_one(found)
        paths = with_stdin(images, kind="image")
        from aekit.images.session import open_session
        from aekit.images.similar_images.study import run_neighbours

        session = open_session(found, data=data, data_root=data_root, device=device, threads=threads, progress=console)
        console.result(run_neighbours(session, paths, output, request, codes=codes))
