"""What ``train-ae`` and ``train-vae`` do once their options are a configuration."""

from __future__ import annotations

from pathlib import Path

from aekit import options
from aekit.config import RunConfig
from aekit.console import Console, TrainingProgress, stop_on_signals
from aekit.errors import AekitError


def run_training(
    config: RunConfig,
    output: Path | None,
    *,
    data_root: Path | None,
    device: str,
    threads: int | None,
    overwrite: bool,
    resume: bool,
    quiet: bool,
    json: bool,
) -> None:
    """Train a model, with progress on stderr, and print the path of its checkpoint on stdout."""
    from aekit.runs import Machine, Reporting, run_name, train_run

    console = Console(quiet=quiet, json=json)
    if overwrite and resume:
        raise AekitError("--overwrite, --resume: one starts over, the other goes on; give one of them")
    path = options.checkpoint_path(output or Path("runs"), f"{run_name(config)}.safetensors")
    machine = Machine(data_root=options.resolve_data_root(data_root), device=device, threads=threads)
    with stop_on_signals() as stop_signal, TrainingProgress(console) as progress:
        reporting = Reporting(
            on_data=progress.on_data,
            on_step=progress.on_step,
            on_epoch=progress.on_epoch,
            on_message=console.message,
            stop_signal=stop_signal,
        )
        finished = train_run(config, path, machine, overwrite=overwrite, resume=resume, reporting=reporting)
    console.result(
        finished.path, **finished.header["result"]["test"], parameters=finished.header["result"]["parameters"]
    )
