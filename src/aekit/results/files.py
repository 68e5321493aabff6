"""What ``aekit report`` finds in folders of results: checkpoints, figures, tables and values."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from aekit.core.checkpoint import RESUME_SUFFIX, Header, NotAModelError, read_header
from aekit.errors import AekitError
from aekit.plotting.png import read_parameters

_SINGLE = re.compile(r"sample-\d{4,}\.png")  # of `sample --each`: hundreds of them, a few pixels wide
MAX_COLUMNS = 60  # of a table; codes of an image have hundreds
MAX_JSON_BYTES = 5_000_000
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)", re.ASCII)  # in a name: z10, beta0.25
_FLOAT = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=e))(e[-+]?\d+)?|[-+]?inf", re.IGNORECASE)


@dataclass(frozen=True)
class PngFile:
    """A figure.

    Attributes:
        png: The file; None if it is left out for its size.
        parameters: What made it, if the file records it.
    """

    png: bytes | None
    parameters: dict[str, Any]


@dataclass(frozen=True)
class TableFile:
    """The beginning of a table.

    Attributes:
        columns: Headings, at most ``MAX_COLUMNS``.
        rows: A cell per column: a float, a text, or None if it is empty.
        n_rows: Rows of the whole file.
        n_columns: Columns of the whole file.
    """

    columns: list[str]
    rows: list[list[str | float | None]]
    n_rows: int
    n_columns: int


@dataclass
class Results:
    """What was found, by path relative to the folder that was searched, with slashes, in the order of names.

    Attributes:
        runs: Headers of the checkpoints of finished runs.
        unfinished: Headers of the states of unfinished runs.
        figures: PNGs.
        tables: Tables, .csv and .tsv.
        values: What .json files hold.
        pages: HTML pages.
        others: Number of other files by suffix.
        unreadable: Why a file could not be read.
    """

    runs: dict[str, Header] = field(default_factory=dict)
    unfinished: dict[str, Header] = field(default_factory=dict)
    figures: dict[str, PngFile] = field(default_factory=dict)
    tables: dict[str, TableFile] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    pages: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show, and nothing damaged to name."""
        return not any((self.runs, self.unfinished, self.figures, self.tables, self.values, self.unreadable))

    @property
    def left_out(self) -> list[str]:
        """Return the figures that are left out because of their size."""
        return [name for name, figure in self.figures.items() if figure.png is None]


def read_results(folders: Sequence[Path], *, output: Path, max_rows: int, max_bytes: int) -> Results:
    """Return the contents of folders and of the folders inside, without hidden files and folders.

    Args:
        folders: Where to look; a file that is in two of them counts once.
        output: The report, which is not part of itself.
        max_rows: Rows to read per table.
        max_bytes: Bytes of all figures together; only the names of further figures are kept.

    Raises:
        AekitError: One of them is not a folder.
    """
    results = Results()
    n_bytes = 0
    for name, path in _named(folders, results.unreadable):
        if path.resolve() == output.resolve():
            continue
        try:
            if not path.is_file():  # a broken link; or a pipe, which would never end
                results.unreadable[name] = "is not a file that can be read"
            elif _SINGLE.fullmatch(path.name):
                results.others["single samples (.png)"] += 1
            elif path.suffix.lower() == ".png":
                results.figures[name] = _read_figure(path, max_bytes - n_bytes)
                n_bytes += len(results.figures[name].png or b"")
            else:
                _read_other(name, path, results, max_rows)
        except (AekitError, OSError, ValueError, RecursionError, csv.Error) as error:
            results.unreadable[name] = _reason(error, path)
    return results


def _named(folders: Sequence[Path], unreadable: dict[str, str]) -> list[tuple[str, Path]]:
    """Return each file with its path relative to what the folders share, digits in names ordered as numbers.

    Folders that cannot be listed are added to ``unreadable``.
    """
    for folder in folders:
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist"
            raise AekitError(f"{folder}: {what}; give a folder of results")
    base = Path(os.path.commonpath([folder.resolve() for folder in folders]))
    found: dict[str, Path] = {}
    for folder in folders:

        def shown(path: Path, folder: Path = folder) -> str:
            relative = (folder.resolve() / path.relative_to(folder)).relative_to(base)
            # A name that is not valid UTF-8 could not be written into the page.
            return os.fsencode(relative.as_posix()).decode(errors="replace")

        def note(error: OSError, shown: Callable[[Path], str] = shown) -> None:
            unreadable[shown(Path(error.filename))] = f"cannot be listed ({error.strerror})"

        found |= {shown(path): path for path in _walk(folder, note)}
    return sorted(found.items(), key=lambda item: name_key(item[0]))


