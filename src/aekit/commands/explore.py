"""``aekit explore``: a page of HTML in which models run."""

from __future__ import annotations

from typing import Annotated

import typer

from aekit.images.explore.request import ExploreRequest
from aekit.images.record import read_checkpoints
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import (
    AsBinarized,
    Checkpoints,
    LabelTable,
    NoiseSeed,
    OtherData,
    PageOutput,
    Perplexity,
    WhichSplit,
)


def explore(
    checkpoints: Checkpoints,
    points: Annotated[
        int,
        typer.Option(
            "--points",
            "-n",
            rich_help_panel=options.ANALYSIS,
            min=1,
            help="Maximum number of images on the map, drawn from the split with --seed.",
        ),
    ] = 2000,
    perplexity: Perplexity = 30.0,
    seed: NoiseSeed = 0,
    split: WhichSplit = "test",
    data: OtherData = None,
    labels: LabelTable = None,
    binarized: AsBinarized = False,
    data_root: options.DataRoot = None,
    output: PageOutput = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Make a page to explore the latent space: one HTML file in which the models run, offline and without a server.

    Reads checkpoints and the images that they were trained on (others with --data). The page has a slider for each
    latent dimension and for each attribute or class, a map of codes whose points are decoded by a click, paths between
    codes, tables of images and codes to save, and a pad to draw or drop an image on, which the model encodes. Several
    checkpoints are side by side and move together. The page compares itself with torch when it opens, reports the
    largest difference, and shows no image that is wrong. Images up to 48 pixels are on it as they are, larger ones
    reduced and compressed. Writes one page (.html)
    for all checkpoints. Prints its path.

    Example: aekit explore runs/vae.safetensors
    """
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(with_stdin(checkpoints), console)  # an error in them need not wait for torch
        from aekit.images.explore.study import run_explore
        from aekit.images.session import open_session

        session = open_session(
            found, data=data, table=labels, data_root=data_root, device=device, threads=threads, progress=console
        )
        session.take_binarized(binarized)
        console.result(run_explore(session, output, ExploreRequest(points, perplexity, seed, split)))
