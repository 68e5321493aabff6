"""Where result files go, which files they must not replace, and what a command reports of them.

Standard library only, as commands that load nothing heavy have results, too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aekit.errors import AekitError, UsageError


@dataclass(frozen=True)
class Result:
    """A main artifact.

    Attributes:
        path: Its file.
        values: What ``--json`` reports of it.
    """

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)


def refuse_stdout(output: Path | str | None) -> None:
    """Raise a UsageError if a result is to go to stdout, ``-``, which would be a folder of that name.

    Args:
        output: What ``--output`` says.
    """
    if output is not None and str(output) == "-":
        raise UsageError("--output -: stdout carries paths, not results; give a file or a folder")


def choose_target(inputs: Sequence[Path], output: Path | str | None, *, name: str, suffix: str = ".png") -> Path:
    """Return the one file to write for all inputs together.

    Args:
        inputs: Checkpoints.
        output: What ``--output`` says: a file, or a folder, which has no suffix or exists already.
        name: What is made, for the file name: ``x.<name><suffix>`` next to one checkpoint, ``<name><suffix>`` in the
            folder that several share.
        suffix: Suffix of the file.

    Raises:
        AekitError: A suffix of another kind, or a result that would replace a checkpoint, its history or its curves.
    """
    refuse_stdout(output)
    output = None if output is None else Path(output)
    is_file = output is not None and output.suffix and not output.is_dir()
    if len(inputs) == 1 or is_file:
        target = _targets(inputs[:1], output, name=name, suffixes=(suffix,))[0]
    else:
        target = (output or _shared_folder(inputs)) / f"{name}{suffix}"
    refuse_own_files(inputs, [target])
    return target


def choose_targets(
    inputs: Sequence[Path], output: Path | str | None, *, name: str, suffixes: tuple[str, ...]
) -> list[Path]:
    """Return the main file to write for each input: ``x.<name><suffix>`` next to ``x.safetensors``, or ``output``.

    Args:
        inputs: Checkpoints.
        output: What ``--output`` says: a file for one checkpoint, or a folder, which has no suffix or is there already.
        name: What is made, for the file name.
        suffixes: Suffixes that the main file may have; the first is the default.

    Raises:
        AekitError: One file for several checkpoints, a suffix of another kind, two results that would share a file, or
            a result that would replace a checkpoint, its history or its curves.
    """
    refuse_stdout(output)
    targets = _targets(inputs, output, name=name, suffixes=suffixes)
    refuse_own_files(inputs, targets)
    return targets


def _shared_folder(paths: Sequence[Path]) -> Path:
    folders = [path.parent for path in paths]
    if len({folder.is_absolute() for folder in folders}) > 1:
        folders = [folder.absolute() for folder in folders]
    return Path(os.path.commonpath(folders))


def refuse_own_files(
    inputs: Sequence[Path], targets: Sequence[Path], *, option: str = "--output", what: str = "checkpoint"
) -> None:
    """Raise an AekitError if a file to write has the stem of a checkpoint, or of another file that has companions."""
    own = {path.resolve().with_suffix("") for path in inputs}
    for target in targets:
        if target.resolve().with_suffix("") in own:
            raise AekitError(
                f"{option} {target}: shares its stem with the {what}, whose own files it would replace; "
                "choose another name"
            )


def _targets(inputs: Sequence[Path], output: Path | str | None, *, name: str, suffixes: tuple[str, ...]) -> list[Path]:
    output = None if output is None else Path(output)
    if output is not None and output.suffix and not output.is_dir():
        if len(inputs) > 1:
            raise AekitError(
                f"--output {output}: is one file for {len(inputs)} checkpoints; give a folder (a path without a suffix)"
            )
        if output.suffix not in suffixes:
            raise AekitError(f"--output {output}: cannot be written as {output.suffix}; use {' or '.join(suffixes)}")
        return [output]
    targets = [(output or path.parent) / f"{path.stem}.{name}{suffixes[0]}" for path in inputs]
    if len(set(targets)) < len(set(inputs)):
        raise AekitError(
            f"--output {output}: checkpoints of the same name would share a file; run the command for each separately"
        )
    return targets


def checkpoint_path(output: Path | str, name: str) -> Path:
    """Return the checkpoint to write: ``output`` itself, or ``name`` in it if it is a folder or has no suffix.

    Raises:
        AekitError: It ends like another kind of file.
    """
    refuse_stdout(output)
    output = Path(output)
    if output.is_dir() or not output.suffix:
        return output / name
    if output.suffix != ".safetensors":
        raise AekitError(f"--output {output}: a checkpoint cannot be a {output.suffix} file; end it in .safetensors")
    return output
