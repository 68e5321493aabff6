"""``aekit disentangle``: whether single dimensions of codes stand for single factors of variation."""

from __future__ import annotations

from typing import Annotated

import typer

from aekit.images.disentangle.request import MIN_SAMPLES, Binning
from aekit.images.record import read_checkpoints
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import Checkpoints, FigureOutput, NoiseSeed, OtherData, WhichSplit


def disentangle(
    checkpoints: Checkpoints,
    samples: Annotated[
        int,
        typer.Option(
            "--samples", rich_help_panel=options.ANALYSIS, min=MIN_SAMPLES, help="Number of images of a draw."
        ),
    ] = 10_000,
    draws: Annotated[
        int,
        typer.Option(
            "--draws",
            rich_help_panel=options.ANALYSIS,
            min=1,
            help="Number of draws without a common image, for intervals.",
        ),
    ] = 3,
    bins: Annotated[
        int,
        typer.Option(
            "--bins",
            rich_help_panel=options.ANALYSIS,
            min=2,
            help="Number of bins of a dimension, for MIG and modularity.",
        ),
    ] = 20,
    binning: Annotated[
        Binning,
        typer.Option(
            "--binning", rich_help_panel=options.ANALYSIS, help="Bins of equal width, or of equally many images."
        ),
    ] = "width",
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
    """Measure whether single dimensions of codes stand for single factors of variation.

    Reads checkpoints and images whose factors are known (--data shapes, shapes-colour, or an .npz with factors).
    Scores: MIG, DCI, SAP, the score of FactorVAE, modularity, explicitness and IRS, each from 0 to 1, with a 95 %
    interval over draws of images. Beside them are those of the same codes with axes turned at random or with the
    factors of other images, of the factors themselves, of principal components and of random projections. Several
    checkpoints also get UDR, how well their dimensions agree, which needs no factors. Writes a figure (.png) with the
    importance of each dimension for each factor, and tables (.csv, -factors.csv, -importance.csv; of several seeds
    -seeds.csv, -spread.csv). Prints the path of the figure.

    Example: aekit disentangle runs/vae-shapes-conv-z10.safetensors
    """
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(with_stdin(checkpoints), console)  # an error in them need not wait for torch
        from aekit.images.disentangle.study import run_disentangle
        from aekit.images.session import open_session

        session = open_session(found, data=data, data_root=data_root, device=device, threads=threads, progress=console)
        result = run_disentangle(
            session, output, split=split, samples=samples, draws=draws, bins=bins, binning=binning, seed=seed
        )
        console.result(result)
