"""Files of codes, as ``aekit encode`` writes them: read and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from safetensors import SafetensorError, safe_open

from aekit.core.damage import readable
from aekit.errors import AekitError, shown
from aekit.images.data.image_set import Indices
from aekit.images.data.origins import Origins

FloatArray = npt.NDArray[np.float32]

SUFFIXES = (".safetensors", ".csv")
_FIX = "give a file of aekit encode"


@dataclass(frozen=True)
class CodeFile:
    """The codes of N images.

    Attributes:
        path: The file.
        mean: Codes, or posterior means, float32 (N, L).
        logvar: Posterior log-variances, float32 (N, L); None for an autoencoder, and in a ``.csv``.
        index: Index of each image in its split, (N,).
        labels: Class of each image, or its attributes joined by ``;``, (N,); empty texts without any.
        origins: Where each image came from, N of them; None if that is not known.
        parameters: What made the codes: ``checkpoint``, its configuration, ``images``, ``options``; empty for ``.csv``.
    """

    path: Path
    mean: FloatArray
    logvar: FloatArray | None
    index: Indices
    labels: list[str]
    origins: Origins | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.mean)


def read_codes(path: str | Path) -> CodeFile:
    """Return the codes in a file that ``aekit encode`` wrote, ``.safetensors`` or ``.csv``.

    Raises:
        AekitError: The file cannot be read, is damaged, or holds no codes, or some that are not finite.
    """
    path = Path(path).expanduser()
    with readable(path):
        path.open("rb").close()
    if path.suffix.lower() not in SUFFIXES:
        raise AekitError(f"{path}: is neither a .safetensors nor a .csv file; {_FIX}")
    found = _read_table(path) if path.suffix.lower() == ".csv" else _read_tensors(path)
    n_bad = int((~np.isfinite(found.mean)).any(axis=1).sum())
    if n_bad:
        raise AekitError(f"{path}: {n_bad:,} of its {len(found):,} codes are not finite; write it again")
    return found


def _read_tensors(path: Path) -> CodeFile:
    try:
        with safe_open(path, framework="numpy") as file:
            parameters = json.loads((file.metadata() or {}).get("aekit", "{}"))
            names = set(file.keys())
            wanted = ("mean", "logvar", "index", "label", "attributes", "file", "row")
            tensors = {name: file.get_tensor(name) for name in wanted if name in names}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise AekitError(f"{path}: is damaged or not a .safetensors file ({error}); {_FIX}") from error
    if "mean" not in tensors:
        raise AekitError(f"{path}: holds no codes; {_FIX}")
    if not isinstance(parameters, dict) or parameters.get("command") != "encode":
        raise AekitError(f"{path}: does not say which checkpoint its codes are of; {_FIX}")
    mean = tensors["mean"]
    if mean.ndim != 2 or mean.dtype != np.float32 or 0 in mean.shape:
        raise AekitError(f"{path}: codes are {mean.dtype} of shape {mean.shape}; {_FIX}")
    if any(len(tensor) != len(mean) for tensor in tensors.values()):
        raise _damaged(path, "its tensors differ in length")
    index = tensors.get("index", np.arange(len(mean)))
    try:
        labels, origins = _labels(tensors, parameters, len(mean)), _origins(tensors, parameters)
    except (LookupError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    return CodeFile(path, mean, tensors.get("logvar"), index, labels, origins, parameters)


def _damaged(path: Path, reason: str) -> AekitError:
    return AekitError(f"{path}: is damaged ({shown(reason)}); write it again with aekit encode")


def _labels(tensors: Mapping[str, Any], parameters: Mapping[str, Any], n: int) -> list[str]:
    if "label" in tensors:
        names = list(map(str, parameters["class_names"]))
        return [names[label] if 0 <= label < len(names) else str(label) for label in tensors["label"].tolist()]
    if "attributes" in tensors:
        names = list(map(str, parameters["attribute_names"]))
        return [";".join(np.array(names)[has]) for has in tensors["attributes"].astype(bool)]
    return [""] * n


def _origins(tensors: Mapping[str, Any], parameters: Mapping[str, Any]) -> Origins | None:
    if "file" not in tensors:
        return None
    files, numbers = list(map(str, parameters["files"])), tensors["file"].astype(np.int64)
    if numbers.min() < 0 or numbers.max() >= len(files):
        raise LookupError("a file has no name")
    return Origins(files, numbers, tensors.get("row"))


def _read_table(path: Path) -> CodeFile:
    texts = {"file": str, "label": str}
    try:
        table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={"row": [""]}, low_memory=False)
        names = [f"z{i}" for i in range(sum(str(name)[:1] == "z" and str(name)[1:].isdecimal() for name in table))]
        if not names or not set(names) <= set(table) or not len(table):
            raise AekitError(f"{path}: has no columns z0, z1, ... of codes, or no row; {_FIX}")
        with np.errstate(over="ignore"):  # what overflows is not finite, which is refused
            mean = table[names].to_numpy(np.float32)
        index = _whole_numbers(table, "index") if "index" in table else np.arange(len(table))
        rows = _whole_numbers(table, "row") if "row" in table else None
    except (ValueError, TypeError, OverflowError, OSError) as error:  # pandas' errors of parsing are ValueErrors
        raise AekitError(
            f"{path}: cannot be read as a table of codes ({' '.join(str(error).split())}); {_FIX}"
        ) from error
    origins = None
    if "file" in table:
        numbers, files = pd.factorize(table["file"])
        origins = Origins(list(files), numbers.astype(np.int64), rows)
    labels = table["label"].tolist() if "label" in table else [""] * len(table)
    return CodeFile(path, mean, None, index, labels, origins)


def _whole_numbers(table: pd.DataFrame, name: str) -> Indices:
    """Return a column of positions, (N,).

    Raises:
        ValueError: One of them is none.
    """
    values = table[name].to_numpy(np.float64)
    if not (np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < 2**53)).all():
        raise ValueError(f"{name} has values that are not whole numbers")
    whole: Indices = values.astype(np.int64)
    return whole
