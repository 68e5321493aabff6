"""``aekit train-vae``: train a variational autoencoder."""

from __future__ import annotations

from aekit.images.config import RunConfig
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.processes import share_among
from aekit.terminal.training_options import training_options


@training_options("vae")
def train_vae(
    config: RunConfig,
    data_root: options.DataRoot = None,
    output: options.Output = None,
    device: options.Device = "auto",
    gpus: options.Gpus = None,
    threads: options.Threads = None,
    tensorboard: options.Tensorboard = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train a variational autoencoder (VAE) on images.

    Reads images (--data); a known data set that is missing is downloaded. Writes the checkpoint (.safetensors) and,
    with the same stem, its history (.csv: losses in nats per image, by epoch and split) and learning curves
    (.png). Prints the path of the checkpoint.

    Example: aekit train-vae --data mnist --beta 1 --latent 10 -o runs/vae.safetensors
    """
    device = share_among(gpus, device)
    from aekit.images.runs import Machine, run_training

    with Console(quiet=quiet, json=json) as console:
        machine = Machine(options.resolve_data_root(data_root), device, threads, tensorboard)
        console.result(run_training(config, output, machine, overwrite=overwrite, resume=resume, progress=console))
