"""``aekit samples-quality``: how like held-out images the samples of models are."""

from __future__ import annotations

from typing import Annotated

import typer

from aekit.images.record import read_checkpoints
from aekit.images.sample_quality.request import MIN_IMAGES, SampleQualityRequest, parse_densities, parse_features
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import Checkpoints, FigureOutput, Gaussians, NoiseSeed, OtherData, WhichSplit


def samples_quality(
    checkpoints: Checkpoints,
    density: Annotated[
        str | None,
        typer.Option(
            "--density",
            rich_help_panel=options.ANALYSIS,
            metavar="NAME,...",
            help="Where codes are drawn from: prior, gaussian, gmm or two-stage, the latter fitted to training codes.",
            show_default="prior,gmm; gaussian,gmm for an autoencoder",
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            rich_help_panel=options.ANALYSIS,
            metavar="NAME,...",
            help="Spaces to compare in: pca, network, NAME=FILE.",
            show_default="pca,network",
        ),
    ] = None,
    n: Annotated[
        int,
        typer.Option("--images", "-n", rich_help_panel=options.ANALYSIS, min=MIN_IMAGES, help="Images of each set."),
    ] = 10_000,
    gaussians: Gaussians = 10,
    neighbours: Annotated[
        int,
        typer.Option(
            "--neighbours",
            "-k",
            rich_help_panel=options.ANALYSIS,
            min=1,
            help="Neighbours that span an image's ball, for precision and recall.",
        ),
    ] = 5,
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
    """Measure how like held-out images the samples of models are.

    Reads checkpoints and the images that they were trained on (others with --data). Fréchet distance, kernel distance
    without bias (both with intervals over images), precision, recall, density and coverage between samples and test
    images, in principal components of the pixels, in features of a small network trained on the classes, or in
    those of a network of yours: NAME=FILE with a torchvision classifier and its weights, or fid-inception=FILE, with
    which the distance is an FID. Beside them: training images, the model's reconstructions of them, and a Gaussian of
    pixels. Writes a figure (.png), tables (.csv, -differences.csv) and samples (-images.png). Prints the path of the
    figure.

    Example: aekit samples-quality runs/vae.safetensors --density prior,gmm
    """
    with Console(quiet=quiet, json=json) as console:
        where, spaces = parse_densities(density), parse_features(features)
        request = SampleQualityRequest(where, spaces, n, gaussians, neighbours, seed, split)
        found = read_checkpoints(with_stdin(checkpoints), console)  # an error in them need not wait for torch
        from aekit.images.sample_quality.study import run_samples_quality
        from aekit.images.session import open_session

        session = open_session(found, data=data, data_root=data_root, device=device, threads=threads, progress=console)
        console.result(run_samples_quality(session, output, request))
