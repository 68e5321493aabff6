"""Options that are given in Python, by the names of those of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aekit.errors import UsageError, nearest
from aekit.images.config import RunConfig
from aekit.images.models.own import Builder, own_arch
from aekit.images.run_settings import OPTION_OF, SETTINGS, build_config


def configured(config: object, options: Mapping[str, Any], parts: Builder | None) -> RunConfig:
    """Return what is to be trained, from a configuration or from options.

    Args:
        config: A :class:`RunConfig`; None takes the options.
        options: Values by the names of :data:`SETTINGS`.
        parts: Builds the parts of a network of your own.

    Raises:
        UsageError: Both are given, an option is unknown or its value is refused, or another architecture is named.
    """
    if config is not None and options:
        raise UsageError(f"train: takes a config or options, not both; put {', '.join(options)} into the config")
    for name in options:
        if name in OPTION_OF and name not in SETTINGS:
            raise UsageError(f"train: the option {name} is called {OPTION_OF[name]}; use that name")
        if name not in SETTINGS:
            raise UsageError(f"train: has no option {name}{nearest(name, SETTINGS)}")
    config = build_config(options) if config is None else config
    if not isinstance(config, RunConfig):
        kind = type(config).__name__
        raise UsageError(f"train: config is {kind}; give aekit.RunConfig(...), or images as train(images=...)")
    if parts is None:
        return config
    if config.model.own_builder is None and config.model.arch != "conv":
        raise UsageError(f"train: parts build the network, and arch is {config.model.arch}; give one of them")
    arch: Any = own_arch(parts)
    return replace(config, model=replace(config.model, arch=arch))
