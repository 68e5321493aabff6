"""``aekit decorrelation``: how correlated the dimensions of codes are, against their number."""

from __future__ import annotations

from typing import Annotated

import typer

from aekit.images.decorrelation.request import MIN_IMAGES, Measure
from aekit.images.record import read_checkpoints
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import Checkpoints, FigureOutput, NoiseSeed, OtherData, Resamples, WhichSplit


def decorrelation(
    checkpoints: Checkpoints,
    n: Annotated[
        int,
        typer.Option(
            "--images", "-n", rich_help_panel=options.ANALYSIS, min=MIN_IMAGES, help="Number of images to encode."
        ),
    ] = 5000,
    measure: Annotated[
        Measure,
        typer.Option(
            "--measure",
            rich_help_panel=options.ANALYSIS,
            help="Measure that the figure shows: mean absolute or root mean square correlation off the diagonal, or an "
            "effective number of dimensions. The table has all.",
        ),
    ] = "mean-abs",
    bootstrap: Resamples = 200,
    pca: Annotated[
        bool,
        typer.Option(
            "--pca/--no-pca",
            rich_help_panel=options.ANALYSIS,
            help="Compare with PCA of the same images, which is uncorrelated by construction.",
        ),
    ] = True,
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
    """Measure how correlated the dimensions of codes are, against the number of dimensions.

    Reads checkpoints and the images that they were trained on (others with --data). Each checkpoint has one value,
    from the Pearson correlations of its codes (a VAE's posterior means), with a 95 % interval over the images; seeds
    are averaged. Dead dimensions, which are the same for all images, are counted and left out. For comparison, the
    figure shows the value for randomly rotated axes of the same codes, and for independent dimensions. PCA is fitted to
    the same images that are measured, so its codes are uncorrelated up to rounding. Writes a figure (.png) of the
    curves and the correlation matrices, and a table (.csv) of all measures. Prints the path of the figure.

    Example: aekit decorrelation runs/ae-mnist-conv-z*.safetensors
    """
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(with_stdin(checkpoints), console)  # an error in them need not wait for torch
        from aekit.images.decorrelation.study import run_decorrelation
        from aekit.images.session import open_session

        session = open_session(found, data=data, data_root=data_root, device=device, threads=threads, progress=console)
        result = run_decorrelation(
            session, output, n_images=n, measure=measure, bootstrap=bootstrap, pca=pca, seed=seed, split=split
        )
        console.result(result)
