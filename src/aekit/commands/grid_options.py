"""Training options that take several values, the grid that they span, and the command line of one of its cells."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any, get_args, get_type_hints

import typer

from aekit.core.settings import Precision, Schedule
from aekit.images.config import Arch, DataConfig, Keep, Loss, ModelConfig, RunConfig, TrainConfig
from aekit.terminal import completion, options

PARTS: dict[str, Any] = {"data": DataConfig, "model": ModelConfig, "train": TrainConfig}
# Only a VAE has these.
VAE_ONLY = ("beta", "beta_warmup")
# Fields that are called otherwise on the command line, and so in tables.
CALLED = {"name": "data", "kind": "model"}
SETTINGS = {CALLED.get(f.name, f.name): (part, f.name) for part, cls in PARTS.items() for f in fields(cls)}


def _several(annotated: Any, metavar: str, choices: Sequence[str] = ()) -> Any:
    """Return the option of a single value, as it is for training, with a metavar that shows that it takes several."""
    option = copy.copy(annotated.__metadata__[0])
    option.metavar, option.autocompletion = metavar, completion.several_of(choices) if choices else None
    return option


def _names(annotated: Any, literal: Any) -> Any:
    """Return the option of a single choice as one that takes several."""
    option = _several(annotated, NAMES, get_args(literal))
    option.help = options.with_choices(option.help, get_args(literal))
    return option


INTS, NUMBERS, NAMES = "N,N-N,...", "X,X,...", "NAME,..."
Kinds = Annotated[
    str, typer.Option("--model", rich_help_panel=options.MODEL, metavar="ae|vae,...", help="What to train.")
]
Losses = Annotated[
    str,
    typer.Option(
        "--loss",
        rich_help_panel=options.MODEL,
        metavar=NAMES,
        autocompletion=completion.several_of(get_args(Loss)),
        help=options.with_choices("As for train-ae, train-vae.", get_args(Loss)),
    ),
]
Betas = Annotated[
    str | None,
    typer.Option(
        "--beta",
        rich_help_panel=options.TRAINING,
        metavar=NUMBERS,
        help="Weight of the KL divergence.",
        show_default="1",
    ),
]
Warmups = Annotated[
    str | None,
    typer.Option(
        "--beta-warmup",
        rich_help_panel=options.TRAINING,
        metavar=NUMBERS,
        help="Epochs over which beta rises.",
        show_default="0",
    ),
]
Names = Annotated[str, _several(options.DataName, "NAME|PATH,...", completion.DATA_SETS)]
Sizes = Annotated[str | None, _several(options.ImageSize, "N|HxW,...")]
Limits = Annotated[str | None, _several(options.Limit, INTS)]
Vals = Annotated[str, _several(options.Val, "FRACTION,...")]
SplitSeeds = Annotated[str, _several(options.SplitSeed, INTS)]
Latents = Annotated[str, _several(options.Latent, INTS)]
Archs = Annotated[str, _names(options.ArchName, Arch)]
Depths = Annotated[str | None, _several(options.Layers, INTS)]
Widths = Annotated[str | None, _several(options.Width, INTS)]
EpochNumbers = Annotated[str, _several(options.Epochs, INTS)]
BatchSizes = Annotated[str | None, _several(options.BatchSize, INTS)]
Rates = Annotated[str | None, _several(options.LearningRate, NUMBERS)]
Decays = Annotated[str, _several(options.WeightDecay, NUMBERS)]
Schedules = Annotated[str, _names(options.ScheduleName, Schedule)]
SampleNumbers = Annotated[str | None, _several(options.SamplesPerEpoch, INTS)]
Precisions = Annotated[str, _names(options.PrecisionName, Precision)]
Keeps = Annotated[str, _names(options.KeepWhich, Keep)]
Seeds = Annotated[str, _several(options.Seed, INTS)]


def expand(given: dict[str, str | bool | None]) -> tuple[list[RunConfig], list[str]]:
    """Return the runs of a grid, each once, and the settings in which they differ.

    Args:
        given: What each option says, by its name with underscores; None leaves it at its default. The last one
            changes fastest.

    Raises:
        typer.BadParameter: A value cannot be read.
        AekitError: A configuration is refused.
    """
    values = {field: _values(field, text) for field, text in given.items() if text is not None}
    if "vae" not in values["model"]:
        for field in VAE_ONLY:
            if field in values:
                raise typer.BadParameter("only a VAE has it; add --model vae", param_hint=flag(field))
    configs: dict[RunConfig, None] = {}
    for combination in itertools.product(*values.values()):
        configs[_config(dict(zip(values, combination, strict=True)))] = None
    rows = [flat(config) for config in configs]
    return list(configs), [field for field in given if len({str(row[field]) for row in rows}) > 1]


def flat(config: RunConfig) -> dict[str, Any]:
    """Return all settings of a run in one dictionary, by the names of the options with underscores."""
    return {name: getattr(getattr(config, part), field) for name, (part, field) in SETTINGS.items()}


def flag(field: str) -> str:
    """Return the option of a setting: ``--batch-size`` for ``batch_size``."""
    return f"--{field.replace('_', '-')}"


def command_words(config: RunConfig) -> list[str]:
    """Return the words of the training command of a run, with the options that differ from their defaults."""
    default = flat(RunConfig(model=ModelConfig(kind=config.model.kind)))
    words = ["aekit", f"train-{config.model.kind}"]
    for field, value in flat(config).items():
        if field != "model" and value != default[field]:
            words += [flag(field)] if value is True else [flag(field), as_text(value)]
    return words


def as_text(value: Any) -> str:
    """Return a setting as it is written on the command line."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _config(values: dict[str, Any]) -> RunConfig:
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for name, value in values.items():
        if values["model"] != "ae" or name not in VAE_ONLY:
            part, field = SETTINGS[name]
            parts[part][field] = value
    return RunConfig(**{part: PARTS[part](**settings) for part, settings in parts.items()})


