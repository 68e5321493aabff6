"""The settings of a run by the names of their options: in tables, in file names and as a command line.

Standard library only, as :mod:`aekit.images.config`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from aekit.core.settings import SELF_NAMED, as_text, changes_in_name, check_type, flag, in_name
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig

PARTS: dict[str, Any] = {"data": DataConfig, "model": ModelConfig, "train": TrainConfig}
# A plain autoencoder has no KL divergence to weigh.
VAE_ONLY = (
    *("prior", "components", "stochastic_layers", "lower_latent", "condition", "objective", "samples", "dreg"),
    *("beta", "beta_warmup", "capacity", "capacity_warmup", "free_bits"),
)
MINIMISED = ("beta", "objective", "samples", "capacity", "free_bits")  # what the total of a VAE is depends on them
_MAX_STEM = 48  # characters of the name of a checkpoint in that of another
_CALLED = {"name": "data", "kind": "model"}  # fields that have another name on the command line, and so in tables
# Every setting by the name of its option with underscores: in which part it is, and under which name.
SETTINGS = {_CALLED.get(f.name, f.name): (part, f.name) for part, cls in PARTS.items() for f in fields(cls)}

_HINTS = {part: get_type_hints(cls) for part, cls in PARTS.items()}
OPTION_OF = {field_name: name for name, (_, field_name) in SETTINGS.items()}


def flat(config: RunConfig) -> dict[str, Any]:
    """Return all settings of a run in one dictionary, by the names of :data:`SETTINGS`."""
    return {name: getattr(getattr(config, part), field_name) for name, (part, field_name) in SETTINGS.items()}


def build_config(values: Mapping[str, Any]) -> RunConfig:
    """Return the run with these settings, by the names of :data:`SETTINGS`; others have their default.

    Raises:
        UsageError: A value is refused.
    """
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for name, value in values.items():
        part, field_name = SETTINGS[name]
        parts[part][field_name] = check_type(name, value, _HINTS[part][field_name])
    return RunConfig(**{part: PARTS[part](**settings) for part, settings in parts.items()})


def run_name(config: RunConfig, swept: Sequence[str] = ()) -> str:
    """Return a file name made of what matters, the same for the same options: ``vae-mnist-conv-z10``.

    Options that differ from their default are appended, so that other options give another name.

    Args:
        config: The run.
        swept: Settings that are named whatever their value, in this order and ahead of the others:
            ``vae-mnist-conv-beta1-z10-epochs8``. Those of the KL divergence are left out where there is none.
    """
    model, data, train = config.model, config.data, config.train
    fresh = RunConfig(model=ModelConfig(kind=model.kind, arch=model.arch, latent=model.latent))
    left_out = SELF_NAMED if model.has_prior else (*SELF_NAMED, *VAE_ONLY)  # the first three parts name themselves
    own = [name for name in swept if name not in left_out]
    if data.labels is not None:  # without its folder, as the data
        data = replace(data, labels=Path(data.labels).stem)
    if train.init is not None:
        train = replace(train, init=_short(Path(train.init).stem))
    values = flat(replace(config, data=data, train=train))
    parts = [model.kind, Path(data.name).stem or "data", model.arch]
    parts += [in_name(name, values[name]) for name in (own if "latent" in own else ["latent", *own])]
    parts += changes_in_name(model, fresh.model, but=own)
    parts += changes_in_name(data, fresh.data, but=("name", *own))
    parts += changes_in_name(train, fresh.train, but=own)
    return "-".join(parts)


def _short(stem: str) -> str:
    """Return the name of a checkpoint for that of another: a chain of runs must not become a name without end."""
    if len(stem) <= _MAX_STEM:
        return stem
    digest = hashlib.sha256(stem.encode(errors="surrogateescape")).hexdigest()
    return f"{stem[: _MAX_STEM - 9]}-{digest[:8]}"


def command_words(config: RunConfig) -> list[str]:
    """Return the words of the training command of a run, with the options that differ from their defaults."""
    default = flat(RunConfig(model=ModelConfig(kind=config.model.kind)))
    words = ["aekit", f"train-{config.model.kind}"]
    for name, value in flat(config).items():
        if name != "model" and value != default[name]:
            words += [flag(name)] if value is True else [flag(name), as_text(value)]
    return words
