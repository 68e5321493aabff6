"""What ``train-ae`` and ``train-vae`` do once their options are a configuration."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import typer

from aekit.core.environment import n_processes
from aekit.core.launch import follow_parent, is_orphan, launch
from aekit.errors import AekitError
from aekit.images.config import RunConfig
from aekit.terminal import options
from aekit.terminal.console import Console, TrainingProgress
from aekit.terminal.signals import stop_on_signals


def run_training(
    config: RunConfig,
    output: Path | None,
    *,
    data_root: Path | None,
    device: str,
    gpus: int | None,
    threads: int | None,
    overwrite: bool,
    resume: bool,
    quiet: bool,
    json: bool,
) -> None:
    """Train a model, with progress on stderr, and print the path of its checkpoint on stdout."""
    if overwrite and resume:
        raise AekitError("--overwrite, --resume: one starts over, the other goes on; give one of them")
    if gpus is not None:
        device = "cuda" if device == "auto" else device
        if gpus < 1:
            raise AekitError(f"--gpus: {gpus} must be 1 or more")
        if gpus > 1 and n_processes() == 1:
            raise typer.Exit(launch(gpus, sys.argv[1:]))
    follow_parent()
    from aekit.images.runs import Machine, Reporting, run_name, train_run

    console = Console(quiet=quiet, json=json)
    path = options.checkpoint_path(output or Path("runs"), f"{run_name(config)}.safetensors")
    machine = Machine(data_root=options.resolve_data_root(data_root), device=device, threads=threads)
    with stop_on_signals() as stop_signal, TrainingProgress(console) as progress:
        reporting = Reporting(
            on_data=progress.on_data,
            on_step=progress.on_step,
            on_epoch=progress.on_epoch,
            on_message=console.message,
            stop_signal=lambda: stop_signal() or (signal.SIGTERM if is_orphan() else None),
        )
        finished = train_run(config, path, machine, overwrite=overwrite, resume=resume, reporting=reporting)
    console.result(finished.path, **finished.header.result["test"], parameters=finished.header.result["parameters"])
