"""What ``aekit report`` tells of runs: in what they differ, how they ended, all their options, and their commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from aekit.commands.checkpoints import data_config
from aekit.commands.report_files import is_number
from aekit.core.checkpoint import Header
from aekit.core.settings import as_text, from_dict
from aekit.errors import AekitError
from aekit.images.config import SETTINGS, VAE_ONLY, ModelConfig, RunConfig, TrainConfig, command_words
from aekit.plotting.html import Code, Details, Link, Paragraph, Table

PARTS = ("model", "data", "train")
# What a header knows of the data beside the options.
_FOUND = ("shape", "splits", "fingerprint", "n_bins", "people")
_ALWAYS = ("model", "data", "arch", "latent")
_IMAGES = "test images"
_EMPTY = "Where nothing stands, the default was taken."
_MEASURES = ("total", "reconstruction", "kl", "mse", "active_units")
# What predicts age: from the image by way of volumes, from the image, from the true volumes; and the floor.
_AGE_MODELS = {"chain": "by volumes", "direct": "direct", "volumes": "true volumes", "mean": "mean age"}

_CALLED = {where: name for name, where in SETTINGS.items()}  # by part and field


def is_brain(header: Header) -> bool:
    """Return whether a checkpoint holds networks that read brains."""
    return bool(header.kind == "brain")


def describe(header: Header) -> str:
    """Return in a few words what a run trained on what."""
    model, data = header.model, header.data
    if is_brain(header):
        people = data.get("people")
        return f"brain {model.get('arch')}: {data.get('name')}" + (f", {people:,} people" if is_number(people) else "")
    beta = f", beta {as_text(header.train.get('beta'))}" if model.get("kind") == "vae" else ""
    return f"{model.get('kind')} {model.get('arch')}, latent {model.get('latent')}{beta}: {data.get('name')}"


def show(value: Any) -> Any:
    """Return a setting as a cell of a table: sizes as 48x48, names with commas, what else is nested as JSON."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, (int, float)) for item in value):
        return "x".join(map(str, value)) if len(value) < 4 else ", ".join(f"{item:g}" for item in value)
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value) if isinstance(value, (list, tuple, dict)) else value


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested dictionary as one of dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = show(value)
    return flat


def options_of(header: Header) -> dict[str, Any]:
    """Return the options of a run by name, without those that its model does not have."""
    left_out = VAE_ONLY if header.model.get("kind") == "ae" else ()
    return {
        _CALLED.get((part, key), key): value
        for part, settings in header.configuration.items()
        for key, value in settings.items()
        if key not in left_out and not (part == "data" and key in _FOUND)
    } | {_IMAGES: _images(header)}


def _images(header: Header) -> str | None:
    """Return what tells one set of test images from another: figures compare on the same ones only."""
    test = _inner(header.data, "splits", "test")
    return f"{test.get('n')}, {test['fingerprint'][:8]}" if isinstance(test.get("fingerprint"), str) else None


