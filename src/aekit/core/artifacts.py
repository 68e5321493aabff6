"""Write result files, completely or not at all; failures are errors of one line."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from aekit.core.durable import atomic_write, make_folder
from aekit.core.progress import Progress
from aekit.errors import AekitError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    from matplotlib.figure import Figure

_ROWS = 10_000  # of a table that are text at a time


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    """Return ``path`` after ``write`` has filled it: readers see either the old file or the complete new one.

    Raises:
        AekitError: The folder cannot be created or written, or the disk is full. Nothing is left behind then.
    """
    with _readable_errors(path):
        _check_not_a_folder(path)
        with atomic_write(path) as file:
            write(file)
    return path


def check_writable(path: Path) -> None:
    """Create the folder of ``path`` and try to write there, so that a long computation does not fail at its end.

    Raises:
        AekitError: The folder cannot be created or written, or the path cannot be printed on one line.
    """
    check_no_line_break(path)
    with _readable_errors(path):
        _check_not_a_folder(path)
        make_folder(path.parent)
        with tempfile.TemporaryFile(dir=path.parent):
            pass


@contextlib.contextmanager
def naming_leftovers(target: Path, ends: Sequence[str], progress: Progress) -> Iterator[None]:
    """Say which files next to a result are of an earlier one: of other data, they would be taken for new.

    They are kept, as a file of that name may also be someone's own.

    Args:
        target: The main file, which is written in the block together with its companions.
        ends: What stands behind its stem in the names of all that can be with it.
        progress: Told of the files that were there before and were not written.
    """
    paths = [target.with_name(f"{target.stem}{end}") for end in ends]
    before = {path: path.stat().st_ino for path in paths if path.exists()}
    yield
    # A file that is written is another one from then on.
    if left := [path.name for path, number in before.items() if path.exists() and path.stat().st_ino == number]:
        progress.notice(f"{target}: not of this result, but there before: {', '.join(left)}")


def check_no_line_break(path: Path) -> None:
    """Check that a path is one line: paths are printed one per line, and the next command would read two.

    Raises:
        AekitError: It contains a line break.
    """
    if {"\n", "\r"} & set(str(path)):
        raise AekitError(f"{path}: has a line break in its name; paths are printed one per line, so choose another")


def _check_not_a_folder(path: Path) -> None:
    if path.is_dir():
        raise AekitError(f"{path}: is a folder; give the name of a file")


def write_png(path: Path, figure: Figure, parameters: dict[str, Any]) -> Path:
    """Return ``path`` with the figure as a PNG, and the parameters that produced it in a text chunk ``aekit``."""
    # Software None: matplotlib would otherwise write its version, and the bytes would change with it.
    metadata = {"Software": None, "aekit": json.dumps(parameters, sort_keys=True)}
    return write_atomically(path, lambda file: figure.savefig(file, format="png", dpi="figure", metadata=metadata))


def write_csv(path: Path, table: pd.DataFrame) -> Path:
    """Return ``path`` with the table as CSV: header line, no index column, floats to nine significant digits."""

    def write(file: BinaryIO) -> None:
        # Directly to the file: a string of the whole table would take twice a hundred bytes per row.
        table.to_csv(file, mode="wb", index=False, float_format="%.9g", lineterminator="\n", encoding="utf-8")

    return write_atomically(path, write)


def write_columns(path: Path, columns: Mapping[str, Sequence[Any] | npt.NDArray[Any]]) -> Path:
    """Return ``path`` with a table as CSV, in the bytes that :func:`write_csv` writes, but without loading pandas.

    Args:
        path: The file.
        columns: N values by the name of their column, each of one kind: texts, whole numbers, truth values or floats.
            None and NaN are empty cells.

    Raises:
        AekitError: The file cannot be written.
        ValueError: Columns have different lengths.
    """
    n_rows = {len(values) for values in columns.values()}
    if len(n_rows) > 1:
        raise ValueError(f"columns of {sorted(n_rows)} values")

    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        try:
            table = csv.writer(text, lineterminator="\n")
            table.writerow(columns)
            for start in range(0, max(n_rows, default=0), _ROWS):  # texts of all rows would take a hundred bytes each
                table.writerows(
                    zip(*(_cells(values[start : start + _ROWS]) for values in columns.values()), strict=True)
                )
        finally:
            text.detach()

    return write_atomically(path, write)


def _cells(values: Sequence[Any] | npt.NDArray[Any]) -> list[Any]:
    """Return values as CSV has them: floats to nine significant digits, what is missing as an empty text."""
    items = values.tolist() if hasattr(values, "tolist") else values
    return [
        ("" if item != item else f"{item:.9g}") if isinstance(item, float) else "" if item is None else item
        for item in items
    ]


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
        fix = "choose another path with --output"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            fix = f"make room and run it again (training with --resume), or {fix}"
        raise AekitError(f"{path}: cannot be written ({reason}); {fix}") from error
