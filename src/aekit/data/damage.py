"""What a file may claim, and what numpy and zipfile raise on damaged ones: shared by all readers of arrays."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib

# Images, volumes and arrays of measured values are packed 2 to 30 times, masks and blank pages 100 times. What is
# packed more and not small is a bomb: zlib packs 1,032 times, so that 2 MB unpack to 2 GB.
FREE_BYTES = 16 << 20
MAX_RATIO = 256

# numpy parses the header of an array as Python text.
NPY_DAMAGE = (
    OSError, ValueError, TypeError, EOFError, SyntaxError, OverflowError, LookupError, AttributeError, RuntimeError,
    MemoryError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


def is_bomb(n_unpacked: int, n_packed: int) -> bool:
    """Return whether a header claims more than an honest file of its size holds: to be asked before memory is taken.

    Args:
        n_unpacked: Bytes that a header claims.
        n_packed: Bytes that the file has.
    """
    return n_unpacked > max(FREE_BYTES, MAX_RATIO * n_packed)
