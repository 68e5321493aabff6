"""The text of a table -> its header and rows: encoding, separator, quotes, blank lines, rows of the wrong length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aekit.core.text_rows import N_EXAMPLES, DroppedRows, Repair, each_row, open_text
from aekit.errors import AekitError, shown

N_NAMED = 20  # items named in one line, of many


@dataclass(frozen=True)
class TextTable:
    """A table as text.

    Attributes:
        header: Names of the C columns, as they are written.
        columns: One list per column with one text per row, stripped.
        lines: Line of the file on which each row ends.
        ragged: (line, texts) of each row that does not have C fields.
        separator: Tab, comma, semicolon or pipe.
        repairs: What was corrected.
    """

    header: tuple[str, ...]
    columns: list[list[str]]
    lines: list[int]
    ragged: list[tuple[int, list[str]]]
    separator: str
    repairs: tuple[Repair, ...]


def named(items: Iterable[str], separator: str = ", ") -> str:
    """Return all items as one text, or the first 20 ``and 980 more``."""
    every = list(items)
    more = f" and {len(every) - N_NAMED:,} more" if len(every) > N_NAMED else ""
    return separator.join(shown(item) for item in every[:N_NAMED]) + more


def read_text_table(
    path: Path, *, table: str = "a participants table", row: str = "participant", keep_repeats: bool = False
) -> TextTable:
    """Return the header and the rows of a delimited text file.

    Blank rows, comment rows (``#``), repeats of the header and repeats of a whole row are dropped, and reported.

    Args:
        path: The file; its separator is found from its first lines, whatever its suffix.
        table: What it should be, for errors.
        row: What a row is of, for errors.
        keep_repeats: Keep rows that repeat another.

    Raises:
        AekitError: It does not exist, is empty, is not text, has no rows, or has quotes that do not close.
    """
    text, separator, repairs = open_text(path, table, row)
    rows, lines, dropped = _rows(text, separator, path)
    if not rows:
        raise AekitError(f"{shown(path)}: has only blank or comment lines; give {table}")
    header, width = rows[0], len(rows[0])
    while width > 1 and not header[width - 1] and not any("".join(row[width - 1 :]) for row in rows):
        width -= 1
    if width < len(header):
        dropped.append(Repair("empty last columns dropped", len(header) - width, ()))
    kept, kept_lines, ragged, more = _fitted(rows[1:], lines[1:], header[:width], keep_repeats=keep_repeats)
    columns = [list(column) for column in zip(*kept, strict=True)] if kept else [[] for _ in range(width)]
    return TextTable(tuple(header[:width]), columns, kept_lines, ragged, separator, (*repairs, *dropped, *more))


def _rows(text: str, separator: str, path: Path) -> tuple[list[list[str]], list[int], list[Repair]]:
    """Return the rows that are not blank, stripped, their lines, and what was dropped."""
    dropped = DroppedRows()
    found = list(each_row(text, separator, path, dropped))
    return [row for _, row in found], [line for line, _ in found], dropped.as_repairs()


def _fitted(
    rows: list[list[str]], lines: Sequence[int], header: list[str], *, keep_repeats: bool
) -> tuple[list[list[str]], list[int], list[tuple[int, list[str]]], list[Repair]]:
    """Return the rows as long as the header with their lines, the other rows, and what was dropped or cut."""
    width = len(header)
    kept, kept_lines, ragged = [], [], []
    headers, repeats, longer = [], [], []
    seen: set[tuple[str, ...]] = set()
    for line, row in zip(lines, rows, strict=True):
        if len(row) > width and not any(row[width:]):
            del row[width:]
            longer.append(f"line {line}")
        key = tuple(row)
        if row == header:
            headers.append(f"line {line}")
        elif key in seen and not keep_repeats:
            repeats.append(f"line {line}")
        elif len(row) != width:
            ragged.append((line, row))
        else:
            seen.add(key)
            kept.append(row)
            kept_lines.append(line)
    dropped = {
        "repeats of the header dropped": headers,
        "rows that repeat another in every column dropped": repeats,
        "empty fields beyond the last column dropped": longer,
    }
    repairs = [Repair(what, len(found), tuple(found[:N_EXAMPLES])) for what, found in dropped.items() if found]
    return kept, kept_lines, ragged, repairs
