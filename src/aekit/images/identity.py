"""Which run a checkpoint or state is of: how its configuration is recorded, and whether it is the wanted one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aekit.core.checkpoint import RESUME_SUFFIX, Header, resume_path
from aekit.core.progress import Progress
from aekit.core.run_files import OTHER_LABELS, check_same_run
from aekit.core.settings import to_dict
from aekit.errors import AekitError, count
from aekit.images.config import RunConfig
from aekit.images.data.label_table import table_fingerprint
from aekit.images.lineage import check_same_parent

# Settings that are left out of headers at their default, so that files are as before them.
_YOUNGER = {
    "model": ("prior", "components", "stochastic_layers", "lower_latent", "condition"),
    "train": (
        *("objective", "samples", "dreg", "capacity", "capacity_warmup", "free_bits", "init", "patience", "optimizer"),
    ),
}


def _before() -> dict[str, dict[str, Any]]:
    """Return the settings of a run by part as they were where a file does not name them."""
    parts = to_dict(RunConfig())
    return {**parts, "train": {**parts["train"], "optimizer": "adamw"}}


def recorded(config: RunConfig) -> RunConfig:
    """Return the configuration as it is written into files: without absolute paths, which differ by machine."""
    if config.train.init is not None:  # its content is in the lineage
        config = replace(config, train=replace(config.train, init=Path(config.train.init).name))
    data = config.data
    labels = None if data.labels is None else _relative(data.labels)
    return replace(config, data=replace(data, name=_relative(data.name), labels=labels))


def _relative(path: str) -> str:
    return Path(path).name if Path(path).is_absolute() else path


def in_header(config: RunConfig) -> dict[str, Any]:
    """Return the parts of a configuration as the header of a checkpoint has them."""
    parts, defaults = to_dict(recorded(config)), _before()
    for part, younger in _YOUNGER.items():
        parts[part] = {
            name: value for name, value in parts[part].items() if name not in younger or value != defaults[part][name]
        }
    return parts


def check_same(path: Path, wanted: Mapping[str, Mapping[str, Any]], found: Header, init: str | None) -> None:
    """Raise an AekitError if a checkpoint or state is of another run, and say what to do if it is only the epochs."""
    there, epochs = found.train.get("epochs"), wanted["train"]["epochs"]
    check_same_run(path, {**wanted, "train": {**wanted["train"], "epochs": there}}, found, _before())
    n = count(there, "epoch") if isinstance(there, int) else f"{there} epochs"
    if there != epochs and found.state is None:
        raise AekitError(
            f"{path}: is finished with {n}, not {epochs}; begin a new run with its weights: --init {path} -o OTHER"
        )
    if there != epochs:
        raise AekitError(
            f"{path}: is an unfinished run of {n}, not {epochs}; finish it with --epochs {there}, or start "
            "over with --overwrite"
        )
    check_same_parent(path, found, init)


def check_same_labels(path: Path, found: Header, table: str | None) -> None:
    """Raise an AekitError if a finished run had another table of labels than is there now; one that is gone passes.

    An unfinished run is compared when its images are read, with all that is recorded of them.

    Args:
        path: The checkpoint or state of the run, for messages.
        found: What it says of itself.
        table: The table that is wanted.
    """
    if found.state is not None or table is None or not (own := Path(table).expanduser()).exists():
        return
    if found.data.get("labels_fingerprint") != table_fingerprint(own):
        raise AekitError(OTHER_LABELS.format(path))


def name_other_lengths(path: Path, progress: Progress) -> None:
    """Say of a finished run that differs only in its epochs how it is trained on, as ``--resume`` does not."""
    if path.exists() or resume_path(path).exists():
        return
    for other in sorted(path.parent.glob("*.safetensors")):
        if _but_epochs(other) == _but_epochs(path) and not other.name.endswith(RESUME_SUFFIX):
            progress.notice(f"{other}: differs in --epochs and is finished; --init {other} trains on from its weights")


def _but_epochs(path: Path) -> str:
    return re.sub(r"-epochs\d+(?=-|$)", "", path.stem)
