"""What a file may claim, and what numpy and zipfile raise on damaged ones: shared by all readers of arrays."""

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

# Images, volumes and arrays of measured values are packed 2 to 30 times, masks and blank pages 100 times. What is
# packed more and not small is a bomb: zlib packs 1,032 times, so that 2 MB unpack to 2 GB.
FREE_BYTES = 16 << 20
MAX_RATIO = 256

# numpy parses the header of an array as Python text.
NPY_DAMAGE = (
    OSError, ValueError, TypeError, EOFError, SyntaxError, OverflowError, LookupError, AttributeError, RuntimeError,
    MemoryError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


def ignore_harmless() -> None:
    """Keep numpy from warning of arrays that Python 2 wrote, which is nothing to mend.

    For the whole process: filters that are put back afterwards get lost where several threads read.
    """
    warnings.filterwarnings("ignore", "Reading `.npy` or `.npz` file required additional header parsing", UserWarning)


ignore_harmless()


def is_bomb(n_unpacked: int, n_packed: int) -> bool:
    """Return whether a header claims more than an honest file of its size holds: to be asked before memory is taken.

    Args:
        n_unpacked: Bytes that a header claims.
        n_packed: Bytes that the file has.
    """
    return n_unpacked > max(FREE_BYTES, MAX_RATIO * n_packed)


def map_npy(path: Path) -> np.memmap[Any, Any]:
    """Return the array of a .npy file, mapped into memory: nothing is allocated that is not there, no pickle is run.

    Raises:
        NPY_DAMAGE: It cannot be read, is no .npy file, or a damaged one.
    """
    with path.open("rb") as file:
        head = file.read(12)
        # numpy would take memory for a header of 4 GB before it looks whether it is there.
        n_header = int.from_bytes(head[8:10] if head[6:7] == b"\x01" else head[8:12], "little")
        if n_header > os.fstat(file.fileno()).st_size:
            raise ValueError("it ends within its header")
    mapped: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="r")
    return mapped


@contextlib.contextmanager
def readable(file: Path) -> Iterator[None]:
    """Turn a failure to read a file into an AekitError that names it."""
    try:
        yield
    except OSError as error:
        raise AekitError(f"{shown(file)}: cannot be read ({error.strerror}); check it and its permissions") from error
