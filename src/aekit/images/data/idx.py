"""The idx format of the MNIST family, gzipped or not, allocating no more than the file holds."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aekit.core.damage import is_bomb
from aekit.errors import AekitError, shown


def read_idx(path: Path, *, n_dimensions: int) -> npt.NDArray[np.uint8]:
    """Return the unsigned bytes of an idx file: images (N, H, W) or labels (N,).

    Args:
        path: The file, gzipped or not, with any suffix.
        n_dimensions: 3 for images, 1 for labels.

    Raises:
        AekitError: The file cannot be read, is not an idx file of that kind, or is damaged, too short or too long.

    Source:
        The end of http://yann.lecun.com/exdb/mnist: two zero bytes, a type (8 is an unsigned byte), the number of
        dimensions, each dimension as a big-endian 32-bit integer, and the values.
    """
    try:
        with path.open("rb") as raw:
            is_packed = raw.read(2) == b"\x1f\x8b"
            n_bytes = path.stat().st_size
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) if is_packed else raw as file:
                head = file.read(4 + 4 * n_dimensions)
                shape = _shape(path, head, n_dimensions)
                n_values = int(np.prod(shape, dtype=object))
                if is_bomb(n_values, n_bytes) if is_packed else n_values > n_bytes:
                    raise _damaged(path, f"its header claims {n_values:,} values, more than the file can hold")
                values = file.read(n_values + 1)  # one more, as a file that is too long is damaged as well
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, f"the gzip data are damaged or truncated ({error})") from error
    except OSError as error:
        raise AekitError(
            f"{shown(path)}: cannot be read ({error.strerror or error}); check the file and its permissions"
        ) from error
    if len(values) != n_values:
        what = "more" if len(values) > n_values else f"{len(values):,}"
        raise _damaged(path, f"its header claims {n_values:,} values, and there are {what}")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _shape(path: Path, head: bytes, n_dimensions: int) -> tuple[int, ...]:
    if len(head) < 4 + 4 * n_dimensions:
        raise _damaged(path, "it is empty" if not head else "it ends within its header")
    if head[:4] != bytes((0, 0, 8, n_dimensions)):
        kind = {1: "labels", 3: "images"}[n_dimensions]
        raise _damaged(path, f"it is not an idx file of {kind} (it begins with {head[:4].hex()})")
    return tuple(int(n) for n in np.frombuffer(head[4:], ">u4"))


def _damaged(path: Path, what: str) -> AekitError:
    return AekitError(f"{shown(path)}: {what}; delete the file and download it again")
