"""Runs that begin with the weights of another one: what is taken, and what is recorded of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from aekit.core.checkpoint import Header, read_state_header
from aekit.core.lineage import lineage_of
from aekit.core.run_files import RunFiles
from aekit.core.settings import to_dict
from aekit.core.weights import checksum
from aekit.errors import AekitError
from aekit.images.models.base import Autoencoder, ImageShape
from aekit.images.models.own import Builder
from aekit.images.parent import check_fits, naming_init, read_parent
from aekit.images.state import read_model

# An autoencoder and a VAE share most weights, and every likelihood reads the same logits; a prior begins anew.
_FREE = ("kind", "loss", "prior", "n_components")
# What only some kinds, losses and priors have.
_PARTS = {"logvar_head": "log-variances", "log_sigma": "pixel noise", "prior": "prior"}


def read_lineage(path: Path) -> list[dict[str, Any]]:
    """Return what a run records that begins with a checkpoint: this one, and then its ancestors, the youngest first.

    Raises:
        AekitError: It cannot be read, is unfinished, or holds no autoencoder.
    """
    header = read_parent(path)
    with naming_init():
        return lineage_of(path, header, header.result.get("epoch", 0))


def find_lineage(files: RunFiles, init: str | None) -> list[dict[str, Any]]:
    """Return the checkpoint that a run begins with, and its ancestors; those of a run that began are in its state."""
    if init is None:
        return []
    return read_state_header(files.state).lineage if files.is_unfinished() else read_lineage(Path(init))


def check_same_parent(source: Path, header: Header, init: str | None) -> None:
    """Raise an AekitError if a run began with another checkpoint than ``init`` is now; one that is gone passes.

    Args:
        source: The checkpoint or state of the run, for messages.
        header: What it says of itself.
        init: The checkpoint that is wanted.
    """
    if init is None or not Path(init).exists():
        return
    parent = read_parent(Path(init))
    with naming_init():
        sha256 = checksum(Path(init), parent)
    if [each["sha256"] for each in header.lineage[:1]] != [sha256]:
        raise AekitError(
            f"{source}: began with another {Path(init).name} than --init {init} is now; "
            "use another --output or --overwrite"
        )


def take_weights(model: Autoencoder, init: Path, *, parts: Builder | None = None) -> str:
    """Copy the weights of a checkpoint into a network, and return in one line what was taken.

    What only one of both has begins as it does without ``init``, or is left out: the head of the log-variances of a
    VAE, the pixel noise of a gaussian likelihood, and a learned prior, unless it is of the same kind and size.

    Args:
        model: The network.
        init: The checkpoint.
        parts: Builds the parts of a network of your own.

    Raises:
        AekitError: The checkpoint cannot be read, or is of another network; each setting that differs is named.
    """
    with naming_init():
        parent, header = read_model(init, torch.device("cpu"), header=read_parent(init), parts=parts)
    check_fits(init, parent.config, to_dict(model.config))
    _check_shape(init, parent.image_shape, model.image_shape)
    if parent.classes is not None and model.classes is not None and parent.classes.names != model.classes.names:
        there, here = (", ".join(each) for each in (parent.classes.names, model.classes.names))
        raise AekitError(f"--init {init}: was told the classes {there}, and --data has {here}; give images of those")
    own, found = model.state_dict(), parent.state_dict()
    if (parent.config.prior, parent.config.n_components) != (model.config.prior, model.config.n_components):
        found = {name if not name.startswith("prior.") else f"{name} of {init}": found[name] for name in found}
    model.load_state_dict(own | {name: found[name] for name in own.keys() & found.keys()})
    config = parent.config
    text = f"beginning with the weights of {init} ({config.kind} {config.arch}, latent {config.latent}, "
    text += f"epoch {header.result.get('epoch', '?')}) and a fresh optimiser"
    for name in _FREE:
        if (there := getattr(config, name)) != (here := getattr(model.config, name)):
            text += f"; {name.removeprefix('n_')} {there} becomes {here}"
    for words, names in (("new", own.keys() - found.keys()), ("left out", found.keys() - own.keys())):
        if kinds := sorted({_PARTS[name.partition(".")[0]] for name in names}):
            text += f"; {words}: {' and '.join(kinds)}"
    return text


def _check_shape(init: Path, parent: ImageShape, own: ImageShape) -> None:
    if parent == own:
        return
    there, here = ("x".join(map(str, shape)) for shape in (parent, own))
    ways = [] if parent[1:] == own[1:] else [f"--image-size {parent[1]}x{parent[2]}"]
    ways += ["--grayscale"] if parent[0] < own[0] else []
    way = f"add {' '.join(ways)}" if parent[0] <= own[0] else "give images with as many channels"
    raise AekitError(
        f"--init {init}: was trained on images of {there} (channels, height, width), and --data has {here}; {way}"
    )
