"""The checkpoint that a run begins with (``--init``): whether it can be one, and which network it prescribes.

Standard library only, so that a mistake is reported before torch is loaded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from aekit.core.checkpoint import Header, read_header, resume_path
from aekit.core.settings import check_not_empty, flag, from_dict
from aekit.errors import AekitError
from aekit.images.config import ModelConfig
from aekit.images.run_settings import VAE_ONLY

# Settings on which the shapes of most weights depend.
SHAPING = ("arch", "latent", "layers", "width", "stochastic_layers", "lower_latent", "condition")
INHERITED = (*SHAPING, "loss", "prior", "components")  # what a run takes from its parent if it is left open


@contextlib.contextmanager
def naming_init() -> Iterator[None]:
    """Let errors of a checkpoint begin with the option that names it."""
    try:
        yield
    except AekitError as error:
        text = str(error)
        raise AekitError(text if text.startswith("--init ") else f"--init {text}") from error


def read_parent(path: Path) -> Header:
    """Return the header of a checkpoint whose weights a run can begin with.

    Raises:
        AekitError: It cannot be read, is unfinished, or holds no autoencoder.
    """
    with naming_init():
        header = read_header(path)
    if header.kind == "brain":
        raise AekitError(
            f"--init {path}: contains brain-image networks, not an autoencoder; "
            "give a checkpoint of train-ae or train-vae"
        )
    if header.state is not None:
        raise AekitError(f"--init {path}: is an unfinished run; finish it with --resume and give its checkpoint")
    return header


def inherit_model(values: Mapping[str, Any], given: Collection[str], own: Path | None = None) -> dict[str, Any]:
    """Return the settings of a run, with those of the network that were not given from the checkpoint of ``init``.

    Args:
        values: Settings by the names of :data:`aekit.images.run_settings.SETTINGS`.
        given: Those that the user gave.
        own: The run's own checkpoint, if it is known: without the one of ``init`` an unfinished run is continued.

    Raises:
        AekitError: The checkpoint cannot be read, or is of another network than was asked for.
    """
    if values.get("init") is None:
        return dict(values)
    check_not_empty("init", values["init"])
    path = Path(values["init"])
    left = [each for each in (resume_path(own), own) if each.is_file()] if own is not None else []
    if path.exists() or not left:
        model = from_dict(ModelConfig, read_parent(path).model, f"--init {path}")
        check_fits(path, model, {name: values[name] for name in SHAPING if name in given})
    else:
        model = from_dict(ModelConfig, read_header(left[0]).model, str(left[0]))
    left_open = {name: getattr(model, name) for name in INHERITED if name not in given}
    if (values.get("model") or ModelConfig.kind) == "ae":
        if model.n_lower or model.is_conditional:
            what = "two layers of latent variables" if model.n_lower else "a decoder that is told the class"
            raise AekitError(f"--init {path}: has {what}, a plain autoencoder has not; give another one")
        left_open = {name: value for name, value in left_open.items() if name not in VAE_ONLY}
    elif values.get("prior") not in (None, model.prior) and "prior" in given:  # a prior of its own, and its default
        left_open.pop("components", None)
    return {**values, **left_open}


def check_fits(init: Path, parent: ModelConfig, own: Mapping[str, Any]) -> None:
    """Raise an AekitError that names each setting in which a network differs from the one whose weights it is to take.

    Args:
        init: The checkpoint.
        parent: Its network.
        own: Settings of the other.
    """
    has = {name: getattr(parent, name) for name in SHAPING}
    wanted = {name: own[name] for name in SHAPING if name in own}
    if parent.n_lower:  # None is a number that follows from the code
        has["lower_latent"] = parent.n_lower
        if "lower_latent" in wanted:
            wanted["lower_latent"] = wanted["lower_latent"] or 2 * wanted.get("latent", parent.latent)
    differing = [name for name, value in wanted.items() if has[name] != value]
    if differing:
        there = ", ".join(f"{name} {_text(has[name])}, not {_text(wanted[name])}" for name in differing)
        flags = ", ".join(map(flag, differing))
        raise AekitError(f"--init {init}: has {there}; leave out {flags}, as the network is taken from it")


def _text(value: object) -> str:
    return "default" if value is None else str(value)
