"""Files of codes, as ``encode`` and ``sample --codes`` write them, or as someone has edited them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from aekit.core.progress import SILENT, Progress
from aekit.core.text_table import named
from aekit.errors import AekitError, count, shown
from aekit.images import code_tables
from aekit.images.code_tables import LARGEST, read_code_table
from aekit.images.data.origins import Indices, Origins

FloatArray = npt.NDArray[np.float32]

_FLOATS = {"mean": "codes", "logvar": "log-variances"}
_WHOLE = ("index", "file", "row", "label", "factors", "attributes")
_NAMED_COLUMNS = {"factors": "factor_names", "attributes": "attribute_names"}
_WHOLE_NUMBER = re.compile(r"([0-9]{1,15})(?:\.0*)?")  # as spreadsheets and pandas may write it
_AGAIN = "write it again with aekit encode"


@dataclass(frozen=True)
class CodeFile:
    """The codes of N images, and what the file says of them.

    Attributes:
        path: The file.
        mean: Codes, or posterior means, float32 (N, L), N >= 1, finite.
        columns: What else the file says of each: N values by the name of their column, as text or whole numbers.
        labels: Class of each image, or its attributes joined by ``;``, (N,); empty texts without any.
        logvar: Posterior log-variances, float32 (N, L); None for an autoencoder, and in a table.
        lines: Line of each row of a table, N of them; None for a .safetensors file.
        parameters: What made a .safetensors file, as it says itself: ``checkpoint``, its configuration, ``images``,
            ``options``; empty if it does not, as a table never does.
    """

    path: Path
    mean: FloatArray
    columns: Mapping[str, Sequence[Any]]
    labels: list[str]
    logvar: FloatArray | None = None
    lines: Sequence[int] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.mean)

    def place(self, row: int) -> str:
        """Return where a row is, for messages: ``codes.csv: line 7``, or ``codes.safetensors: row 5``, from 0."""
        return f"{shown(self.path)}: " + (f"row {row}" if self.lines is None else f"line {self.lines[row]}")

    @cached_property
    def index(self) -> Indices:
        """Return the index of each image in its split, (N,); the number of the row if the file has no such column.

        Raises:
            AekitError: A value in a table is not a whole number from 0.
        """
        return np.arange(len(self)) if "index" not in self.columns else self._whole_numbers("index")

    @cached_property
    def origins(self) -> Origins | None:
        """Return where each image came from, N of them; None if that is not known.

        Raises:
            AekitError: A value of ``row`` in a table is not a whole number from 0.
        """
        if "file" not in self.columns:
            return None
        number_of = {file: number for number, file in enumerate(dict.fromkeys(self.columns["file"]))}
        numbers = np.array([number_of[file] for file in self.columns["file"]], np.int64)
        rows = self._whole_numbers("row") if "row" in self.columns else None
        return Origins([str(name) for name in number_of], numbers, rows)

    def _whole_numbers(self, name: str) -> Indices:
        found = [_WHOLE_NUMBER.fullmatch(str(value)) for value in self.columns[name]]
        if None in found:
            row = found.index(None)
            text = shown(str(self.columns[name][row]))
            raise AekitError(
                f"{self.place(row)} has '{text}' in {name}, which is not a whole number from 0; correct it, or remove "
                "the column"
            )
        return np.array([int(match[1]) for match in found if match], np.int64)


def read_codes(
    path: str | os.PathLike[str], latent: int | None = None, model: str | None = None, progress: Progress = SILENT
) -> CodeFile:
    """Return the codes in a file, in its order.

    Args:
        path: A table (.csv, .tsv, .txt) with the columns z0, z1, ..., in any order, and any others; separator and
            encoding are found. Or a .safetensors file with a tensor ``mean``, (N, L).
        latent: Dimensions that there must be; None takes as many as there are.
        model: What takes them, for errors; None if that is not known.
        progress: Receives notices of what was corrected.

    Raises:
        AekitError: The file cannot be read, is damaged, has no rows, or other dimensions; a value is missing, is no
            number, or is not finite in 32 bits.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() == ".safetensors":
        return _read_tensors(file, latent, model)
    if file.suffix.lower() not in code_tables.SUFFIXES:
        raise AekitError(f"{shown(file)}: is neither a .csv nor a .safetensors file; give codes as aekit encode writes")
    mean, columns, lines = read_code_table(file, latent, model, progress)
    return CodeFile(file, mean, columns, columns.get("label", [""] * len(mean)), lines=lines)


