"""Training options that take several values, and the grid of runs that they span; standard library only."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_type_hints

from aekit.core.settings import as_text, choices_of, flag, is_whole_number
from aekit.errors import UsageError, nearest
from aekit.images.config import RunConfig, parse_image_size
from aekit.images.parent import inherit_model
from aekit.images.run_settings import PARTS, SETTINGS, VAE_ONLY, build_config, flat

_MAX_VALUES = 100_000  # of a range; a grid of as many cells would train for years


def expand(given: dict[str, str | bool | None], *, is_sorted: bool = True) -> tuple[list[RunConfig], list[str]]:
    """Return the runs of a grid, each once, and the settings in which they differ, in the order of ``given``.

    Args:
        given: What each option says, by its name with underscores; None leaves it at its default. The last one
            changes fastest.
        is_sorted: Take numbers and sizes from the least to the largest, and names as they are given; otherwise all
            as they are given.

    Raises:
        UsageError: A value cannot be read.
        AekitError: A configuration is refused.
    """
    values = {field: _values(field, text) for field, text in given.items() if text is not None}
    if is_sorted:
        values = {field: own if isinstance(own[0], str) else sorted(own) for field, own in values.items()}
    if "model" not in values:
        raise UsageError("--model: is missing; give ae, vae or ae,vae")
    if "vae" not in values["model"]:
        for field in VAE_ONLY:
            if values.get(field, [False]) != [False]:  # a flag that is not set
                raise UsageError(f"{flag(field)}: only a VAE has it; add --model vae")
    configs = _configs(values)
    rows = [flat(config) for config in configs]
    return configs, [field for field in given if len({str(row[field]) for row in rows}) > 1]


def _configs(values: Mapping[str, Sequence[Any]]) -> list[RunConfig]:
    """Return the runs of all combinations of values, each once."""
    configs: dict[RunConfig, None] = {}
    refused: tuple[UsageError, dict[str, Any]] | None = None
    for combination in itertools.product(*values.values()):
        own = dict(zip(values, combination, strict=True))
        try:
            configs[_config(own)] = None
        except UsageError as error:
            refused = refused or (error, own)
    if refused is not None:
        why, own = refused
        if not configs:
            raise why
        varied = [f"{flag(field)} {as_text(own[field])}" for field in own if len(values[field]) > 1]
        raise UsageError(f"{why} (the cell {' '.join(varied)}); other cells can be trained: sweep them apart")
    return list(configs)


def _config(values: dict[str, Any]) -> RunConfig:
    is_plain = values["model"] == "ae"
    values = inherit_model(values, values)
    return build_config({name: value for name, value in values.items() if not (is_plain and name in VAE_ONLY)})


def _values(field: str, text: str | bool) -> Sequence[Any]:
    if isinstance(text, bool):
        return [text]
    part, name = SETTINGS[field]
    hint = get_type_hints(PARTS[part])[name]
    items = [item.strip() for item in text.split(",")]
    if field == "value_range":
        return [text]
    if "" in items:
        raise UsageError(f"{flag(field)}: {text!r} has an empty value; give values such as 1,2,5")
    if field == "image_size":
        return [parse_image_size(item) for item in items]
    types = get_args(hint) or (hint,)
    if int in types:
        return integers(field, items)
    if float in types:
        return _numbers(field, items)
    choices = choices_of(hint)
    for item in items if choices else []:
        if item not in choices:
            hint = nearest(item, choices, "choose one of them")
            raise UsageError(f"{flag(field)}: {item!r} is not one of {', '.join(choices)}{hint}")
    return items


def integers(field: str, items: list[str]) -> list[int]:
    """Return whole numbers: ``3``, the range ``2-20`` with both ends, or ``2-20:4``, every fourth of it."""
    numbers: list[int] = []
    for item in items:
        span, _, step = item.partition(":")
        ends = span.split("-")
        if not all(map(is_whole_number, ends)) or len(ends) > 2 or (step and not is_whole_number(step)):
            example = "give numbers and ranges, such as 1,5,10-20 or 2-30:4"
            raise UsageError(f"{flag(field)}: {item!r} is not a whole number; {example}")
        first, last, stride = int(ends[0]), int(ends[-1]), int(step or 1)
        if last < first or stride == 0 or (step and len(ends) == 1):
            raise UsageError(f"{flag(field)}: {item!r} is an empty range; give one such as 2-30:4")
        if (last - first) // stride >= _MAX_VALUES:  # before it is spelled out, which could take all memory
            raise UsageError(f"{flag(field)}: {item!r} has more than {_MAX_VALUES:,} values; give a shorter range")
        numbers += range(first, last + 1, stride)
    return numbers


def _numbers(field: str, items: list[str]) -> list[float]:
    try:
        return [float(item) for item in items]
    except ValueError as error:
        text = ",".join(items)
        raise UsageError(f"{flag(field)}: {text!r} has a value that is not a number; give 0.1,0.5,1") from error
