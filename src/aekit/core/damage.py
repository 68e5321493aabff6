"""Limits on the claims of a file, and what numpy and zipfile raise for damaged ones: shared by all array readers."""

from __future__ import annotations

import contextlib
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aekit.errors import AekitError, shown

# Images, volumes and arrays of measured values compress 2 to 30 times, masks and blank pages 100 times. Anything large
# that compresses more is a decompression bomb: zlib reaches 1,032 times, so that 2 MB unpack to 2 GB.
FREE_BYTES = 16 << 20
MAX_RATIO = 256

# numpy parses the header of an array as Python text.
NPY_DAMAGE = (
    OSError, ValueError, TypeError, EOFError, SyntaxError, OverflowError, LookupError, AttributeError, RuntimeError,
    MemoryError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


def ignore_harmless() -> None:
    """Keep numpy from warning about arrays that Python 2 wrote, which are fine.

    For the whole run, not around each file: filters that are restored get lost when several threads read.
    """
    warnings.filterwarnings("ignore", "Reading `.npy` or `.npz` file required additional header parsing", UserWarning)


def is_bomb(n_unpacked: int, n_packed: int) -> bool:
    """Return whether a header claims more than a genuine file of its size holds; call it before allocating memory.

    Args:
        n_unpacked: Number of bytes that the header claims.
        n_packed: Number of bytes in the file.
    """
    return n_unpacked > max(FREE_BYTES, MAX_RATIO * n_packed)


def map_npy(path: Path) -> np.memmap[Any, Any]:
    """Return the memory-mapped array of a .npy file, without allocating more than it holds and without pickle.

    Raises:
        NPY_DAMAGE: It cannot be read, is not a .npy file, or is damaged.
    """
    with path.open("rb") as file:
        head = file.read(12)
        # numpy would allocate memory for a header of 4 GB before checking that the file has it.
        n_header = int.from_bytes(head[8:10] if head[6:7] == b"\x01" else head[8:12], "little")
        if n_header > os.fstat(file.fileno()).st_size:
            raise ValueError("it ends within its header")
    mapped: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="r")
    return mapped


@contextlib.contextmanager
def readable(file: Path) -> Iterator[None]:
    """Convert a failure to read a file into an AekitError that names it."""
    try:
        yield
    except OSError as error:
        raise AekitError(f"{shown(file)}: cannot be read ({error.strerror}); check it and its permissions") from error