def _read_tensors(path: Path, latent: int | None, model: str | None) -> CodeFile:
    try:
        with safe_open(path, framework="numpy") as file:
            parameters = _parameters(path, (file.metadata() or {}).get("aekit"))
            names = set(file.keys())
            if "mean" not in names:
                raise AekitError(
                    f"{shown(path)}: has no tensor mean (it has {named(sorted(names))}); give codes of aekit encode"
                )
            for name in _FLOATS.keys() & names:
                kind = file.get_slice(name).get_dtype()
                if kind not in ("F16", "F32", "F64"):
                    raise AekitError(f"{shown(path)}: its tensor {name} is of type {kind}; store float32")
            tensors = {name: file.get_tensor(name) for name in (*_FLOATS, *_WHOLE) if name in names}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise AekitError(f"{shown(path)}: cannot be read ({error}); {_AGAIN}") from error
    mean, logvar = tensors.pop("mean"), tensors.pop("logvar", None)
    _check_codes(path, mean, latent, model)
    if logvar is not None:
        if logvar.shape != mean.shape:
            raise _unfit(path, "logvar", "its codes")
        _check_finite(path, logvar, "logvar")
        logvar = logvar.astype(np.float32)
    _check_whole(path, tensors, len(mean))
    columns = _tensor_columns(path, tensors, parameters)
    labels = _labels(tensors, columns, parameters, len(mean))
    return CodeFile(path, mean.astype(np.float32), columns, labels, logvar, None, parameters)


def _parameters(path: Path, text: str | None) -> dict[str, Any]:
    """Return what made the file, as it says in its metadata; empty if it says nothing."""
    try:
        found = {} if text is None else json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(found.get(part, {}), dict) for part in ("images", "options")):
        raise AekitError(f"{shown(path)}: its header is damaged; {_AGAIN}")
    if "format" in found:
        raise AekitError(f"{shown(path)}: is a model, not codes; give the codes behind the checkpoint")
    if found.get("command", "encode") != "encode":  # the means of a density, for example
        command = shown(str(found["command"]))
        raise AekitError(f"{shown(path)}: was written by aekit {command}, not by aekit encode; give codes")
    return found


def _check_codes(path: Path, mean: npt.NDArray[Any], latent: int | None, model: str | None) -> None:
    shape = "x".join(map(str, mean.shape))
    if mean.ndim != 2 or not mean.shape[1]:
        raise AekitError(f"{shown(path)}: its codes are of shape {shape}, and codes are rows of numbers; {_AGAIN}")
    if latent is not None and mean.shape[1] != latent:
        raise AekitError(
            f"{shown(path)}: its codes are of shape {shape}, and {shown(model or 'the model')} takes rows of "
            f"{count(latent, 'number')}; use the codes of this model"
        )
    if not len(mean):
        raise AekitError(f"{shown(path)}: has no rows; give one per code")
    _check_finite(path, mean, "mean")


def _check_finite(path: Path, values: npt.NDArray[Any], name: str) -> None:
    is_good = (np.abs(values.astype(np.float64)) < LARGEST).all(axis=1)  # which NaN is not
    if not is_good.all():
        raise AekitError(
            f"{shown(path)}: row {int(np.argmin(is_good))}, from 0, has {_FLOATS[name]} that are not finite 32-bit "
            f"numbers (in all {count(int((~is_good).sum()), 'row')}); correct or remove them"
        )


def _check_whole(path: Path, tensors: Mapping[str, npt.NDArray[Any]], n_rows: int) -> None:
    for name, tensor in tensors.items():
        n_axes = 2 if name in _NAMED_COLUMNS else 1
        if tensor.ndim != n_axes or len(tensor) != n_rows or tensor.dtype.kind not in "iub":
            raise _unfit(path, name, "its codes")


def _unfit(path: Path, name: str, what: str) -> AekitError:
    return AekitError(f"{shown(path)}: its tensor {name} does not fit {what}; {_AGAIN}")


def _tensor_columns(
    path: Path, tensors: Mapping[str, npt.NDArray[Any]], parameters: Mapping[str, Any]
) -> dict[str, Sequence[Any]]:
    """Return the columns that ``encode`` writes into a table, and the attributes, by the names in the metadata."""
    columns: dict[str, Sequence[Any]] = {}
    for name in _WHOLE[:4]:
        if name in tensors:
            columns[name] = tensors[name].tolist()
    if "file" in tensors:
        names, numbers = _names(parameters, "files"), tensors["file"]
        if numbers.min() < 0 or numbers.max() >= len(names):
            raise _unfit(path, "file", "the names of files in its header")
        columns["file"] = [names[int(number)] for number in columns["file"]]
    if "label" in tensors:
        names = _names(parameters, "class_names")
        columns["label"] = [names[n] if 0 <= n < len(names) else n for n in columns["label"]]
    for name, of in _NAMED_COLUMNS.items():
        table, names = tensors.get(name), _names(parameters, of)
        if table is None:
            continue
        if len(names) != table.shape[1]:
            raise _unfit(path, name, "the names in its header")
        for one, column in zip(names, table.T, strict=True):
            # An attribute may be called as another column is.
            own = one if one not in columns else f"{name} {one}"
            columns[own] = column.astype(np.int64).tolist()
    return columns


def _names(parameters: Mapping[str, Any], of: str) -> list[str]:
    names = parameters.get(of)
    return list(map(str, names)) if isinstance(names, list) else []


def _labels(
    tensors: Mapping[str, npt.NDArray[Any]],
    columns: Mapping[str, Sequence[Any]],
    parameters: Mapping[str, Any],
    n_rows: int,
) -> list[str]:
    if "label" in tensors:
        return [str(value) for value in columns["label"]]
    if "attributes" in tensors:
        names = np.array(_names(parameters, "attribute_names"), object)
        return [";".join(names[has]) for has in tensors["attributes"].astype(bool)]
    return [""] * n_rows
