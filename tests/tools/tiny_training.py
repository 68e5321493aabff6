"""Training of a tiny network on sixty digits, in this process: about a tenth of a second."""

from __future__ import annotations

import signal
from pathlib import Path

from aekit.core.checkpoint import Header
from aekit.core.progress import SILENT, Silent
from aekit.images.run_settings import build_config
from aekit.images.runs import Machine, train_run

TINY = {"model": "vae", "data": "digits", "limit": 60, "arch": "dense", "latent": 2, "width": 8, "batch_size": 20}


def train_tiny(
    output: Path,
    *,
    progress=SILENT,
    resume=False,
    overwrite=False,
    tensorboard: Path | None = None,
    threads=1,
    **settings,
) -> Header:
    """Return the header of a run with these settings, others as in ``TINY`` and three epochs."""
    config = build_config({**TINY, "epochs": 3, **settings})
    machine = Machine(Path("/nowhere"), "cpu", threads, tensorboard)
    return train_run(config, output, machine, overwrite=overwrite, resume=resume, progress=progress).header


class StopAfter(Silent):
    """Progress that asks to stop after some steps."""

    def __init__(self, n_steps: int) -> None:
        self._n_left = n_steps

    def should_stop(self) -> int | None:
        self._n_left -= 1
        return signal.SIGTERM if self._n_left < 0 else None
