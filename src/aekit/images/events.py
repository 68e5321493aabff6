"""Events for TensorBoard while a run goes on: losses, learning rate and reconstructions.

They are there to be looked at, and not a result: a checkpoint is the same with and without them.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from aekit.errors import AekitError, shown
from aekit.images.likelihoods import pixel_mean
from aekit.images.steps import Run
from aekit.images.training import State

N_IMAGES = 8  # held-out images whose reconstructions are shown
N_TIMES = 10  # as often as that in a run
_PATTERN = "events.out.tfevents.*"
_OWNER = re.compile(r"\.run-[0-9a-f]{12}$")  # at the end of their names; earlier versions wrote none
_INSTALL = "install it with pip install 'aekit[tensorboard]', or leave the option out"


def check_events(tensorboard: Path, name: str, images: Path) -> None:
    """Check that events can be written, and that their folder is not one of images, which would find them there.

    Args:
        tensorboard: The folder of ``--tensorboard``.
        name: Name of the run, or of the grid, in it.
        images: Where the images are.

    Raises:
        AekitError: TensorBoard is missing, or the events would lie among the images.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise AekitError(f"--tensorboard: needs the package tensorboard; {_INSTALL}")
    folder = tensorboard / name
    if images.is_dir() and folder.resolve().is_relative_to(images.resolve()):
        raise AekitError(
            f"--tensorboard {tensorboard}: {folder} would lie in {shown(images)}, the folder of images; "
            "choose another folder"
        )


def claim_events(folder: Path, output: Path, *, overwrite: bool, resume: bool) -> None:
    """Check that the events of a run would not mix with those of another run.

    Args:
        folder: Where the events of this run go.
        output: The checkpoint of this run.
        overwrite: Remove those that are there.
        resume: Continue those that are there.

    Raises:
        AekitError: There are events and neither was asked for, or they are of another run.
    """
    old = sorted(folder.glob(_PATTERN))
    if old and not (overwrite or resume):
        raise AekitError(
            f"--tensorboard {folder.parent}: has events of a run of the same name ({folder.name}); replace them with "
            "--overwrite, or choose another folder"
        )
    if not overwrite:
        check_owner(folder, output)
    for path in old if overwrite else ():
        with _readable_errors(path):
            path.unlink(missing_ok=True)


def check_owner(folder: Path, output: Path) -> None:
    """Check that no events in a folder are of a run with the same name whose checkpoint is in another place.

    Args:
        folder: Where the events of this run go.
        output: The checkpoint of this run.

    Raises:
        AekitError: Some are.
    """
    owners = {match[0] for path in folder.glob(_PATTERN) if (match := _OWNER.search(path.name))}
    if owners - {_owner(output)}:
        raise AekitError(
            f"--tensorboard: {folder} has events of a run of the same name in another place than {output}; choose "
            "another folder, or replace them with --overwrite"
        )


def _owner(output: Path) -> str:
    """Return the end of the names of a run's events, which tells them from those of others with the same name."""
    return f".run-{hashlib.sha256(os.fsencode(output.resolve())).hexdigest()[:12]}"


class Events:
    """The events of one run.

    Args:
        folder: Where they go.
        output: The checkpoint of the run.
        n_epochs_done: Epochs whose events are there already.

    Raises:
        AekitError: TensorBoard cannot be loaded, or the folder cannot be written.
    """

    def __init__(self, folder: Path, output: Path, n_epochs_done: int) -> None:
        self._folder = folder
        try:  # only here, since it loads TensorFlow where that is installed, which takes seconds
            tensorboard = importlib.import_module("torch.utils.tensorboard")
        except ImportError as error:
            raise AekitError(f"--tensorboard: tensorboard cannot be loaded ({error}); {_INSTALL}") from error
        with _readable_errors(folder):
            # Later events, which were written before a run was killed and are written again, are no longer shown.
            self._writer = tensorboard.SummaryWriter(
                str(folder), purge_step=n_epochs_done + 1, filename_suffix=_owner(output)
            )

    def add_epoch(self, run: Run, state: State) -> None:
        """Write the last rows of the history, the learning rate, and now and then some reconstructions.

        Raises:
            AekitError: They cannot be written.
        """
        epoch, n_epochs = state.epoch, run.train_config.epochs
        with _readable_errors(self._folder):
            for row in state.history[-2:]:
                for name, value in row.to_dict().items():
                    if name not in ("epoch", "split") and value is not None:
                        self._writer.add_scalar(f"{name}/{row.split}", value, epoch)
            self._writer.add_scalar("learning_rate", float(run.optimizer.param_groups[-1]["lr"]), epoch)
            if epoch in (1, n_epochs) or epoch % math.ceil(n_epochs / N_TIMES) == 0:
                self._writer.add_image(f"reconstructions/{run.held_out_split}", _reconstructions(run), epoch)
            self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        with _readable_errors(self._folder):
            self._writer.close()


def _reconstructions(run: Run) -> Tensor:
    """Return some held-out images above their reconstructions from the mean code, (C, 2 H, N W) in [0, 1]."""
    first = torch.arange(min(N_IMAGES, len(run.held_out)), device=run.images.device)
    x, label = run.held_out.take(first), run.held_out.classes(first)
    with torch.inference_mode():
        x_hat = pixel_mean(run.model.eval()(x, None, label).x_hat_logits, run.model.config.loss)
    n, n_channels, height, width = x.shape
    pair = torch.stack([x, x_hat]).clamp(0, 1).cpu()
    return pair.permute(2, 0, 3, 1, 4).reshape(n_channels, 2 * height, n * width)


@contextlib.contextmanager
def _readable_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise AekitError(f"--tensorboard {path}: cannot be written ({reason}); choose another folder") from error
