"""``aekit train-vae``: train a variational autoencoder."""

from __future__ import annotations

from typing import Annotated

import typer

from aekit.commands.training import run_training
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from aekit.terminal import options


def train_vae(
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
        options.VaeLoss,
        typer.Option("--loss", rich_help_panel=options.MODEL, help="Likelihood of a pixel; losses are in nats."),
    ] = "bernoulli",
    beta: Annotated[
        float, typer.Option("--beta", rich_help_panel=options.TRAINING, help="Weight of the KL divergence.")
    ] = 1.0,
    beta_warmup: Annotated[
        float,
        typer.Option(
            "--beta-warmup",
            rich_help_panel=options.TRAINING,
            metavar="EPOCHS",
            help="Raise the weight from 0 to beta over so many epochs.",
        ),
    ] = 0.0,
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
    """Train a variational autoencoder (beta-VAE) on images.

    Reads images (--data); a known set that is not there is downloaded. Writes the checkpoint (.safetensors) and beside
    it its history (.csv: losses in nats per image, by epoch and split) and learning curves (.png). Prints the
    checkpoint's path.

    Example: aekit train-vae --data mnist --beta 1 --latent 10 -o runs/vae.safetensors
    """
    config = RunConfig(
        model=ModelConfig(kind="vae", arch=arch, latent=latent, layers=layers, width=width, loss=loss),
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
            beta=beta,
            beta_warmup=beta_warmup,
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
