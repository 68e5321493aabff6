"""``aekit info``: what a checkpoint is. Loads nothing heavy, so that it answers at once."""

from __future__ import annotations

from aekit.results.info import run_info
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import Checkpoints


def info(checkpoints: Checkpoints, quiet: options.Quiet = False, json: options.Json = False) -> None:
    """Describe a checkpoint: model, data, training and result.

    Reads only the header. Writes no file: the description goes to stderr. Prints the path, so that info can be used in
    the middle of a pipeline, or with --json the whole header, history included, as one object per line.

    Example: aekit info runs/vae.safetensors
    """
    with Console(quiet=quiet, json=json) as console:
        console.result(run_info(with_stdin(checkpoints), on_line=None if json else console.message, progress=console))
