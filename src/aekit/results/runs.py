"""What ``aekit report`` shows of runs: how they differ, what they reached, all their options, and their commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aekit.core.checkpoint import Header
from aekit.core.settings import as_text, differing_keys, from_dict
from aekit.errors import AekitError, count
from aekit.images.config import ModelConfig, RunConfig, TrainConfig
from aekit.images.record import data_config, vae_words
from aekit.images.run_settings import SETTINGS, VAE_ONLY, command_words, flat
from aekit.plotting.html import Code, Details, Link, Paragraph, Table
from aekit.results.files import is_number

IMAGES = "test images"
_OPTION_NAMES = {place: name for name, place in SETTINGS.items()}
# What a header records of the data besides its options.
_RECORDED = (
    "class_names",
    "shape",
    "splits",
    "fingerprint",
    "labels_fingerprint",
    "table_fingerprint",
    "n_bins",
    "people",
)
_SHOWN_AS = {"people": "participants"}
_USUAL = ("model", "data", "arch", "latent")
_EMPTY = "An empty cell means the default."
_MEASURES = ("total", "reconstruction", "kl", "mse", "active_units")
_NO_MEASURES = ("epoch", "split", "seconds", "images_per_second")
# How age is predicted: from the image through tissue volumes, from the image directly, from the true volumes; and the
# mean age of the training participants, as the baseline.
_AGE_MODELS = {"chain": "via predicted volumes", "direct": "direct", "volumes": "from true volumes", "mean": "mean age"}
_AGE_MODELS |= {"ridge-features": "ridge regression on columns", "gp-features": "Gaussian process on columns"}
_FEW_SIDES = 4  # fewer numbers than this are the sides of an image, 48x48


def is_brain(header: Header) -> bool:
    """Return whether a checkpoint holds networks for brain images."""
    return header.kind == "brain"


def describe(header: Header) -> str:
    """Return in a few words which model was trained on which data."""
    model, data = header.model, header.data
    if is_brain(header):
        n: Any = data.get("people")
        people = f", {count(n, 'participant')}" if is_number(n) else ""
        return f"brain {model.get('arch')}: {data.get('name')}{people}"
    network = f"{model.get('kind')} {model.get('arch')}, latent {model.get('latent')}"
    return f"{', '.join([network, *vae_words(model, header.train)])}: {data.get('name')}"


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested dictionary as a flat one with dotted names, its values as cells of a table."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = _as_cell(value)
    return flat


def options_of(header: Header) -> dict[str, Any]:
    """Return the options of a run by name, without those that its model does not have."""
    left_out = () if _has_prior(header) else VAE_ONLY
    options = {
        _OPTION_NAMES.get((part, key), key): value
        for part, settings in header.configuration.items()
        for key, value in settings.items()
        if key not in left_out and not (part == "data" and key in _RECORDED)
    }
    images = _test_images(header)
    return options if images is None else options | {IMAGES: images}


def overview(runs: Mapping[str, Header], anchors: Mapping[str, str], *, caption: str) -> list[Table | Details]:
    """Return a table with a row per run: the options in which the runs differ, and the results that they reached.

    The options that they share follow in a table of their own.

    Args:
        runs: Headers by path; either all autoencoders or all models of brain images.
        anchors: Where in the page each run is.
        caption: What is above the table.
    """
    options = _complete([options_of(header) for header in runs.values()], list(runs.values()))
    results = [_brain_results(header) if is_brain(header) else _results(header) for header in runs.values()]
    columns = _option_columns(options)
    measures = _measured(results)
    rows = [
        [
            Link(name.removesuffix(".safetensors"), anchors[name]),
            *(_as_cell(own.get(key)) for key in columns),
            *(reached.get(key) for key in measures),
        ]
        for name, own, reached in zip(runs, options, results, strict=True)
    ]
    headings = [key.replace("_", " ") for key in ("run", *columns, *measures)]
    table = Table(headings, rows, caption=caption, n_left=None, sortable=True)
    return [table, *_shared_options(options, columns)]


def _complete(options: Sequence[dict[str, Any]], headers: Sequence[Header]) -> list[dict[str, Any]]:
    """Return the options of runs with the defaults of those that only some headers have, as they left them out."""
    known = dict.fromkeys(key for own in options for key in own)
    defaults = {key: value for key, value in flat(RunConfig()).items() if key in known}
    return [
        {**{key: value for key, value in defaults.items() if _has_prior(header) or key not in VAE_ONLY}, **own}
        if not is_brain(header)
        else own
        for own, header in zip(options, headers, strict=True)
    ]


def details(name: str, header: Header) -> Details:
    """Return every option of a run, and the command that retrains it where there is one."""
    result = header.result
    reached = {key: result.get(key) for key in ("parameters", "epoch", "trained_epochs")}
    left_out = () if _has_prior(header) else VAE_ONLY
    own = {
        part: {key: value for key, value in settings.items() if key not in left_out}
        for part, settings in header.configuration.items()
    }
    sections = own | {
        "began as": {"checkpoint": header.ancestors} if header.lineage else {},
        "ran on": header.ran_on,
        "result": {key: value for key, value in reached.items() if value is not None},
        "file": {"format": header.format, "aekit": header.aekit},
    }
    rows = [
        [part, _SHOWN_AS.get(key, key), value]
        for part, values in sections.items()
        for key, value in flatten(values).items()
    ]
    table = Table(["", "option", "value"], rows, caption=_EMPTY, n_left=3, wrap=["value"])
    command = training_command(name, header)
    if command is not None:
        return Details("All options, and the command that retrains it", [Code(command, wrap=True), table])
    if is_brain(header):
        why = "the checkpoint does not record where the table and the scans were"
    else:
        why = "its options are those of another version of aekit"
    return Details("All options", [Paragraph(f"It cannot be retrained by one command: {why}."), table])


def training_command(name: str, header: Header) -> str | None:
    """Return the command that trains a run again, to the same bytes on the same machine; None if there is none.

    It writes to ``name``. A folder of images is recorded without the path to it.
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


