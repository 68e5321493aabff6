"""``aekit outliers``: which images do not belong, appear twice, or have the label of others."""

from __future__ import annotations

from typing import Annotated

import typer

from aekit.images.outliers.request import Code, OutlierRequest, Score
from aekit.images.record import read_checkpoints
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import Checkpoints, NoiseSeed, Output, Resamples, WhichSplit


def outliers(
    checkpoints: Checkpoints,
    data: Annotated[
        str | None,
        options.images("--data", "Images to search for outliers.", default="the inliers of --split"),
    ] = None,
    inliers: Annotated[
        str | None,
        options.images(
            "--inliers",
            "Images that belong: scores are fitted to the training images, thresholds to the test images.",
            default="the checkpoint's",
        ),
    ] = None,
    known: Annotated[
        str | None,
        options.images(
            "--outliers", "Images known to be outliers: measures how well each score finds them.", default="none"
        ),
    ] = None,
    split: WhichSplit = "test",
    score: Annotated[
        Score, typer.Option("--score", rich_help_panel=options.ANALYSIS, help="Score that ranks and flags images.")
    ] = "complexity",
    code: Annotated[
        Code,
        typer.Option(
            "--code", rich_help_panel=options.ANALYSIS, help="Length of an image: as a PNG file, or compressed by LZMA."
        ),
    ] = "png",
    fpr: Annotated[
        float,
        typer.Option(
            "--fpr",
            rich_help_panel=options.ANALYSIS,
            metavar="FRACTION",
            help="Fraction of images that belong which may be flagged.",
        ),
    ] = 0.05,
    neighbours: Annotated[
        int,
        typer.Option(
            "--neighbours",
            "-k",
            rich_help_panel=options.ANALYSIS,
            min=1,
            help="Nearest neighbour whose distance is the score knn, and number of those that vote on a label.",
        ),
    ] = 10,
    duplicates: Annotated[
        float,
        typer.Option(
            "--duplicates",
            rich_help_panel=options.ANALYSIS,
            metavar="X",
            help="Difference as a fraction of contrast up to which images are near duplicates.",
        ),
    ] = 0.12,
    reference: Annotated[
        int,
        typer.Option(
            "--reference",
            rich_help_panel=options.ANALYSIS,
            min=2,
            metavar="N",
            help="Training images that scores are fitted to, drawn if there are more.",
        ),
    ] = 100_000,
    n: Annotated[
        int,
        typer.Option(
            "--images", "-n", rich_help_panel=options.ANALYSIS, min=1, help="Images to show by each score, and rows."
        ),
    ] = 12,
    bootstrap: Resamples = 200,
    seed: NoiseSeed = 0,
    data_root: options.DataRoot = None,
    output: Output = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Find images that do not belong, appear twice, or have the label of others.

    Reads checkpoints, the images that they were trained on (others with --inliers), and the images to search (--data).
    Scores each image by the loss of its reconstruction (reconstruction, mse), by the likelihood of a VAE (elbo), by how
    much the loss exceeds that of training images of the same code length (complexity), by the distance of its code from
    those of training images (mahalanobis, knn), and by trivial measures that need no network (code-length: of a PNG
    file, or with --code lz of LZMA; pca-mse, pca-mahalanobis, pca-knn). Thresholds are those that a fraction --fpr of
    the test images exceeds. With --outliers, also measures AUROC, average precision and FPR95 of each score with 95 %
    intervals. Writes the most unusual images by each score (.png), ranked images with file names (.csv), scores and
    thresholds (-scores.csv, -scores.png), pairs of near duplicates (-duplicates.csv) and images whose neighbours have
    another label (-labels.csv), both shown in -suspects.png. Prints the path of the figure.

    Example: aekit outliers runs/vae.safetensors --data photos --outliers fashion-mnist
    """
    request = OutlierRequest(score, fpr, neighbours, duplicates, reference, n, bootstrap, seed, split, code)
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(with_stdin(checkpoints), console)  # an error in them need not wait for torch
        from aekit.images.outliers.study import run_outliers
        from aekit.images.session import open_session

        session = open_session(
            found, data=inliers, data_root=data_root, device=device, threads=threads, progress=console
        )
        session.name_data("--inliers")
        console.result(run_outliers(session, output, request, data=data, outliers=known))
