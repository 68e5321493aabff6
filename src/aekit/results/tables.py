"""CSV tables of anybody's making, read as text: aekit's own, a spreadsheet's, a paper's."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from aekit.errors import AekitError, count

FILE = "file"  # the column that says which table a row is from


def read_tables(paths: Sequence[Path]) -> pd.DataFrame:
    """Return several tables as one, whose column ``file`` names the table that a row is from; missing cells are empty.

    Raises:
        AekitError: See :func:`read_table`.
    """
    tables = []
    for path in paths:
        table = read_table(path)
        if FILE not in table:
            table[FILE] = path.name.removesuffix(".csv")
        tables.append(table)
    return pd.concat(tables, ignore_index=True).fillna("")


def read_table(path: Path) -> pd.DataFrame:
    """Return a table with a text per cell, stripped of blanks; columns may be separated by commas, semicolons or tabs.

    Raises:
        AekitError: It is not there, is empty, is not text, has no rows, or has rows of different lengths.
    """
    rows = _rows(path)
    header = rows[0][1] if rows else []
    if not any(header) or len(rows) < 2:
        raise AekitError(f"{path}: holds no table; give a CSV file with a header and at least one row")
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise AekitError(f"{path}: has two columns named {twice[0]!r}; give each a name of its own")
    for line, row in rows[1:]:
        if len(row) != len(header):
            point = ", and write decimals with a point, as 0.1" if len(row) > len(header) else ""
            raise AekitError(
                f"{path}: line {line} has {count(len(row), 'field')}, the header has {len(header)}; fix its commas "
                f"and quotes{point}"
            )
    table = pd.DataFrame([row for _, row in rows[1:]], columns=header, dtype=object)
    return table.loc[:, [bool(name) for name in header]]


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows that are not empty, each with its line."""
    text = _read_text(path)
    lines = text.lstrip().splitlines()
    separator = max(",;\t", key=lines[0].count)  # a spreadsheet writes semicolons where a comma is the decimal point
    if "\0" in text or lines[0].lstrip().startswith(("{", "[", "<")):
        raise AekitError(f"{path}: is not a CSV file; give a table with a header and one row per line")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        rows = [(reader.line_num, [field.strip() for field in row]) for row in reader]
    except csv.Error as error:
        raise AekitError(f"{path}: line {reader.line_num} is not CSV ({error}); fix its quotes") from error
    return [(line, row) for line, row in rows if any(row)]


def _read_text(path: Path) -> str:
    if path.suffix == ".safetensors":
        raise AekitError(f"{path}: is a checkpoint, not a table; {path.with_suffix('.csv').name} is its history")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AekitError(f"{path}: is not a CSV file, or not in UTF-8; save it as CSV in UTF-8") from error
    except OSError as error:
        reason = "is a folder" if path.is_dir() else f"cannot be read ({error.strerror})"
        raise AekitError(f"{path}: {reason}; give the path of a CSV file") from error
    if not text.strip():
        raise AekitError(f"{path}: is empty; give a CSV file with a header and at least one row")
    return text
