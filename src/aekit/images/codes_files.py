"""Files of codes, as ``encode`` and ``sample --codes`` write them, or as someone has edited them."""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from aekit.core.progress import SILENT, Progress
from aekit.core.text_rows import TextRows, stream_text_table
from aekit.core.text_table import named
from aekit.errors import AekitError, count, shown

SUFFIXES = (".csv", ".safetensors")
_LIMIT = (2 - 2**-24) * 2.0**127  # what is nearer to zero is rounded to a finite 32-bit float
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-", ".", "?"})
_CODE = re.compile(r"z(0|[1-9][0-9]{0,6})")
_WITH_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?")
_N_SHARED = 10_000  # different texts of a column that are kept once: names of classes and files repeat


@dataclass(frozen=True)
class CodesFile:
    """Codes that were read from a file.

    Attributes:
        path: The file.
        z: The codes, float32 (N, L), N >= 1, finite.
        columns: What else the file says of each: N values by the name of their column, as text or whole numbers.
        lines: Line of each row of a .csv file, N of them; None for a .safetensors file.
        origin: What made a .safetensors file, as it says itself; empty if it does not, as a table never does.
    """

    path: Path
    z: npt.NDArray[np.float32]
    columns: dict[str, Sequence[Any]]
    lines: Sequence[int] | None = None
    origin: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.z)

    def place(self, row: int) -> str:
        """Return where a row is, for messages: ``codes.csv: line 7``, or ``codes.safetensors: row 5``, from 0."""
        return f"{shown(self.path)}: " + (f"row {row}" if self.lines is None else f"line {self.lines[row]}")


def read_codes(path: Path, latent: int, model: str, progress: Progress = SILENT) -> CodesFile:
    """Return the codes in a file, in its order.

    Args:
        path: A table with the columns z0, z1, ..., in any order, and any others; separator and encoding are found. Or
            a .safetensors file with a tensor ``mean``, (N, L).
        latent: Dimensions that there must be.
        model: What takes them, for errors.
        progress: Receives notices of what was corrected.

    Raises:
        AekitError: The file cannot be read, has no rows, or other dimensions; a value is missing, is no number, or is
            not finite in 32 bits.
    """
    if path.suffix.lower() == ".safetensors":
        return _read_tensors(path, latent, model)
    if path.suffix.lower() not in (".csv", ".tsv", ".txt", ".tab"):
        raise AekitError(f"{shown(path)}: is neither a .csv nor a .safetensors file; give codes as aekit encode writes")
    rows = stream_text_table(path, table="a table of codes", row="code")
    codes = _read_table(path, rows, latent, model)
    if rows.repairs:
        progress.notice(f"{shown(path)}: {'; '.join(repair.in_words for repair in rows.repairs)}")
    found = [name for name in rows.header if _CODE.fullmatch(name)]
    if found != [f"z{number}" for number in range(latent)]:
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
        if not sum(map(abs, values)) < _LIMIT:  # which NaN is not
            for value, name, text in zip(values, self.names, texts, strict=True):
                if not abs(value) < _LIMIT:
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


def _read_table(path: Path, rows: TextRows, latent: int, model: str) -> CodesFile:
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
    return CodesFile(path, values.astype(np.float32), dict(columns), lines)


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


def _checked_names(path: Path, header: Sequence[str], latent: int, model: str) -> list[str]:
    wanted = [f"z{number}" for number in range(latent)]
    found = {name for name in header if _CODE.fullmatch(name)}
    if not found:
        raise AekitError(
            f"{shown(path)}: has no columns z0, z1 ... (it has {named(header)}); its first line names the columns"
        )
    if missing := [name for name in wanted if name not in found]:
        raise AekitError(f"{shown(path)}: has no {_columns(missing)}; {shown(model)} takes {_range(latent)}")
    if len(found) > latent:
        more = sorted(found - set(wanted), key=lambda name: int(name[1:]))
        raise AekitError(
            f"{shown(path)}: has {_columns(more)}, and {shown(model)} takes {_range(latent)}; use its codes"
        )
    return wanted


