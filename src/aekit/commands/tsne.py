"""``aekit tsne``: a two-dimensional map of codes, as a figure, a table and a page with the image of each point."""

from __future__ import annotations

from typing import Annotated

import typer

from aekit.images.record import read_checkpoints
from aekit.images.tsne.request import Method
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import (
    AsBinarized,
    Checkpoints,
    FigureOutput,
    LabelTable,
    NoiseSeed,
    OtherData,
    Perplexity,
    WhichSplit,
)


def tsne(
    checkpoints: Checkpoints,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            rich_help_panel=options.DATA,
            help="Maximum number of images, drawn from the split with --seed.",
            show_default="all",
        ),
    ] = None,
    method: Annotated[
        Method, typer.Option("--method", rich_help_panel=options.ANALYSIS, help="How to map codes to two dimensions.")
    ] = "tsne",
    perplexity: Perplexity = 30.0,
    neighbours: Annotated[
        int,
        typer.Option(
            "--neighbours",
            "-k",
            rich_help_panel=options.ANALYSIS,
            min=1,
            max=500,
            help="Number of neighbours for trustworthiness, kNN accuracy and outlier scores.",
        ),
    ] = 5,
    seed: NoiseSeed = 0,
    split: WhichSplit = "test",
    data: OtherData = None,
    labels: LabelTable = None,
    binarized: AsBinarized = False,
    data_root: options.DataRoot = None,
    output: FigureOutput = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Map codes, or a VAE's posterior means, to two dimensions by t-SNE or PCA, with one panel per checkpoint.

    Reads checkpoints and the images that they were trained on (others with --data). Writes a figure coloured by class
    (.png), a table (.csv: checkpoint, index, label, x, y, outlier, placed, and settings of the checkpoint) and a page
    for a browser (.html) that works offline and shows the image under the pointer. The outlier score is the fraction of
    the k nearest neighbours in code space that have another label. Trustworthiness@k is 1 if all neighbours in the map
    are also neighbours in code space, and kNN accuracy leaves out the image itself. Prints the path of the figure.

    With more than 60,000 images, that many are drawn with --seed and optimised; the others are placed next to their
    nearest neighbours among those. Outlier scores then use neighbours among the drawn images, measures are computed for
    5,000 images and all their neighbours, and the page shows at most 60,000 images, fewer if it would open slowly. A
    million images of 8 x 8 take 332 s of processor time and 2.0 GB of memory.

    Example: aekit tsne runs/vae.safetensors --perplexity 50
    """
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(with_stdin(checkpoints), console)  # an error in them need not wait for torch
        from aekit.images.session import open_session
        from aekit.images.tsne.study import run_tsne

        session = open_session(
            found, data=data, table=labels, data_root=data_root, device=device, threads=threads, progress=console
        )
        session.take_binarized(binarized)
        result = run_tsne(
            session, output, method=method, perplexity=perplexity, k=neighbours, seed=seed, split=split, limit=limit
        )
        console.result(result)
