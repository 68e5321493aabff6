"""Images of a whole data set in the cache folder, mapped into memory: for sets that are too large to hold."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from aekit.core.cache import PARTIAL, remove_stale
from aekit.core.damage import NPY_DAMAGE, map_npy
from aekit.core.environment import cache_folder
from aekit.core.partial import Partial, open_partial
from aekit.core.progress import Progress
from aekit.errors import AekitError, shown
from aekit.images.data.pixels import Pixels

Shape = tuple[int, int, int, int]


def store_path(key: str) -> Path:
    """Return where the images of a data set are kept, or would be."""
    return cache_folder() / "images" / f"{key}.npy"


def find_store(key: str, shape: Shape) -> Pixels | None:
    """Return the images of a data set, uint8 (N, C, H, W), or None if they are missing or incomplete."""
    return map_pixels(store_path(key), shape)


def map_pixels(path: Path, shape: Sequence[int]) -> Pixels | None:
    """Return the unsigned bytes of a .npy file, mapped into memory; None if it is not a whole file of this shape."""
    try:
        store = map_npy(path)
        is_whole = path.stat().st_size == store.offset + store.nbytes
    except NPY_DAMAGE:
        return None
    is_wanted = store.dtype == np.uint8 and list(store.shape) == list(shape) and store.flags.c_contiguous
    return store.view(np.ndarray) if is_wanted and is_whole else None


def open_store(key: str, shape: Shape, blocks: Iterator[tuple[int, Pixels]], progress: Progress) -> Pixels:
    """Return the images of a data set, uint8 (N, C, H, W), after writing them to the cache folder if needed.

    Args:
        key: Its name in the cache folder, which changes with what the images look like.
        shape: Number of images, channels, height, width.
        blocks: Yields the row of the first of some images, and these.
        progress: Told if another process is writing them.

    Raises:
        AekitError: There is no room for them, or the folder cannot be written.
    """
    if (found := find_store(key, shape)) is not None:
        return found
    path = store_path(key)
    head = npy_head(shape)
    try:
        with open_partial(
            path.with_name(f"{key}{PARTIAL}"),
            len(head) + math.prod(shape),
            on_wait=lambda: progress.notice("waiting for another process that is writing the same images"),
        ) as partial:
            remove_stale(path.parent)
            if (found := find_store(key, shape)) is None:
                _write(partial, head, blocks)
                partial.finish(path)
            else:
                partial.discard()
    except OSError as error:
        raise AekitError(
            f"{shown(path.parent)}: the images, {math.prod(shape) / 1e9:.1f} GB, cannot be stored there "
            f"({error.strerror or error}); make room, set AEKIT_CACHE to another folder, or take fewer with --limit"
        ) from error
    store = find_store(key, shape)
    if store is None:
        raise AekitError(f"{shown(path)}: was changed while it was written; run the command again")
    return store


def _write(partial: Partial, head: bytes, blocks: Iterator[tuple[int, Pixels]]) -> None:
    partial.write(head, 0)
    for row, block in blocks:
        partial.write(np.ascontiguousarray(block).data, len(head) + row * math.prod(block.shape[1:]))


def npy_head(shape: Shape) -> bytes:
    """Return what a .npy file of unsigned bytes in this shape begins with."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()
