"""``aekit sample``: images decoded from the latent space: samples, a grid over a plane, or walks along dimensions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aekit.images.config import Density
from aekit.images.record import read_checkpoints
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import Checkpoints, ClassNames, EachPicture, Gaussians, NoiseSeed, OtherData, Output


def sample(
    checkpoints: Checkpoints,
    n: Annotated[
        int | None,
        typer.Option(
            "--images",
            "-n",
            rich_help_panel=options.ANALYSIS,
            min=1,
            help="Number of images, or per row with --traverse.",
            show_default="256, or 11 per row; 1,000 of a model given the class",
        ),
    ] = None,
    manifold: Annotated[
        bool,
        typer.Option(
            "--manifold",
            rich_help_panel=options.ANALYSIS,
            help="Decode a grid over a 2-D latent space, at quantiles of the prior.",
        ),
    ] = False,
    traverse: Annotated[
        bool,
        typer.Option(
            "--traverse",
            rich_help_panel=options.ANALYSIS,
            help="Walk along each latent dimension in standard deviations, largest KL divergence first.",
        ),
    ] = False,
    limits: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--range",
            rich_help_panel=options.ANALYSIS,
            metavar="LO HI",
            help="Ends of the grid or of the walk.",
            show_default="-3 3 for a walk; for a grid the prior, or the range of the codes",
        ),
    ] = None,
    around: Annotated[
        int | None,
        typer.Option(
            "--around",
            rich_help_panel=options.ANALYSIS,
            min=0,
            metavar="INDEX",
            help="Walk around the code of this test image.",
            show_default="the mean",
        ),
    ] = None,
    density: Annotated[
        Density | None,
        typer.Option(
            "--density",
            rich_help_panel=options.ANALYSIS,
            help="Where codes of samples are drawn from: the prior, or one fitted to the codes of training images.",
            show_default="prior; gaussian for an autoencoder",
        ),
    ] = None,
    components: Gaussians = 10,
    each: EachPicture = None,
    codes: Annotated[
        Path | None,
        typer.Option(
            "--codes",
            rich_help_panel=options.OUTPUT,
            metavar="FILE.csv",
            help="Also write the codes of the samples.",
            show_default="no file",
        ),
    ] = None,
    label: ClassNames = None,
    seed: NoiseSeed = 0,
    data: OtherData = None,
    data_root: options.DataRoot = None,
    output: Output = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Show what a model decodes from points of its latent space.

    Reads checkpoints and the images that they were trained on (others with --data). A VAE's points are drawn from the
    prior, also where it is learned. A plain autoencoder has none: its points are drawn from a Gaussian fitted to the
    codes of its training images, a grid covers the range of these codes, and a walk is measured in their standard
    deviations. With --density samples are drawn from a Gaussian, a mixture of Gaussians (gmm) or a second VAE
    (two-stage) fitted to the codes of training images, which is written as well (-density.safetensors); how well it
    describes the codes of test images is printed. Writes a figure (.png), and for samples of a model trained with
    --condition label a table (.csv): how many of each class an independent classifier takes for this class. Prints the
    path of the figure.

    Example: aekit sample runs/vae.safetensors -n 64
    """
    points: dict[str, Any] = {"n": n, "manifold": manifold, "traverse": traverse, "limits": limits, "around": around}
    points |= {"density": density, "components": components, "each": each, "codes": codes}
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(with_stdin(checkpoints), console)  # an error in them need not wait for torch
        from aekit.images.evaluation.sample import run_sample
        from aekit.images.session import open_session

        session = open_session(found, data=data, data_root=data_root, device=device, threads=threads, progress=console)
        console.result(run_sample(session, output, seed=seed, label=label, **points))