def _values(field: str, text: str | bool) -> Sequence[Any]:
    if isinstance(text, bool):
        return [text]
    part, name = SETTINGS[field]
    hint = get_type_hints(PARTS[part])[name]
    items = [item.strip() for item in text.split(",")]
    if "" in items:
        raise typer.BadParameter(f"{text!r} has an empty value; give values as 1,2,5", param_hint=flag(field))
    if field == "image_size":
        return [options.parse_image_size(item) for item in items]
    types = get_args(hint) or (hint,)
    if int in types:
        return _integers(field, items)
    if float in types:
        return _numbers(field, items)
    for item in items if str not in types else []:
        if item not in types:
            wrong = f"{item!r} is not one of {', '.join(map(repr, types))}"
            raise typer.BadParameter(wrong, param_hint=flag(field))
    return items


def _integers(field: str, items: list[str]) -> list[int]:
    """Return whole numbers: ``3``, the range ``2-20`` with both ends, or ``2-20:4``, every fourth of it."""
    numbers: list[int] = []
    for item in items:
        span, _, step = item.partition(":")
        ends = span.split("-")
        if not all(text.isdecimal() for text in ends) or len(ends) > 2 or (step and not step.isdecimal()):
            example = "give numbers and ranges, as 1,5,10-20 or 2-30:4"
            raise typer.BadParameter(f"{item!r} is no whole number; {example}", param_hint=flag(field))
        first, last, stride = int(ends[0]), int(ends[-1]), int(step or 1)
        if last < first or stride == 0 or (step and len(ends) == 1):
            raise typer.BadParameter(f"{item!r} is an empty range; as in 2-30:4", param_hint=flag(field))
        numbers += range(first, last + 1, stride)
    return numbers


def _numbers(field: str, items: list[str]) -> list[float]:
    try:
        return [float(item) for item in items]
    except ValueError as error:
        wrong = f"{','.join(items)!r} has something that is no number; give numbers, as 0.1,0.5,1"
        raise typer.BadParameter(wrong, param_hint=flag(field)) from error
