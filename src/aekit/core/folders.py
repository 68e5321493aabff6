"""Folders that appear with all that they hold: one half filled would be taken for whole."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from aekit.core.artifacts import check_writable
from aekit.core.durable import sync_folder
from aekit.errors import AekitError


def check_new_folder(folder: Path, option: str) -> None:
    """Raise an AekitError unless a folder is new or empty, and can be written; ``option`` names it in errors."""
    if folder.is_file():
        raise AekitError(f"{option} {folder}: is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise AekitError(f"{option} {folder}: is not empty; give a new folder, or empty it")
    check_writable((folder if folder.is_dir() else folder.parent) / "x")


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder to fill, which becomes ``folder``, a new or empty one, when the block ends.

    If the block fails, it is removed. What a killed process left of one is removed as well.
    """
    folder = folder.absolute()
    unfinished = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)  # of one that was killed
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    if folder == Path.cwd():  # it stays the same folder, as the shell stands in it
        for path in list(unfinished.iterdir()):
            path.replace(folder / path.name)
        unfinished.rmdir()
        sync_folder(folder)
    else:
        unfinished.replace(folder)  # which may be there, and is empty then
    sync_folder(folder.parent)
