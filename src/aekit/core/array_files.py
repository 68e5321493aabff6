"""Arrays as .safetensors and .npy files that are results, not checkpoints."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from aekit.core.artifacts import write_atomically


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], parameters: dict[str, Any]) -> Path:
    """Return ``path`` with arrays by name, and the parameters that produced them in the metadata ``aekit``."""
    content = save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        {"aekit": json.dumps(parameters, sort_keys=True)},
    )
    return write_atomically(path, lambda file: file.write(content))


def write_npy_rows(path: Path, shape: tuple[int, ...], blocks: Iterable[npt.NDArray[np.float32]]) -> Path:
    """Return ``path`` with one float32 array as .npy, written block by block: it need not fit into memory.

    Args:
        path: The file.
        shape: Of the whole array, (N, ...).
        blocks: Its rows in their order, (n, ...) each; N in all.
    """

    def write(file: BinaryIO) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        _write_blocks(file, shape, blocks)

    return write_atomically(path, write)


def write_safetensors_rows(
    path: Path, name: str, shape: tuple[int, ...], blocks: Iterable[npt.NDArray[np.float32]], parameters: dict[str, Any]
) -> Path:
    """Return ``path`` with one float32 tensor as .safetensors, written block by block.

    Args:
        path: The file.
        name: Of the tensor.
        shape: As in :func:`write_npy_rows`.
        blocks: As in :func:`write_npy_rows`.
        parameters: What produced it, for the metadata ``aekit``.
    """
    entries = {
        "__metadata__": {"aekit": json.dumps(parameters, sort_keys=True)},
        name: {"dtype": "F32", "shape": list(shape), "data_offsets": [0, 4 * math.prod(shape)]},
    }
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)  # so that the numbers are aligned

    def write(file: BinaryIO) -> None:
        file.write(len(header).to_bytes(8, "little") + header)
        _write_blocks(file, shape, blocks)

    return write_atomically(path, write)


def _write_blocks(file: BinaryIO, shape: tuple[int, ...], blocks: Iterable[npt.NDArray[np.float32]]) -> None:
    n_rows = 0
    for block in blocks:
        file.write(np.ascontiguousarray(block, "<f4").data)
        n_rows += len(block)
    if n_rows != shape[0]:
        raise ValueError(f"{n_rows} rows were written of {shape[0]}")
