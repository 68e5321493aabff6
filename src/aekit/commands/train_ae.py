"""``aekit train-ae``: train a plain autoencoder."""

from __future__ import annotations

from typing import Annotated

import typer

from aekit.commands.training import run_training
from aekit.images.config import DataConfig, Loss, ModelConfig, RunConfig, TrainConfig
from aekit.terminal import options


def train_ae(
    data: options.DataName = "mnist",
    data_root: options.DataRoot = None,
    image_size: options.ImageSize = None,
    grayscale: options.Grayscale = False,
    limit: options.Limit = None,
    val: options.Val = 0.0,
    split_seed: options.SplitSeed = 0,
    skip_bad: options.SkipBad = False,
    latent: options.Latent = 10,
    arch: options.ArchName = "conv",
    layers: options.Layers = None,
    width: options.Width = None,
    loss: Annotated[
        Loss,
        typer.Option(
            "--loss",
            rich_help_panel=options.MODEL,
            help="Negative log-likelihood of a pixel in nats, or mse: mean squared error.",
        ),
    ] = "bernoulli",
    epochs: options.Epochs = 10,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    weight_decay: options.WeightDecay = 0.1,
    schedule: options.ScheduleName = "one-cycle",
    samples_per_epoch: options.SamplesPerEpoch = None,
    mirror: options.Mirror = False,
    precision: options.PrecisionName = "auto",
    compile_model: options.Compile = False,
    keep: options.KeepWhich = "last",
    seed: options.Seed = 0,
    output: options.Output = None,
    device: options.Device = "auto",
    gpus: options.Gpus = None,
    threads: options.Threads = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train a plain autoencoder on images.

    Reads images (--data); a known set that is not there is downloaded. Writes the checkpoint (.safetensors) and beside
    it its history (.csv: losses per image, by epoch and split) and learning curves (.png). Prints the checkpoint's
    path.

    Example: aekit train-ae --data mnist --latent 10 -o runs/ae.safetensors
    """
    config = RunConfig(
        model=ModelConfig(kind="ae", arch=arch, latent=latent, layers=layers, width=width, loss=loss),
        data=DataConfig(
            name=data,
            image_size=options.parse_image_size(image_size),
            grayscale=grayscale,
            limit=limit,
            val=val,
            split_seed=split_seed,
            skip_bad=skip_bad,
        ),
        train=TrainConfig(
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            schedule=schedule,
            samples_per_epoch=samples_per_epoch,
            mirror=mirror,
            precision=precision,
            compile=compile_model,
            keep=keep,
            seed=seed,
        ),
    )
    run_training(
        config,
        output,
        data_root=data_root,
        device=device,
        gpus=gpus,
        threads=threads,
        overwrite=overwrite,
        resume=resume,
        quiet=quiet,
        json=json,
    )
