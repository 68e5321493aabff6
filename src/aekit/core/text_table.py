"""The text of a table -> its header and rows: encoding, separator, quotes, blank lines, rows of the wrong length."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aekit.errors import AekitError, shown

SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "pipes"}
N_NAMED = 20  # items named in one line, of many
N_EXAMPLES = 5  # per repair

_NATURAL = {".tsv": "\t", ".tab": "\t", ".csv": ","}
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, as it begins with the same mark
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_OTHER_FORMATS = {
    b"\xd0\xcf\x11\xe0": "a spreadsheet or other office file; save it as CSV or TSV",
    b"PK\x03\x04": "a spreadsheet or an archive; save it as CSV or TSV",
    b"\x1f\x8b": "compressed; unpack it with gunzip",
}
_SAMPLE_LINES = 50  # that decide on the separator


@dataclass(frozen=True)
class Repair:
    """What was corrected while a table was read.

    Attributes:
        what: What was done, as in ``"89+ read as 89"``.
        n: Number of values, rows or columns.
        examples: Some of the rows, lines or names concerned.
    """

    what: str
    n: int
    examples: tuple[str, ...]


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
    text, repairs = _decoded(_read_bytes(path, table, row), path)
    separator = _separator(text, path.suffix.lower())
    if separator != _NATURAL.get(path.suffix.lower(), separator):
        repairs.append(Repair(f"fields separated by {SEPARATORS[separator]} in a {path.suffix} file", 1, ()))
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


def _read_bytes(path: Path, table: str, row: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = "is a folder" if path.is_dir() else f"cannot be read ({error.strerror})"
        raise AekitError(f"{shown(path)}: {reason}; give the path of {table} (TSV or CSV)") from error
    if not data.strip():
        raise AekitError(f"{shown(path)}: is empty; give a table with a header and one row per {row}")
    for magic, what in _OTHER_FORMATS.items():
        if data.startswith(magic):
            raise AekitError(f"{shown(path)}: is {what}")
    return data


def _decoded(data: bytes, path: Path) -> tuple[str, list[Repair]]:
    repairs = []
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
        if encoding == "utf-8-sig":
            repairs.append(Repair("UTF-8 byte-order mark dropped", 1, ()))
        elif encoding != "utf-8":
            repairs.append(Repair(f"read as {encoding.upper()}", 1, ()))
    except UnicodeDecodeError:
        text = _windows_text(data, path)
        n_other = sum(byte > 127 for byte in data)
        repairs.append(Repair("not UTF-8: non-ASCII characters read as Windows-1252", n_other, ()))
    n_strange = sum(text.count(chr(code)) for code in (*range(9), *range(14, 32)) if code != 26)
    if n_strange:
        what = "NUL bytes" if "\0" in text else "control characters"
        raise AekitError(f"{shown(path)}: is not a text table, it has {what} ({n_strange:,}); save it as TSV or CSV")
    return text.rstrip("\x1a"), repairs  # end-of-file mark of old DOS programs


def _windows_text(data: bytes, path: Path) -> str:
    """Return the text of a file that a spreadsheet on Windows wrote, of which Latin-1 is the part above 0x9f."""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError as error:
        code = f"0x{data[error.start]:02x}"
        raise AekitError(
            f"{shown(path)}: is neither UTF-8 nor Windows-1252 (it has the byte {code}); save it as UTF-8"
        ) from error


def _separator(text: str, suffix: str) -> str:
    lines = (line for line in io.StringIO(text, newline="") if line.strip() and not line.startswith("#"))
    sample = list(itertools.islice(lines, _SAMPLE_LINES))

    def score(separator: str) -> tuple[float, int, bool]:
        try:
            widths = [len(row) for row in csv.reader(sample, delimiter=separator)]
        except csv.Error:
            return (0.0, 0, False)
        if not widths or widths[0] < 2:
            return (0.0, 0, separator == _NATURAL.get(suffix, ","))
        agreed = sum(width == widths[0] for width in widths) / len(widths)
        return (agreed, widths[0], separator == _NATURAL.get(suffix))

    return max(SEPARATORS, key=score)


def _rows(text: str, separator: str, path: Path) -> tuple[list[list[str]], list[int], list[Repair]]:
    """Return the rows that are not blank, stripped, their lines, and what was dropped."""
    rows: list[list[str]] = []
    lines: list[int] = []
    n_blank, comments, end = 0, [], 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for fields in reader:
            row, end = [field.strip() for field in fields], reader.line_num
            if not any(row):
                n_blank += 1
            elif row[0].startswith("#"):
                comments.append(f"line {reader.line_num}")
            elif rows or row[0].lower() not in ("sep=", f"sep={separator}"):  # first line of some spreadsheets
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise AekitError(
            f"{shown(path)}: the row in line {end + 1} cannot be parsed ({error}); fix its quotes"
        ) from error
    repairs = [Repair("blank rows dropped", n_blank, ())] if n_blank else []
    if comments:
        repairs.append(Repair("comment rows (#) dropped", len(comments), tuple(comments[:N_EXAMPLES])))
    return rows, lines, repairs


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
