"""Write result files, whole or not at all; what prevents that is one line."""

from __future__ import annotations

import contextlib
import errno
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from aekit.core.durable import atomic_write, make_folder
from aekit.errors import AekitError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    """Return ``path`` after ``write`` filled it: whoever looks sees the old file or the new one whole.

    Raises:
        AekitError: The folder cannot be made or written, or the disk is full. Nothing is left behind then.
    """
    with _readable_errors(path):
        _refuse_folder(path)
        with atomic_write(path) as file:
            write(file)
    return path


def check_writable(path: Path) -> None:
    """Make the folder of ``path`` and try to write there, so that a long computation does not fail at its end.

    Raises:
        AekitError: The folder cannot be made or written, or the path could not be printed as one line.
    """
    check_no_line_break(path)
    with _readable_errors(path):
        _refuse_folder(path)
        make_folder(path.parent)
        with tempfile.TemporaryFile(dir=path.parent):
            pass


def check_no_line_break(path: Path) -> None:
    """Refuse a path that would be two paths to the next command, as paths are printed one a line.

    Raises:
        AekitError: There is a line break in it.
    """
    if {"\n", "\r"} & set(str(path)):
        raise AekitError(f"{path}: has a line break in its name, and paths are printed one a line; choose another name")


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise AekitError(f"{path}: is a folder; give the name of a file")


def write_png(path: Path, figure: Figure, parameters: dict[str, Any]) -> Path:
    """Return ``path`` with the figure as a PNG that carries the parameters that made it in a text chunk ``aekit``."""
    # Software None: matplotlib would write its version into the file, and bytes would change with it.
    metadata = {"Software": None, "aekit": json.dumps(parameters, sort_keys=True)}
    return write_atomically(path, lambda file: figure.savefig(file, format="png", dpi="figure", metadata=metadata))


def write_csv(path: Path, table: pd.DataFrame) -> Path:
    """Return ``path`` with the table as CSV: header line, no index column, floats to nine significant digits."""

    def write(file: BinaryIO) -> None:
        # Through the file, not as one text, which would be a hundred bytes a row twice.
        table.to_csv(file, mode="wb", index=False, float_format="%.9g", lineterminator="\n", encoding="utf-8")

    return write_atomically(path, write)


def write_html(path: Path, html: str) -> Path:
    """Return ``path`` with one page of HTML."""
    return write_atomically(path, lambda file: file.write(html.encode()))


def write_json(path: Path, values: dict[str, Any]) -> Path:
    """Return ``path`` with the values as indented JSON."""
    text = json.dumps(values, indent=2) + "\n"
    return write_atomically(path, lambda file: file.write(text.encode()))


@contextlib.contextmanager
def _readable_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        mend = "choose another place with --output"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            mend = f"make room and run it again (a training with --resume), or {mend}"
        raise AekitError(f"{path}: cannot be written ({reason}); {mend}") from error
