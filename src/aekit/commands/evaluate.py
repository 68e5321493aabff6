"""``aekit evaluate``: losses, image quality and the use of the latent dimensions."""

from __future__ import annotations

from typing import Annotated

import typer

from aekit.core.settings import MAX_SEED
from aekit.images.record import read_checkpoints
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import Checkpoints, OtherData, Output, WhichSplit


def evaluate(
    checkpoints: Checkpoints,
    importance: Annotated[
        int | None,
        typer.Option(
            "--importance",
            rich_help_panel=options.ANALYSIS,
            min=1,
            metavar="K",
            help="Also compute the importance-weighted bound from K samples of z per image.",
            show_default="no bound",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            rich_help_panel=options.ANALYSIS,
            min=0,
            max=MAX_SEED,
            help="Seed of the samples of the posterior.",
            show_default="that of the training, so that results agree",
        ),
    ] = None,
    split: WhichSplit = "test",
    data: OtherData = None,
    data_root: options.DataRoot = None,
    output: Output = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Measure a model on held-out images.

    Reads checkpoints and the images that they were trained on (others with --data). Writes means with standard errors
    (.json): reconstruction, KL divergence and total (what the training minimises) in nats per image with one sample of
    the posterior, as in training; MSE, PSNR (dB) and SSIM of the decoded posterior mean; the number of active units.
    Also writes a table (.csv) of the KL divergence and variance of each latent dimension, and a bar chart (.png) of the
    KL divergence, or of the variance for a plain autoencoder. With --importance the bound is one on log p(x), except
    for the cross-entropy of grey pixels, which is not a log density: then it is the importance-weighted bound of the
    (unnormalised) objective. For several checkpoints, also writes evaluate.csv, with all means in one row per model,
    and evaluate-differences.csv, with the difference of each two on the same images and its 95 % interval, to the
    folder that they share or to --output, and prints one table. Prints the path of each .json file.

    Example: aekit evaluate runs/vae.safetensors --importance 100
    """
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(with_stdin(checkpoints), console)  # an error in them need not wait for torch
        from aekit.images.evaluation.evaluate import run_evaluate
        from aekit.images.session import open_session

        session = open_session(found, data=data, data_root=data_root, device=device, threads=threads, progress=console)
        console.result(run_evaluate(session, output, split=split, importance=importance, seed=seed))
