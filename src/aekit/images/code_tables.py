"""Tables of codes, as ``encode --format csv`` and ``sample --codes`` write them, or as someone has edited them."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from aekit.core.progress import Progress
from aekit.core.text_rows import TextRows, stream_text_table
from aekit.core.text_table import named
from aekit.errors import AekitError, shown

SUFFIXES = (".csv", ".tsv", ".txt", ".tab")
LARGEST = (2 - 2**-24) * 2.0**127  # what is nearer to zero is rounded to a finite 32-bit float
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-", ".", "?"})
_CODE = re.compile(r"z(0|[1-9][0-9]{0,6})")
_WITH_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?")
_N_SHARED = 10_000  # different texts of a column that are kept once: names of classes and files repeat


class CodeTable(NamedTuple):
    """A table of N codes.

    Attributes:
        mean: The codes, float32 (N, L), finite.
        columns: The other columns: N texts by the name of each.
        lines: Line of each row, N of them.
    """

    mean: npt.NDArray[np.float32]
    columns: dict[str, list[str]]
    lines: Sequence[int]


def read_code_table(path: Path, latent: int | None, model: str | None, progress: Progress) -> CodeTable:
    """Return the codes in a table, in its order.

    Args:
        path: A table with the columns z0, z1, ..., in any order, and any others; separator and encoding are found.
        latent: Dimensions that there must be; None is as many as there are.
        model: What takes them, for errors; None if that is not known.
        progress: Receives notices of what was corrected.

    Raises:
        AekitError: The file cannot be read, has no rows, or other dimensions; a value is missing, is not a number, or
            is not finite in 32 bits.
    """
    rows = stream_text_table(path, table="a table of codes", row="code")
    found = [name for name in rows.header if _CODE.fullmatch(name)]
    codes = _read_rows(path, rows, len(found) if latent is None else latent, model)
    if rows.repairs:
        progress.notice(f"{shown(path)}: {'; '.join(repair.in_words for repair in rows.repairs)}")
    if found != [f"z{number}" for number in range(len(found))]:
        progress.notice(f"{shown(path)}: its columns are in the order {named(found)}; they are read by their names")
    return codes


@dataclass
class _Numbers:
    """Reads the numbers of one row after another.

    Attributes:
        path: Where they are from.
        names: Their columns.
        separator: Between the fields.
        n_commas: Numbers with a decimal comma so far.
        has_points: Whether there was one with a decimal point.
    """

    path: Path
    names: Sequence[str]
    separator: str
    n_commas: int = 0
    has_points: bool = False

    def read(self, texts: Sequence[str], line: int) -> list[float]:
        together = "".join(texts)
        self.has_points = self.has_points or "." in together
        try:
            if "_" in together or not together.isascii():
                raise ValueError
            values = list(map(float, texts))
        except ValueError:
            values = [self._one(text, name, line) for text, name in zip(texts, self.names, strict=True)]
        if not sum(map(abs, values)) < LARGEST:  # which NaN is not
            for value, name, text in zip(values, self.names, texts, strict=True):
                if not abs(value) < LARGEST:
                    self._refuse(text, name, line)
        return values

    def _one(self, text: str, name: str, line: int) -> float:
        if self.separator != "," and _WITH_COMMA.fullmatch(text):
            self.n_commas += 1
            return float(text.replace(",", "."))
        value = _plain_number(text)
        return self._refuse(text, name, line) if value is None else value

    def _refuse(self, text: str, name: str, line: int) -> NoReturn:
        where, quoted = f"{shown(self.path)}: line {line}", shown(text)
        if text.lower() in _MISSING:
            what = f"has no value in {name}" + (f" ({quoted})" if text else "")
            raise AekitError(f"{where} {what}; fill it in, or remove the row")
        if _plain_number(text) is None:
            raise AekitError(f"{where} has '{quoted}' in {name}, which is not a number; correct it")
        raise AekitError(
            f"{where} has {quoted} in {name}, which is not a finite 32-bit number; correct it, or remove the row"
        )

    def finish(self) -> str:
        """Return what is to be said of the numbers; nothing for plain ones.

        Raises:
            AekitError: Some have a decimal comma, others a decimal point, so that one of them may mean thousands.
        """
        if self.n_commas and self.has_points:
            raise AekitError(
                f"{shown(self.path)}: has numbers with a decimal comma and others with a decimal point; use one of them"
            )
        return f"decimal commas read as points ({self.n_commas:,})" if self.n_commas else ""


def _plain_number(text: str) -> float | None:
    """Return the value of a number, None if it is none: float() also takes 1_000, and the digits of every script."""
    try:
        return float(text) if "_" not in text and text.isascii() else None
    except ValueError:
        return None


def _read_rows(path: Path, rows: TextRows, latent: int, model: str | None) -> CodeTable:
    header = _named_columns(path, rows)
    places = [header.index(name) for name in _checked_names(path, header, latent, model)]
    others = [(place, header[place]) for place in range(len(header)) if place not in set(places)]
    numbers = _Numbers(path, [header[place] for place in places], rows.separator)
    z, lines = array("d"), array("q")
    columns: dict[str, list[str]] = {name: [] for _, name in others}
    shared: dict[str, dict[str, str]] = {name: {} for _, name in others}
    for line, row in rows:
        z.extend(numbers.read([row[place] for place in places], line))
        lines.append(line)
        for place, name in others:
            once, text = shared[name], row[place]
            columns[name].append(once.setdefault(text, text) if len(once) < _N_SHARED else once.get(text, text))
    if not lines:
        raise AekitError(f"{shown(path)}: has a header and no rows; give a table with a row per code")
    if said := numbers.finish():
        rows.correct(said)
    values = np.frombuffer(z, np.float64).reshape(len(lines), latent)
    return CodeTable(values.astype(np.float32), columns, lines)


def _named_columns(path: Path, rows: TextRows) -> list[str]:
    """Return a name for each column: pandas leaves that of its index empty."""
    header = list(rows.header)
    for place, name in enumerate(header):
        if not name:
            header[place] = f"column {place + 1}"
            rows.correct(f"the column without a name is called column {place + 1}")
    if repeated := [name for name, n in Counter(header).items() if n > 1]:
        raise AekitError(
            f"{shown(path)}: has several columns '{shown(repeated[0])}'; rename or remove all but one of them"
        )
    return header


def _checked_names(path: Path, header: Sequence[str], latent: int, model: str | None) -> list[str]:
    """Return the columns of codes in their order, which all have to be there, and no others."""
    wanted = [f"z{number}" for number in range(latent)]
    found = {name for name in header if _CODE.fullmatch(name)}
    if not found:
        raise AekitError(
            f"{shown(path)}: has no columns z0, z1 ... (it has {named(header)}); its first line names the columns"
        )
    if missing := [name for name in wanted if name not in found]:
        raise AekitError(f"{shown(path)}: has no {_columns(missing)}; {_wanted(latent, model)}")
    if len(found) > latent:
        more = sorted(found - set(wanted), key=lambda name: int(name[1:]))
        raise AekitError(f"{shown(path)}: has {_columns(more)}, and {_wanted(latent, model)}; use its codes")
    return wanted


def _columns(names: Sequence[str]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {named(names)}"


def _wanted(latent: int, model: str | None) -> str:
    names = "z0" if latent == 1 else f"z0 to z{latent - 1}"
    return f"codes of {latent} columns have {names}" if model is None else f"{shown(model)} takes {names}"
