"""``--gpus``: one command line shared by several processes on this machine."""

from __future__ import annotations

import sys

import typer

from aekit.core.environment import n_processes
from aekit.core.launch import follow_parent, launch
from aekit.errors import UsageError


def share_among(gpus: int | None, device: str) -> str:
    """Return the device of this process, once it is one of as many processes as there are GPUs.

    The first process starts the others, waits for them and exits with their exit code.

    Args:
        gpus: Number of processes; None is one.
        device: What ``--device`` says.

    Raises:
        typer.Exit: The processes that were started have ended.
        UsageError: The number is below one.
    """
    if gpus is not None and gpus < 1:
        raise UsageError(f"--gpus: {gpus} must be 1 or more")
    if gpus is not None and gpus > 1 and n_processes() == 1:
        raise typer.Exit(launch(gpus, sys.argv[1:]))
    follow_parent()
    return "cuda" if gpus is not None and device == "auto" else device
