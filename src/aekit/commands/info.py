"""``aekit info``: what a checkpoint is. Loads nothing heavy, so that it answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aekit import options
from aekit.checkpoint import read_header
from aekit.commands.checkpoints import Checkpoints, read_paths
from aekit.console import Console


def info(checkpoints: Checkpoints, quiet: options.Quiet = False, json: options.Json = False) -> None:
    """Tell what a checkpoint is: model, data, training and result.

    The text goes to stderr and the path to stdout, so that it can stand in the middle of a pipeline; --json prints
    everything that the header says, history included, as one object on stdout.

    Example: aekit info runs/vae.safetensors
    """
    console = Console(quiet=quiet, json=json)
    for path in read_paths(checkpoints, console, unfinished=True):
        header = read_header(path)
        if not json:
            for line in _describe(path, header):
                console.message(line)
        console.result(path, **header)


def _describe(path: Path, header: dict[str, Any]) -> list[str]:
    """Return lines of text; whatever another version left out of the header is left out here."""
    result = header.get("result", {})
    size = f"{path.stat().st_size / 1e6:.1f} MB, format {header['format']}, aekit {header.get('aekit', '?')}"
    sections = {
        "model": _settings(header["model"]) + _counted(result.get("parameters"), "parameters"),
        "data": _data(header["data"]),
        "training": _settings(header["train"]),
        "ran on": _settings(header.get("ran_on", {})),
        "result": _result(result),
    }
    if "state" in header:
        sections["state"] = f"unfinished, {header['state'].get('epoch', '?')} epochs done; go on with --resume"
    return [f"{path} ({size})", *(f"  {name:<9} {text}" for name, text in sections.items() if text)]


def _settings(values: dict[str, Any]) -> str:
    shown = {key: value for key, value in values.items() if value is not None and value is not False}
    return ", ".join(key if value is True else f"{key} {value}" for key, value in shown.items())


def _data(data: dict[str, Any]) -> str:
    shape = "x".join(map(str, data.get("shape", [])))
    counts = [f"{split} {part.get('n', 0):,}" for split, part in data.get("splits", {}).items()]
    plain = {key: value for key, value in data.items() if key not in ("shape", "splits", "name")}
    return ", ".join(filter(None, [str(data.get("name")), shape, *counts, _settings(plain)]))


def _counted(number: int | None, what: str) -> str:
    return "" if number is None else f", {number:,} {what}"


def _result(result: dict[str, Any]) -> str:
    test = {key: value for key, value in result.get("test", {}).items() if isinstance(value, float)}
    figures = ", ".join(f"{key} {value:.5g}" for key, value in test.items())
    return f"test after epoch {result.get('epoch', '?')}: {figures}" if figures else ""