def _columns(names: Sequence[str]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {named(names)}"


def _range(latent: int) -> str:
    return "z0" if latent == 1 else f"z0 to z{latent - 1}"


def _read_tensors(path: Path, latent: int, model: str) -> CodesFile:
    try:
        with safe_open(path, framework="numpy") as file:
            parameters = _parameters(path, (file.metadata() or {}).get("aekit"))
            names = list(file.keys())
            if "mean" not in names:
                raise AekitError(
                    f"{shown(path)}: has no tensor mean (it has {named(sorted(names))}); give codes of aekit encode"
                )
            kind = file.get_slice("mean").get_dtype()
            if kind not in ("F16", "F32", "F64"):
                raise AekitError(f"{shown(path)}: its tensor mean is of type {kind}; store float32")
            mean = file.get_tensor("mean")
            known = ("index", "file", "row", "label", "factors", "attributes")
            tensors = {name: file.get_tensor(name) for name in known if name in names}
    except (SafetensorError, OSError) as error:
        raise AekitError(f"{shown(path)}: cannot be read ({error}); write it again with aekit encode") from error
    if mean.ndim != 2 or mean.shape[1] != latent:
        raise AekitError(
            f"{shown(path)}: its codes are of shape {'x'.join(map(str, mean.shape))}, and {shown(model)} takes rows of "
            f"{count(latent, 'number')}; use the codes of this model"
        )
    if not len(mean):
        raise AekitError(f"{shown(path)}: has no rows; give one per code")
    is_good = (np.abs(mean.astype(np.float64)) < _LIMIT).all(axis=1)  # which NaN is not
    if not is_good.all():
        raise AekitError(
            f"{shown(path)}: row {int(np.argmin(is_good))}, from 0, has values that are not finite 32-bit numbers "
            f"(in all {count(int((~is_good).sum()), 'row')}); correct or remove them"
        )
    columns = _tensor_columns(path, tensors, parameters, len(mean))
    return CodesFile(path, mean.astype(np.float32), columns, None, parameters)


def _parameters(path: Path, text: str | None) -> dict[str, Any]:
    """Return what made the file, as it says in its metadata; empty if it says nothing."""
    try:
        found = {} if text is None else json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise AekitError(f"{shown(path)}: its header is damaged; write it again with aekit encode")
    if "format" in found:
        raise AekitError(f"{shown(path)}: is a model, not codes; give the codes behind the checkpoint")
    return found


def _tensor_columns(
    path: Path, tensors: dict[str, npt.NDArray[Any]], parameters: dict[str, Any], n_rows: int
) -> dict[str, Sequence[Any]]:
    """Return the columns that ``encode`` writes into a table, and the attributes, by the names in the metadata."""
    for name, tensor in tensors.items():
        n_axes = 2 if name in ("factors", "attributes") else 1
        if tensor.ndim != n_axes or len(tensor) != n_rows or tensor.dtype.kind not in "iub":
            raise AekitError(
                f"{shown(path)}: its tensor {name} does not fit its codes; write it again with aekit encode"
            )
    columns: dict[str, Sequence[Any]] = {}
    for name, of in (("index", None), ("file", "files"), ("row", None), ("label", "class_names")):
        if name in tensors:
            values = tensors[name].tolist()
            names = parameters.get(of) if of is not None else None
            columns[name] = [_name_of(names, value) for value in values]
    for name, of in (("factors", "factor_names"), ("attributes", "attribute_names")):
        names = parameters.get(of)
        table = tensors.get(name)
        if table is not None and isinstance(names, list) and len(names) == table.shape[1]:
            columns |= {
                str(one): column.astype(np.int64).tolist()
                for one, column in zip(names, table.T, strict=True)
                if one not in columns
            }
    return columns


def _name_of(names: Any, value: int) -> Any:
    is_named = isinstance(names, (list, tuple)) and 0 <= value < len(names)
    return str(names[value]) if is_named else value