def _inner(values: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else {}


def overview(runs: Mapping[str, Header], anchors: Mapping[str, str], *, caption: str) -> list[Table | Details]:
    """Return a table with a row a run: the options in which they differ, and the figures that they ended with.

    Args:
        runs: Headers by path; either all autoencoders or all brains.
        anchors: Where in the page each run is.
        caption: What is above the table.
    """
    options = {name: options_of(header) for name, header in runs.items()}
    names = list(dict.fromkeys(key for values in options.values() for key in values))
    different = [
        key
        for key in names
        if len({json.dumps(values[key], sort_keys=True) for values in options.values() if key in values}) > 1
    ]
    first = [key for key in (*_ALWAYS, "beta") if key in (different if key == "beta" else names)]
    columns = list(dict.fromkeys([*first, *(key for key in different if key != _IMAGES)]))
    columns += [_IMAGES] if _IMAGES in different else []
    figures = {name: _brain_figures(header) if is_brain(header) else _figures(header) for name, header in runs.items()}
    measures = list(dict.fromkeys(key for values in figures.values() for key in values))
    measures = [key for key in _ordered(measures) if any(values.get(key) is not None for values in figures.values())]
    rows = [
        [
            Link(name.removesuffix(".safetensors"), anchors[name]),
            *(show(options[name].get(key)) for key in columns),
            *(figures[name].get(key) for key in measures),
        ]
        for name in runs
    ]
    headings = [key.replace("_", " ") for key in ("run", *columns, *measures)]
    blocks: list[Table | Details] = [Table(headings, rows, caption=caption, n_left=None, sortable=True)]
    shared = {key: show(values[key]) for values in options.values() for key in names if key in values}
    shared = {key: value for key, value in shared.items() if key not in columns}
    if len(runs) > 1 and shared:
        table = Table(["option", "value"], list(shared.items()), caption=_EMPTY, n_left=2, wrap=["value"])
        blocks.append(Details(f"The options that all {len(runs)} share", [table]))
    return blocks


def _ordered(measures: list[str]) -> list[str]:
    """Return validation before test; runs without validation images must not turn that round."""
    return sorted(measures, key=lambda name: not name.startswith("val "))


def _figures(header: Header) -> dict[str, Any]:
    result = header.result
    history = result.get("history")
    chosen = {"test": _inner(result, "test")}
    for row in history if isinstance(history, list) else ():
        if isinstance(row, dict) and row.get("split") == "val" and row.get("epoch") == result.get("epoch"):
            chosen["val"] = row
    return {
        f"{split} {measure}": row[measure]
        for split, row in chosen.items()
        for measure in _MEASURES
        if is_number(row.get(measure)) and (split, measure) != ("val", "active_units")
    }


def _brain_figures(header: Header) -> dict[str, Any]:
    """Return mean absolute errors of people who were held out: ages in years, tissue volumes in mL or shares."""
    result = header.result
    metrics = result.get("metrics")
    judged = result.get("judged")
    rows = [row for row in metrics if isinstance(row, dict)] if isinstance(metrics, list) else []
    of = {(str(row.get("target")), str(row.get("model"))): row for row in rows if row.get("split") == judged}
    found: dict[str, Any] = {"judged on": judged}
    for model, words in _AGE_MODELS.items():
        if (row := of.get(("age_years", model))) is not None and is_number(row.get("mae")):
            found |= {"people": row.get("n"), f"age MAE: {words}": row["mae"]}
    for (target, model), row in of.items():
        if target != "age_years" and model == "volumes" and is_number(row.get("mae")):
            name, _, unit = target.rpartition("_")
            found[f"{name} MAE, mL" if unit == "ml" else f"{target} MAE"] = row["mae"]
    return found


def details(name: str, header: Header) -> Details:
    """Return every option of a run, and the command that trains it again where there is one."""
    result = header.result
    seen = {"parameters": result.get("parameters"), "epoch": result.get("epoch")}
    sections = dict(header.configuration) | {
        "ran on": header.ran_on,
        "result": {key: value for key, value in seen.items() if value is not None},
        "file": {"format": header.format, "aekit": header.aekit},
    }
    rows = [[part, key, value] for part, values in sections.items() for key, value in flatten(values).items()]
    table = Table(["", "option", "value"], rows, caption=_EMPTY, n_left=3, wrap=["value"])
    command = training_command(name, header)
    if command is None:
        known = "where the table and the scans lay is not recorded"
        why = known if is_brain(header) else "its options are those of another version of aekit"
        note = f"There is no command that trains it again: {why}."
        return Details("All options", [Paragraph(note), table])
    return Details("All options, and the command that trains it again", [Code(command, wrap=True), table])


def training_command(name: str, header: Header) -> str | None:
    """Return the command that trains a run again, with the same bytes on such a machine; None if there is none.

    It writes to ``name``. Images of your own are recorded without the path of their folder.
    """
    if is_brain(header):
        return None
    try:
        config = RunConfig(
            model=from_dict(ModelConfig, header.model, name),
            data=data_config(header, name),
            train=from_dict(TrainConfig, header.train, name),
        )
    except (AekitError, OverflowError):  # an integer too large to be a setting
        return None
    ran_on = header.ran_on
    machine = [word for key in ("device", "threads") if ran_on.get(key) for word in (f"--{key}", str(ran_on[key]))]
    return shlex.join([*command_words(config), *machine, "-o", name])
