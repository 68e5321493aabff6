"""The checkpoint that a training of brain networks begins with (``--init``): whether it fits, and what is taken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from aekit.brains.config import BrainConfig
from aekit.brains.members import Ensemble, Key, read_brain_config, read_ensemble
from aekit.brains.networks import DirectNet
from aekit.brains.training import Member, Stage, stages_of
from aekit.core.checkpoint import Header, read_header
from aekit.core.lineage import lineage_of
from aekit.core.settings import as_text, flag
from aekit.errors import AekitError

# The settings on which weights depend, or what the images mean that they were trained on, by the part they are in.
_FITTING = {
    "model": ("arch", "target", "histogram", "log_age"),
    "data": ("size", "spacing_mm", "correct_bias", "register", "intensity"),
}
_OPTIONS = {"spacing_mm": "--spacing"}


@dataclass(frozen=True)
class Parent:
    """A finished run that another one begins with.

    Attributes:
        path: Its checkpoint.
        ensemble: Its networks.
        header: Its header.
    """

    path: Path
    ensemble: Ensemble
    header: Header

    @property
    def lineage(self) -> list[dict[str, Any]]:
        """Return this checkpoint and its ancestors, as a header records them."""
        with _naming_init():
            return lineage_of(self.path, self.header, int(self.header.train.get("epochs") or 0))

    def networks_for(self, members: Sequence[Member]) -> dict[Key, dict[Stage, nn.Module]]:
        """Return the networks that each member begins with: of the first one, the second one, and so on in circles."""
        own = [stages for _, stages in sorted(self.ensemble.networks.items())]
        return {(member.fold, member.seed): own[place % len(own)] for place, member in enumerate(members)}


def read_parent(init: str | None, config: BrainConfig, output: Path, device: torch.device) -> Parent | None:
    """Return the run that a training begins with; None without ``init``.

    Raises:
        AekitError: It cannot be read, is unfinished, has other networks or another grid than the training, or would be
            replaced by it.
    """
    if init is None:
        return None
    path = Path(init)
    with _naming_init():
        header = read_header(path)
        there = read_brain_config(path, header)
    if output.exists() and output.samefile(path):
        raise AekitError(f"--output {output}: is the checkpoint of --init, which it would replace; choose another name")
    if header.state is not None or not header.result:
        raise AekitError(f"--init {path}: is an unfinished run; finish it with --resume and give its checkpoint")
    _check_fits(path, there, config)
    if config.data.template is not None:
        raise AekitError(f"--template: the template of --init {path} is kept, where its networks learned; leave it out")
    with _naming_init():
        ensemble, _, header = read_ensemble(path, device)
    _check_stages(path, ensemble, config)
    return Parent(path, ensemble, header)


def _check_fits(path: Path, there: BrainConfig, own: BrainConfig) -> None:
    """Raise an AekitError that names each setting in which a training differs from the run that it begins with."""
    differing = [
        (name, getattr(getattr(there, part), name), getattr(getattr(own, part), name))
        for part, names in _FITTING.items()
        for name in names
        if getattr(getattr(there, part), name) != getattr(getattr(own, part), name)
    ]
    if differing:
        has = ", ".join(f"{name} {_text(theirs)}, not {_text(ours)}" for name, theirs, ours in differing)
        ways = " ".join(_option(name, theirs) for name, theirs, _ in differing)
        raise AekitError(f"--init {path}: was trained with {has}; add {ways}")


def _text(value: object) -> str:
    return "none" if value is None else as_text(value)


def _option(name: str, value: object) -> str:
    """Return the option that sets a setting to a value."""
    if name == "target" and value is None:
        return "a table without gmv, wmv and csfv"
    option = _OPTIONS.get(name, flag(name))
    if isinstance(value, bool):
        return option if value else f"--no-{option[2:]}"
    return f"{option} {_text(value)}"


def _check_stages(path: Path, ensemble: Ensemble, config: BrainConfig) -> None:
    for stages in ensemble.networks.values():
        if missing := [stage for stage in stages_of(config) if stage not in stages]:
            way = "leave out --direct" if missing == ["direct"] else "give a checkpoint with them"
            raise AekitError(f"--init {path}: has no network of {', '.join(missing)}; {way}")


def check_other_scans(parent: Parent, fingerprint: str) -> None:
    """Raise an AekitError if the scans are those of the run that a training begins with.

    Its networks have seen them, so that nobody would be held out. Scans that are only in part the same are not noticed.
    """
    if parent.header.data.get("fingerprint") == fingerprint:
        raise AekitError(
            f"--init {parent.path}: was trained on these scans, so that no participant would be new to it; "
            "give those of other participants"
        )


def check_ages(parent: Parent, ids: Sequence[str], age_years: npt.NDArray[np.float64]) -> None:
    """Raise an AekitError if ages in train are beyond the bins of a network that predicts bins of age.

    Args:
        parent: The run that the training begins with.
        ids: Of the participants in train.
        age_years: Their ages, (N,).
    """
    for stages in parent.ensemble.networks.values():
        direct = stages.get("direct")
        lowest, highest = direct.labelled_years() if isinstance(direct, DirectNet) else (0.0, np.inf)
        beyond = np.flatnonzero((age_years < lowest) | (age_years > highest))
        if len(beyond):
            raise AekitError(
                f"--init {parent.path}: its bins hold ages from {lowest:.1f} to {highest:.1f} years, but "
                f"{ids[beyond[0]]} is {age_years[beyond[0]]:g}"
                + (f", and {len(beyond) - 1} more are outside" if len(beyond) > 1 else "")
                + "; leave them out of the table, or train without --init"
            )


def check_same_parent(source: Path, header: Header, init: str | None) -> None:
    """Raise an AekitError if a run began with another checkpoint than ``init`` is now; one that is gone passes.

    Args:
        source: The checkpoint or state of the run, for messages.
        header: What it says of itself.
        init: The checkpoint that is wanted.
    """
    if init is None or not Path(init).exists():
        return
    with _naming_init():
        now = lineage_of(Path(init), read_header(Path(init)), 0)[0]["sha256"]
    if [each["sha256"] for each in header.lineage[:1]] != [now]:
        raise AekitError(
            f"{source}: began with another {Path(init).name} than --init {init} is now; "
            "use another --output or --overwrite"
        )


def describe_parent(parent: Parent) -> str:
    """Return in one line what a training begins with."""
    n = len(parent.ensemble.networks)
    return (
        f"beginning with the networks of {parent.path} ({parent.header.data.get('name', '?')}, "
        f"{n} {'member' if n == 1 else 'members'}) and their normalisation"
    )


@contextlib.contextmanager
def _naming_init() -> Iterator[None]:
    """Let errors of a checkpoint begin with the option that names it."""
    try:
        yield
    except AekitError as error:
        text = str(error)
        raise AekitError(text if text.startswith("--init ") else f"--init {text}") from error
