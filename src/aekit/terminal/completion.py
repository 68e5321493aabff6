"""What Tab offers in a shell: data sets, checkpoints, other files by suffix, and the last item of a list with commas.

Typer's own scripts for bash, zsh and fish ask aekit for candidates at each Tab, so nothing heavy is loaded here. Where
there is no candidate, the shell completes file names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aekit.core.checkpoint import RESUME_SUFFIX
from aekit.images.catalog import CATALOG

DEVICES = ("auto", "cpu", "cuda", "mps")
_MAX_DEPTH = 8  # folders with nothing in them but one folder

Complete = Callable[[str], list[str]]


def one_of(choices: Sequence[str]) -> Complete:
    """Return a function that offers the choices that begin with what is typed."""

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def several_of(choices: Sequence[str]) -> Complete:
    """Return a function that completes the last item of a list with commas; items that are there are not offered."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        there = before.split(",")
        return [before + comma + choice for choice in choices if choice.startswith(last) and choice not in there]

    return complete


def files(*suffixes: str) -> Complete:
    """Return a function that offers folders, and files that end so; of checkpoints only finished ones.

    If there is nothing but one folder, what lies in it is offered: a shell puts a space behind a single candidate.
    """

    def complete(incomplete: str) -> list[str]:
        return _entries(incomplete, suffixes, _MAX_DEPTH)

    return complete


checkpoints = files(".safetensors")
volumes = files(".nii", ".nii.gz", ".npy")
tables = files(".csv")
people = files(".tsv", ".csv")
code_files = files(".safetensors", ".csv")
image_files = files(
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".npy", ".npz", ".safetensors")
)


def images(incomplete: str) -> list[str]:
    """Return the known data sets that begin so, and folders and files of arrays."""
    return one_of(list(CATALOG))(incomplete) + files(".npy", ".npz", ".safetensors")(incomplete)


def either(names: Callable[[], Sequence[str]], *suffixes: str) -> Complete:
    """Return a function that offers names, which are asked for at each Tab, and folders and files that end so."""

    def complete(incomplete: str) -> list[str]:
        return one_of(names())(incomplete) + files(*suffixes)(incomplete)

    return complete


def shell_words(param: Any) -> None:
    """Make one of Typer's parameters offer candidates that are one word to bash, which inserts them as they are."""
    complete = param.shell_complete

    def quoted(ctx: Any, incomplete: str) -> Any:
        items = complete(ctx, incomplete)
        if os.environ.get("_AEKIT_COMPLETE") == "complete_bash" and not _in_quotes():
            for item in items:
                item.value = re.sub(r"([^\w@%+=:,./~-])", r"\\\1", item.value)
        return items

    param.shell_complete = quoted


def _in_quotes() -> bool:
    """Return whether the word at the cursor begins with a quote; bash's script sends one word per line."""
    words = os.environ.get("COMP_WORDS", "").split("\n")
    place = int(os.environ.get("COMP_CWORD", "0"))
    return place < len(words) and words[place].startswith(('"', "'"))


def _entries(incomplete: str, suffixes: tuple[str, ...], depth: int) -> list[str]:
    head, tail = os.path.split(incomplete)
    prefix = incomplete[: len(incomplete) - len(tail)]
    try:
        with os.scandir(Path(head).expanduser()) as listing:
            found = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        return []
    offered = []
    for entry in found:
        if not entry.name.startswith(tail) or (entry.name.startswith(".") and not tail.startswith(".")):
            continue
        if entry.is_dir():
            offered.append(f"{prefix}{entry.name}/")
        elif entry.name.endswith(suffixes) and not entry.name.endswith(RESUME_SUFFIX):
            offered.append(prefix + entry.name)
    if len(offered) == 1 and offered[0].endswith("/") and depth:
        return _entries(offered[0], suffixes, depth - 1)
    return offered