def _walk(folder: Path, on_error: Callable[[OSError], None]) -> Iterator[Path]:
    for inner, names, files in os.walk(folder, onerror=on_error):
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield from (Path(inner) / name for name in sorted(files) if not name.startswith("."))


def name_key(name: str) -> tuple[list[tuple[bool, float, str]], ...]:
    """Return a key that sorts paths folder by folder, and numbers in them: ``z2`` before ``z10``, 0.25 before 0.5."""
    return tuple(
        [(place % 2 == 1, float(part) if place % 2 else 0.0, part) for place, part in enumerate(_NUMBER.split(folder))]
        for folder in name.split("/")
    )


def _read_figure(path: Path, bytes_left: int) -> PngFile:
    if path.stat().st_size > bytes_left:
        return PngFile(None, {})
    png = path.read_bytes()
    return PngFile(png, read_parameters(png))


def _read_other(name: str, path: Path, results: Results, max_rows: int) -> None:
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        try:
            header = read_header(path)
        except NotAModelError:
            results.others[suffix] += 1
            return
        is_unfinished = header.state is not None or path.name.endswith(RESUME_SUFFIX)
        (results.unfinished if is_unfinished else results.runs)[name] = header
    elif suffix in _DELIMITERS:
        results.tables[name] = _read_table(path, _DELIMITERS[suffix], max_rows)
    elif suffix == ".json":
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"is larger than {MAX_JSON_BYTES / 1e6:g} MB")
        results.values[name] = json.loads(path.read_text(encoding="utf-8"))
    elif suffix in (".html", ".htm"):
        results.pages.append(name)
    else:
        results.others[".nii.gz" if name.lower().endswith(".nii.gz") else suffix or "without a suffix"] += 1


def _read_table(path: Path, delimiter: str, max_rows: int) -> TableFile:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        filled = (row for row in csv.reader(file, delimiter=delimiter) if row)
        columns = next(filled, None)
        if columns is None:
            raise ValueError("is empty")
        rows = list(islice(filled, max_rows))
        n_rows = len(rows) + sum(1 for _ in filled)
    if any("\0" in cell for row in (columns, *rows) for cell in row):
        raise ValueError("is not text")
    n_columns = max(len(row) for row in (columns, *rows))
    width = min(n_columns, MAX_COLUMNS)
    cells = [[_cell(text) for text in (row + [""] * width)[:width]] for row in rows]
    return TableFile((columns + [""] * width)[:width], cells, n_rows, n_columns)


def _cell(text: str) -> str | float | None:
    """Return a cell: a number with a decimal point as a float; whole numbers, which may be names, as written."""
    if not text.strip() or text.lower() == "nan":
        return None
    return float(text) if _FLOAT.fullmatch(text) else text


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return "is not JSON, or is damaged"
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror})"
    return str(error).removeprefix(f"{path}: ").partition(";")[0] or type(error).__name__


def group_files(names: Sequence[str], checkpoints: Sequence[str]) -> dict[str, list[str]]:
    """Return the files that belong together, by the stem that they share.

    A file whose name begins like a checkpoint belongs to it (``vae.csv`` and ``vae.tsne.png`` to ``vae.safetensors``),
    and one that begins like another file to that (``pca-2d.png`` to ``pca.png``), always within a folder. Runs
    come first, then the files that belong to none, each in the order of names.
    """
    runs = {_stem(name) for name in checkpoints}
    heads = {name: next((one for one in reversed(_beginnings(name, ".")) if one in runs), "") for name in names}
    free = {_stem(name) for name, head in heads.items() if not head}
    for name, head in heads.items():
        if not head:
            heads[name] = next(one for one in (*_beginnings(_stem(name), "-."), _stem(name)) if one in free)
    order = sorted({*heads.values(), *runs}, key=lambda head: (head not in runs, name_key(head)))
    groups: dict[str, list[str]] = {head: [] for head in order}
    for name in sorted(names, key=lambda name: (_stem(name) != heads[name], name_key(name))):
        groups[heads[name]].append(name)
    return groups


def _beginnings(name: str, marks: str) -> list[str]:
    """Return the beginnings of a file's name up to each mark, with its folder, the shortest first."""
    start = name.rfind("/") + 1
    return [name[:at] for at in range(start + 1, len(name)) if name[at] in marks]


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def is_number(value: object) -> bool:
    """Return whether a value is a finite number."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)
