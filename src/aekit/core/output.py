"""The life of a result file: claimed, refused, gone on with, finished."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aekit.core.checkpoint import Header
from aekit.errors import AekitError


def refuse_other_run(path: Path, wanted: Mapping[str, Mapping[str, Any]], found: Header) -> None:
    """Raise an AekitError if the file was made with other settings or other images than are wanted now."""
    for part, settings in found.configuration.items():
        for key, value in wanted[part].items():
            # A file that is older than an option was made without it.
            there = settings.get(key, False if value is False else None)
            if (list(value) if isinstance(value, tuple) else value) != there:
                if key == "splits":
                    what = "in another order of the images" if _same_images(value, there) else "on other images"
                    raise AekitError(f"{path}: was trained {what}; use another --output or --overwrite")
                raise AekitError(
                    f"{path}: was trained with {key} {there}, not {value}; give the same options, another --output, "
                    "or --overwrite"
                )


def _same_images(splits: dict[str, Any], others: Any) -> bool:
    """Return whether the splits of two headers have the same images, if not in the same order."""
    if not isinstance(others, dict) or splits.keys() != others.keys():
        return False
    return all(
        isinstance(others[name], dict) and own.get("fingerprint") == others[name].get("fingerprint")
        for name, own in splits.items()
    )
