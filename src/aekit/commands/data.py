"""``aekit data``: fetch and check image data, and list the known data sets."""

from __future__ import annotations

from typing import Annotated

import typer

from aekit.images.config import parse_image_size
from aekit.terminal import completion, options
from aekit.terminal.console import Console


def data(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            autocompletion=completion.images,
            metavar="NAME|PATH...",
            help="Known data sets to download, or your own images to check.",
        ),
    ] = None,
    list_known: Annotated[
        bool,
        typer.Option("--list", rich_help_panel=options.DATA, help="List the known data sets and which are on disk."),
    ] = False,
    data_root: options.DataRoot = None,
    image_size: options.ImageSize = None,
    grayscale: options.Grayscale = False,
    skip_bad: options.SkipBad = False,
    value_range: options.ValueRange = "auto",
    labels: options.LabelTable = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Fetch and check image data, or list the known data sets.

    Reads every image of each data set, downloading a known one first if it is missing, and names every one that cannot
    be used. Writes images that had to be
    decoded or resized to the cache folder, ready for training with the same options. Prints the path of each
    complete data set.

    Example: aekit data mnist fashion-mnist
    """
    from aekit.images.data.check import run_data

    with Console(quiet=quiet, json=json) as console:
        results = run_data(
            names or [],
            list_known=list_known,
            data_root=data_root,
            image_size=parse_image_size(image_size),
            grayscale=grayscale,
            skip_bad=skip_bad,
            value_range=value_range,
            labels=labels,
            lists_all=json,
            progress=console,
        )
        console.result(results)
