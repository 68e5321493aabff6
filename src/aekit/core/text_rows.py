"""The text of a table -> its rows, one by one: encoding, separator, quotes, blank lines, comments."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aekit.errors import AekitError, count, shown

SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "pipes"}
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

    @property
    def in_words(self) -> str:
        """Return what was corrected, with the count where it is more than once and the places where they are known."""
        details = ([f"{self.n:,}"] if self.n > 1 else []) + ([", ".join(self.examples)] if self.examples else [])
        return f"{self.what} ({': '.join(details)})" if details else self.what


@dataclass
class TextRows:
    """A table as text, row by row, for tables that do not fit into memory as texts.

    Attributes:
        header: Names of the C columns, as they are written.
        separator: Tab, comma, semicolon or pipe.
    """

    header: tuple[str, ...]
    separator: str
    _path: Path
    _rest: Iterator[tuple[int, list[str]]]
    _repairs: list[Repair]
    _dropped: DroppedRows
    _headers: list[str] = field(default_factory=list)
    _longer: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Yield line and C stripped fields of each row; blank ones, comments and repeats of the header are dropped.

        Raises:
            AekitError: A row has more or fewer fields, or quotes that do not close.
        """
        width, header = len(self.header), list(self.header)
        for line, row in self._rest:
            if len(row) > width and not any(row[width:]):
                del row[width:]
                self._longer.append(f"line {line}")
            if row == header:
                self._headers.append(f"line {line}")
            elif len(row) == width:
                yield line, row
            else:
                there = f"line {line} has {count(len(row), 'field')}, the header has {width}"
                advice = "correct it, or put quotes around values that hold the separator"
                raise AekitError(f"{shown(self._path)}: {there}; {advice}")

    def correct(self, what: str) -> None:
        """Add something that the caller corrected to what is said of the table."""
        self._repairs.append(Repair(what, 1, ()))

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """Return what was corrected in the rows that were read so far."""
        more = {
            "repeats of the header dropped": self._headers,
            "empty fields beyond the last column dropped": self._longer,
        }
        found = [Repair(what, len(lines), tuple(lines[:N_EXAMPLES])) for what, lines in more.items() if lines]
        return (*self._repairs, *self._dropped.as_repairs(), *found)


def stream_text_table(path: Path, *, table: str, row: str) -> TextRows:
    """Return the header of a delimited text file, and its rows one by one; empty last names of columns are left out.

    Args:
        path: The file; its separator is found from its first lines, whatever its suffix.
        table: What it should be, for errors.
        row: What a row is of, for errors.

    Raises:
        AekitError: It does not exist, is empty, or is not text.
    """
    text, separator, repairs = open_text(path, table, row)
    dropped = DroppedRows()
    rows = each_row(text, separator, path, dropped)
    header = next(rows, (0, []))[1]
    if not header:
        raise AekitError(f"{shown(path)}: has only blank or comment lines; give {table}")
    while len(header) > 1 and not header[-1]:
        del header[-1]
    return TextRows(tuple(header), separator, path, rows, repairs, dropped)


def open_text(path: Path, table: str, row: str) -> tuple[str, str, list[Repair]]:
    """Return the text of a table, its separator, and what was corrected; the arguments are those of the readers.

    Raises:
        AekitError: It does not exist, is empty, or is not text.
    """
    text, repairs = _decoded(_read_bytes(path, table, row), path)
    separator = _separator(text, path.suffix.lower())
    if separator != _NATURAL.get(path.suffix.lower(), separator):
        repairs.append(Repair(f"fields separated by {SEPARATORS[separator]} in a {path.suffix} file", 1, ()))
    return text, separator, repairs


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
    lines = (line for line in _lines(text) if line.strip() and not line.startswith("#"))
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


@dataclass
class DroppedRows:
    """Rows that say nothing.

    Attributes:
        n_blank: Number of those without any text.
        comments: Lines of those that begin with ``#``.
    """

    n_blank: int = 0
    comments: list[str] = field(default_factory=list)

    def as_repairs(self) -> list[Repair]:
        """Return them as corrections, for notices."""
        found = [Repair("blank rows dropped", self.n_blank, ())] if self.n_blank else []
        if self.comments:
            found.append(Repair("comment rows (#) dropped", len(self.comments), tuple(self.comments[:N_EXAMPLES])))
        return found


def each_row(text: str, separator: str, path: Path, dropped: DroppedRows) -> Iterator[tuple[int, list[str]]]:
    """Yield the last line and the stripped fields of each row that is neither blank nor a comment.

    Args:
        text: A table.
        separator: Of its fields.
        path: Where it is from, for errors.
        dropped: Receives the rows that are left out.

    Raises:
        AekitError: A row has quotes that do not close.
    """
    reader = csv.reader(_lines(text), delimiter=separator, strict=True)
    is_first, end = True, 0
    try:
        for fields in reader:
            row, end = [field.strip() for field in fields], reader.line_num
            if not any(row):
                dropped.n_blank += 1
            elif row[0].startswith("#"):
                dropped.comments.append(f"line {end}")
            elif not is_first or row[0].lower() not in ("sep=", f"sep={separator}"):  # first line of some spreadsheets
                is_first = False
                yield end, row
    except csv.Error as error:
        raise AekitError(
            f"{shown(path)}: the row in line {end + 1} cannot be parsed ({error}); fix its quotes"
        ) from error


def _lines(text: str) -> Iterator[str]:
    """Yield the lines of a text with their ends; StringIO would take four bytes per letter."""
    return (match[0] for match in re.finditer(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text))