def _has_prior(header: Header) -> bool:
    """Return :attr:`ModelConfig.has_prior` of a header, which may be of another version; a brain's has no beta."""
    return header.kind != "ae"


def _as_cell(value: Any) -> Any:
    """Return a setting as a cell of a table: sizes as 48x48, names with commas, anything else nested as JSON."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, (int, float)) for item in value):
        return as_text(value) if len(value) < _FEW_SIDES else ", ".join(f"{item:g}" for item in value)
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value) if isinstance(value, (list, tuple, dict)) else value


def _test_images(header: Header) -> str | None:
    """Return what identifies the test images: results compare only on the same ones."""
    test = _inner(header.data, "splits", "test")
    return f"{test.get('n')}, {test['fingerprint'][:8]}" if isinstance(test.get("fingerprint"), str) else None


def _inner(values: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else {}


def _first_values(options: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return each option with the value of the first run that has it."""
    first: dict[str, Any] = {}
    for own in options:
        for key, value in own.items():
            first.setdefault(key, value)
    return first


def _option_columns(options: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the options to show for each run: those in which the runs differ, what every reader looks for first.

    A single run shows all that every reader looks for.
    """
    first = _first_values(options)
    # An option that a run does not have is not a difference.
    different = differing_keys([{**first, **own} for own in options], [""] * len(options))[""]
    usual = [key for key in _USUAL if key in first and (key in different or len(options) == 1)]
    ahead = usual + [key for key in ("beta",) if key in different]
    last = [IMAGES] if IMAGES in different else []
    return [*ahead, *(key for key in first if key in different - {*ahead, IMAGES}), *last]


def _shared_options(options: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[Table | Details]:
    """Return the options that several runs share and that are not in the table above."""
    first = {key: value for key, value in _first_values(options).items() if all(key in own for own in options)}
    shared = [(key, _as_cell(value)) for key, value in first.items() if key not in columns]
    if len(options) < 2 or not shared:
        return []
    table = Table(["option", "value"], shared, caption=_EMPTY, n_left=2, wrap=["value"])
    return [Details(f"The options that {'both' if len(options) == 2 else f'all {len(options)}'} share", [table])]


def _measured(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the measures that a run has: those on validation images, those on test images, and any others."""
    measured = dict.fromkeys(key for reached in results for key, value in reached.items() if value is not None)
    usual = [f"{split} {measure}" for split in ("val", "test") for measure in _MEASURES]
    return [name for name in usual if name in measured] + [name for name in measured if name not in usual]


def _results(header: Header) -> dict[str, Any]:
    """Return what an autoencoder reached with the weights that were kept, on test and validation images."""
    result = header.result
    history = result.get("history")
    chosen = {"test": _inner(result, "test")}
    for row in history if isinstance(history, list) else ():
        if isinstance(row, dict) and row.get("split") == "val" and row.get("epoch") == result.get("epoch"):
            chosen["val"] = row
    return {
        f"{split} {measure}": value
        for split, row in chosen.items()
        for measure, value in row.items()
        if is_number(value) and measure not in _NO_MEASURES and (split, measure) != ("val", "active_units")
    }


def _brain_results(header: Header) -> dict[str, Any]:
    """Return mean absolute errors on held-out participants: ages in years, tissue volumes in mL or as fractions."""
    result = header.result
    metrics = result.get("metrics")
    judged = result.get("judged")
    rows = [row for row in metrics if isinstance(row, dict)] if isinstance(metrics, list) else []
    of = {(str(row.get("target")), str(row.get("model"))): row for row in rows if row.get("split") == judged}
    found: dict[str, Any] = {"evaluated on": judged}
    for model, words in _AGE_MODELS.items():
        if (row := of.get(("age_years", model))) is not None and is_number(row.get("mae")):
            found |= {"participants": row.get("n"), f"age MAE: {words}": row["mae"]}
    for (target, model), row in of.items():
        if target != "age_years" and model == "volumes" and is_number(row.get("mae")):
            name, _, unit = target.rpartition("_")
            found[f"{name} MAE, mL" if unit == "ml" else f"{target} MAE"] = row["mae"]
    return found
