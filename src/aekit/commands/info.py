"""``aekit info``: what a checkpoint is. Loads nothing heavy, so that it answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aekit.commands.checkpoints import Checkpoints, read_paths
from aekit.core.checkpoint import Header, read_header
from aekit.terminal import options
from aekit.terminal.console import Console


def info(checkpoints: Checkpoints, quiet: options.Quiet = False, json: options.Json = False) -> None:
    """Tell what a checkpoint is: model, data, training and result.

    Reads the header alone. Writes no file: the text goes to stderr. Prints the path on stdout, so that it can stand in
    the middle of a pipeline; --json prints everything that the header says, history included, as one object on stdout.

    Example: aekit info runs/vae.safetensors
    """
    console = Console(quiet=quiet, json=json)
    for path in read_paths(checkpoints, console, any_kind=True):
        header = read_header(path)
        if not json:
            for line in _describe(path, header):
                console.message(line)
        console.result(path, **header.entries)


def _describe(path: Path, header: Header) -> list[str]:
    """Return lines of text; whatever another version left out of the header is left out here."""
    result = header.result
    size = f"{path.stat().st_size / 1e6:.1f} MB, format {header.format}, aekit {header.aekit or '?'}"
    sections = {
        "model": _settings(header.model) + _counted(result.get("parameters"), "parameters"),
        "data": _data(header.data),
        "training": _settings(header.train),
        "ran on": _settings(header.ran_on),
        "result": _result(result),
    }
    what = "epochs"
    if header.kind == "brain":
        what = "stages"
        sections |= _brain_sections(header, result)
    if header.state is not None:
        sections["state"] = f"unfinished, {header.state.get('epoch', '?')} {what} done; go on with --resume"
    return [f"{path} ({size})", *(f"  {name:<9} {text}" for name, text in sections.items() if text)]


def _brain_sections(header: Header, result: dict[str, Any]) -> dict[str, str]:
    """Return what differs for networks that read brains: members, errors with intervals, and what they have seen."""
    members = header.members or []
    stages = ", ".join(map(str, members[0][2:])) if members else ""
    judged = result.get("judged", "?")
    errors = [
        f"{row['model']} {row['mae']:.3g}{_interval(row)} {'years' if row['target'] == 'age_years' else row['target']}"
        for row in result.get("metrics", [])
        if row["mae"] is not None  # of a prediction that is not finite
        and row["split"] == judged
        and row["model"] in ("volumes", "chain", "direct")
    ]
    seen = result.get("seen", {})
    ranges = [(key, *seen[key]) for key in ("age_years", "brain_ml", "spacing_mm") if key in seen]
    return {
        "networks": f"{len(members)} x ({stages})" if members else "",
        "result": f"{judged} MAE: {', '.join(errors)}" if errors else "",
        "seen": ", ".join(f"{key} {low:.3g} to {high:.4g}" for key, low, high in ranges),
    }


def _interval(row: dict[str, Any]) -> str:
    ends = (row.get("mae_low"), row.get("mae_high"))
    return "" if None in ends else f" [{ends[0]:.3g}, {ends[1]:.3g}]"


def _settings(values: dict[str, Any]) -> str:
    shown = {key: value for key, value in values.items() if value is not None and value is not False}
    return ", ".join(key if value is True else f"{key} {value}" for key, value in shown.items())


def _data(data: dict[str, Any]) -> str:
    shape = "x".join(map(str, data.get("shape", [])))
    counts = [f"{split} {part.get('n', 0):,}" for split, part in data.get("splits", {}).items()]
    known = ("shape", "splits", "name", "size", "n_bins", "fingerprint")
    plain = {key: value for key, value in data.items() if key not in known}
    return ", ".join(filter(None, [str(data.get("name")), shape, *counts, _settings(plain)]))


def _counted(number: int | None, what: str) -> str:
    return "" if number is None else f", {number:,} {what}"


def _result(result: dict[str, Any]) -> str:
    test = {key: value for key, value in result.get("test", {}).items() if isinstance(value, float)}
    figures = ", ".join(f"{key} {value:.5g}" for key, value in test.items())
    return f"test after epoch {result.get('epoch', '?')}: {figures}" if figures else ""
