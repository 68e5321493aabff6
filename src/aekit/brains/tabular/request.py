"""What options say about a training on columns of a table: its settings, its name, and options that mean nothing."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from aekit.brains.config import BrainConfig, CohortConfig, Source
from aekit.core.settings import flag, to_dict
from aekit.errors import UsageError

ARCH = "features"  # in place of a network, in headers
_NO_SCANS = "--no-volumes"
# Settings of scans and networks, which a training without them must not ignore, by the part they are in.
_MEANINGLESS = {
    "model": ("arch", "target", "histogram", "direct", "log_age"),
    "data": ("size", "spacing_mm", "correct_bias", "intensity", "register", "template", "keep_outlying"),
    "train": ("epochs", "batch_size", "lr", "weight_decay", "augment", "seeds", "precision", "init"),
}
_FLAGS = {"spacing_mm": "--spacing", "histogram": "--no-histogram", "correct_bias": "--no-correct-bias"}
_DATA = (
    "name", "cv", "val", "test", "group", "split_seed", "drop_outliers", "id", "age", "sex", "site", "session",
    "controls",
)  # fmt: skip
_LONGEST = 60  # characters of patterns in the name of a file


def check_request(config: BrainConfig, source: Source, *, no_volumes: bool, hypotheses: bool) -> bool:
    """Return whether a training is one on columns of the table, not on scans.

    Raises:
        UsageError: Neither or both of scans and columns were given, or options that mean nothing without scans.
    """
    has_scans, has_columns = source.folder is not None, bool(config.model.features)
    if has_scans and no_volumes:
        raise UsageError(f"--volumes, {_NO_SCANS}: contradict each other; leave one of them out")
    if has_scans and has_columns:
        raise UsageError(
            f"--features: columns and scans are not combined in one training; add {_NO_SCANS} and leave --volumes out "
            "to learn from columns, or leave --features out to learn from scans"
        )
    if has_columns and not no_volumes:
        raise UsageError(f"--features: learns from columns of the table, without scans; add {_NO_SCANS}")
    if not (has_scans or has_columns):
        raise UsageError(
            "--volumes: is missing; give a folder of scans, or learn from columns of the table with "
            f"--features 'roi_*' {_NO_SCANS}"
        )
    if has_scans and config.model.combat:
        raise UsageError("--combat: removes the effects of sites from columns, not scans; give --features")
    if has_columns:
        _check_options(config, source, hypotheses=hypotheses)
    return has_columns


def _check_options(config: BrainConfig, source: Source, *, hypotheses: bool) -> None:
    given = ["--hypotheses"] if hypotheses else []
    own, defaults = to_dict(config), to_dict(BrainConfig())
    for part, names in _MEANINGLESS.items():
        given += [_FLAGS.get(name, flag(name)) for name in names if own[part][name] != defaults[part][name]]
    given += ["--pattern"] if source.pattern is not None else []
    given += ["--voxel-size"] if source.spacing_mm is not None else []
    if given:
        verb = "is" if len(given) == 1 else "are"
        raise UsageError(f"{', '.join(given)}: {verb} for scans and networks; leave out with {_NO_SCANS}")


def settings_of(config: BrainConfig) -> dict[str, dict[str, Any]]:
    """Return the settings of a training on columns as a header states them; others have no effect."""
    values = to_dict(config)
    model = {"kind": "brain", "arch": ARCH, "features": list(config.model.features), "combat": config.model.combat}
    return {
        "model": model,
        "data": {name: values["data"][name] for name in _DATA},
        "train": {"seed": config.train.seed},
    }


def run_name(config: BrainConfig) -> str:
    """Return a file name made of what matters: ``brain-participants-features-roi_-cv5-combat``."""
    data = config.data
    fresh = CohortConfig(val=0.0, test=0.0) if data.cv else CohortConfig()
    text = "+".join(re.sub(r"[^\w.]+", "", pattern) or "all" for pattern in config.model.features)
    if len(text) > _LONGEST or text.replace("+", ",") != ",".join(config.model.features):
        digest = hashlib.sha256("\n".join(config.model.features).encode()).hexdigest()[:6]
        text = f"{text[:_LONGEST]}-{digest}"  # patterns that differ in signs alone have other names
    parts = ["brain", Path(data.name).stem, ARCH, text]
    for name in ("cv", "val", "test", "group", "split_seed", "session"):
        if (value := getattr(data, name)) != getattr(fresh, name):
            parts.append(f"{name.replace('_', '')}{value}")
    parts += ["dropoutliers"] if data.drop_outliers else []
    parts += ["combat"] if config.model.combat else []
    parts += [f"seed{config.train.seed}"] if config.train.seed else []
    if data.controls is not None:
        parts.append("controls-" + re.sub(r"[^\w.=!,+-]+", "_", data.controls))
    return "-".join(parts)
