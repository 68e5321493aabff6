"""What a checkpoint is, in a few lines: the body of ``aekit info``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from aekit.core.checkpoint import Header, read_header
from aekit.core.output import Result
from aekit.core.progress import SILENT, Progress
from aekit.core.settings import as_text
from aekit.images.config import DEFAULT_COMPONENTS, DEFAULT_SAMPLES, DataConfig, ModelConfig, TrainConfig
from aekit.images.run_settings import VAE_ONLY
from aekit.images.sizes import in_words

_BRAIN_RANGES = ("age_years", "brain_ml", "spacing_mm")
_BRAIN_MODELS = ("volumes", "chain", "direct", "ridge-features", "gp-features")
_NOT_IN_DATA = (
    "shape",
    "splits",
    "name",
    "size",
    "n_bins",
    "fingerprint",
    "labels_fingerprint",
    "table_fingerprint",
)  # named otherwise, or for machines
_CALLED = {"people": "participants"}


def run_info(
    checkpoints: Sequence[str | Path], *, on_line: Callable[[str], object] | None = None, progress: Progress = SILENT
) -> Iterator[Result]:
    """Yield each checkpoint with everything that its header says.

    Args:
        checkpoints: Paths, also of unfinished runs; one that is named twice is taken once.
        on_line: Called with each line of the description of a checkpoint, before it is yielded.
        progress: Told which path is named twice.

    Raises:
        AekitError: One of them cannot be read.
    """
    known: set[Path] = set()
    for path in map(Path, checkpoints):
        if path.resolve() in known:
            progress.notice(f"{path}: is named twice; it is taken once")
            continue
        known.add(path.resolve())
        header = read_header(path)
        if on_line is not None:
            for line in describe(path, header):
                on_line(line)
        yield Result(path, header.entries)


def describe(path: Path, header: Header) -> list[str]:
    """Return lines on model, data, training and result; what the header of another version lacks is left out."""
    result = header.result
    size = f"{path.stat().st_size / 1e6:.1f} MB, format {header.format}, aekit {header.aekit or '?'}"
    sections = {
        "model": _settings(_model(header)) + _counted(result.get("parameters"), "parameters"),
        "data": _data(header.data if header.kind == "brain" else _filled(DataConfig, header.data)),
        "training": _settings(_training(header)),
        "began as": header.ancestors,
        "ran on": _settings(header.ran_on),
        "result": _result(result),
    }
    unit = "epochs"
    if header.kind == "brain":
        unit = "stages"
        sections |= _brain_sections(header)
    if header.state is not None:
        sections["state"] = f"unfinished, {header.state.get('epoch', '?')} {unit} done; continue with --resume"
    return [f"{path} ({size})", *(f"  {name:<9} {text}" for name, text in sections.items() if text)]


def _filled(config: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with those that a header leaves out, which are at their default."""
    defaults = {each.name: each.default for each in fields(config) if each.default is not MISSING}
    return {**values, **{name: value for name, value in defaults.items() if name not in values}}


def _model(header: Header) -> dict[str, Any]:
    """Return what a network is; a plain autoencoder has no prior, and a standard normal no components."""
    if header.kind == "brain":
        return header.model
    found = _filled(ModelConfig, header.model)
    if found["kind"] == "ae":
        return {name: value for name, value in found.items() if name not in VAE_ONLY}
    if found["prior"] != "normal":
        found["components"] = found["components"] or DEFAULT_COMPONENTS
    return found


def _training(header: Header) -> dict[str, Any]:
    """Return how a network was trained, without what its objective does not have, as ``iwae`` has no beta."""
    if header.kind == "brain":
        return header.train
    found = _filled(TrainConfig, header.train)
    if header.model.get("kind", ModelConfig.kind) == "ae":
        return {name: value for name, value in found.items() if name not in VAE_ONLY}
    if found["objective"] == "iwae":
        found["samples"] = found["samples"] or DEFAULT_SAMPLES
        return {name: value for name, value in found.items() if name not in ("beta", "beta_warmup")}
    return found


def _brain_sections(header: Header) -> dict[str, str]:
    """Return what networks for brain images have besides: members, errors with intervals, ranges of training."""
    result, members = header.result, header.members or []
    stages = ", ".join(map(str, members[0][2:])) if members else ""
    judged = result.get("judged", "?")
    errors = [
        f"{row['model']} {_error(row['mae'])}{_interval(row)} "
        f"{'years' if row['target'] == 'age_years' else row['target']}"
        for row in result.get("metrics", [])
        if row["mae"] is not None  # of a prediction that is not finite
        and row["split"] == judged
        and row["model"] in _BRAIN_MODELS
    ]
    seen = result.get("seen", {})
    ranges = [f"{key} {_range(*seen[key])}" for key in _BRAIN_RANGES if key in seen]
    return {
        "networks": f"{len(members)} x ({stages})" if members else "",
        "result": f"{judged} MAE: {', '.join(errors)}" if errors else "",
        "seen": ", ".join(ranges),
    }


def _interval(row: Mapping[str, Any]) -> str:
    low, high = row.get("mae_low"), row.get("mae_high")
    return "" if low is None or high is None else f" [{_error(low)}, {_error(high)}]"


def _error(value: float) -> str:
    """Return an error with three significant digits, and never as a power of ten."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def _range(low: float, high: float) -> str:
    """Return the two ends of a range in the same format, or what both are."""
    first, last = (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" for value in (low, high))
    return first if first == last else f"{first} to {last}"


def _settings(values: Mapping[str, Any]) -> str:
    given = {key: value for key, value in values.items() if value is not None and value is not False}
    return ", ".join(key if value is True else f"{key} {_text(value)}" for key, value in given.items())


def _text(value: Any) -> str:
    """Return a setting as text: names with commas, sizes as 16x12, numbers without needless digits."""
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return as_text(value)


def _data(data: Mapping[str, Any]) -> str:
    sizes = data.get("shape", [])
    is_image = len(sizes) == 3 and not isinstance(sizes, str) and "people" not in data
    shape = in_words(sizes) if is_image else "x".join(map(str, sizes)) + (" voxels (x, y, z)" if sizes else "")
    counts = [f"{split} {part.get('n', 0):,}" for split, part in data.get("splits", {}).items()]
    others = {_CALLED.get(key, key): value for key, value in data.items() if key not in _NOT_IN_DATA}
    return ", ".join(filter(None, [str(data.get("name")), shape, *counts, _settings(others)]))


def _counted(number: int | None, what: str) -> str:
    return "" if number is None else f", {number:,} {what}"


def _result(result: Mapping[str, Any]) -> str:
    test = {key: value for key, value in result.get("test", {}).items() if isinstance(value, float)}
    measures = ", ".join(f"{key} {value:.5g}" for key, value in test.items())
    trained = f" of {result['trained_epochs']} trained" if "trained_epochs" in result else ""
    return f"test after epoch {result.get('epoch', '?')}{trained}: {measures}" if measures else ""
