"""The pages of a memory-mapped store: read before they are needed, and released when they are no longer needed.

All of this is advice to the operating system. The pixels are the same without it, and nothing happens where it does not
apply: if the store is in memory, or the system takes no such advice.
"""

from __future__ import annotations

import math
import mmap
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from aekit.images.data.image_set import Indices
from aekit.images.data.pixels import Pixels

BLOCK_BYTES = 1 << 20  # of consecutive rows to read at a time: a disk then reads for about as long as it seeks
# Linux reads at most one disk request ahead for each piece of advice. 2 GiB from a cold disk, in blocks of 4 MiB in
# random order: 1.2 GB/s with advice, 0.5 to 0.75 with read(); from memory: 65 GB/s and 4.
_ADVICE_BYTES = 256 << 10
_MARGIN_BYTES = 64 << 20  # to read ahead in addition to what the order of the rows needs


def rows_per_block(store: Pixels) -> int:
    """Return how many consecutive rows of a store, (M, C, H, W), are read at a time, at least one."""
    return max(1, BLOCK_BYTES // math.prod(store.shape[1:]))


def is_mapped(store: Pixels) -> bool:
    """Return whether the pixels are in a memory-mapped file."""
    return _mapped(store) is not None


class Pages:
    """Reads blocks of a store ahead, and releases them, while its rows are taken in a known order.

    Blocks are read in the order of their first use, at the rate at which images are taken, and as far ahead as the
    order needs: not at all if rows are consecutive, by a group of blocks if they are shuffled within groups. Blocks of
    which less than half is needed are left to be read row by row.

    Args:
        store: Pixels, uint8 (M, C, H, W).
        rows: All rows that will be taken, (K,), in order.
    """

    def __init__(self, store: Pixels, rows: Indices) -> None:
        self._mapped = _mapped(store)
        if self._mapped is None:
            return
        self._block_bytes = rows_per_block(store) * store[0].nbytes
        # Offset of the store in the mapping, and in the file, in which a mapping begins at a page.
        mapping_start = np.frombuffer(self._mapping, np.uint8).ctypes.data
        self._start = store.ctypes.data - mapping_start
        self._file_start = self._start + self._mapped.offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        self._stop = self._start + store.nbytes
        blocks, first, counts = np.unique(rows // rows_per_block(store), return_index=True, return_counts=True)
        order = np.argsort(first)
        before = np.cumsum(counts[order]) - counts[order]  # images of the blocks that are read earlier
        ahead = int((before - first[order]).max(initial=0)) + _MARGIN_BYTES // store[0].nbytes
        is_dense = 2 * counts[order] >= rows_per_block(store)
        self._to_read = blocks[order][is_dense]
        self._read_at = (before - ahead)[is_dense]  # number of images taken at which to read each; ascending
        last = len(rows) - 1 - np.unique(rows[::-1] // rows_per_block(store), return_index=True)[1]
        self._to_drop = blocks[np.argsort(last)]
        self._drop_at = np.sort(last)
        self._n_read = self._n_dropped = 0
        self._file = os.open(str(self._mapped.filename), os.O_RDONLY)
        self._adviser = ThreadPoolExecutor(1, "pages")

    @property
    def _mapping(self) -> mmap.mmap:
        mapping: mmap.mmap = self._mapped._mmap  # type: ignore[union-attr]
        return mapping

    def advance(self, n_taken: int) -> None:
        """Start reading the blocks that are due once ``n_taken`` images are taken, and release those that are done."""
        if self._mapped is None:
            return
        due = int(np.searchsorted(self._read_at, n_taken, side="right"))
        for block in self._to_read[self._n_read : due].tolist():
            self._adviser.submit(self._read, block)
        done = int(np.searchsorted(self._drop_at, n_taken))
        for block in self._to_drop[self._n_dropped : done].tolist():
            self._adviser.submit(self._drop, block)
        self._n_read, self._n_dropped = due, done

    def close(self) -> None:
        """Release everything; nothing is being read when this returns."""
        if self._mapped is None:
            return
        self._adviser.shutdown(cancel_futures=True)
        os.close(self._file)
        for block in self._to_drop[self._n_dropped :].tolist():
            self._drop(block)

    def _read(self, block: int) -> None:
        start = self._file_start + block * self._block_bytes
        stop = min(start + self._block_bytes, self._file_start - self._start + self._stop)
        for offset in range(start, stop, _ADVICE_BYTES):
            os.posix_fadvise(self._file, offset, min(_ADVICE_BYTES, stop - offset), os.POSIX_FADV_WILLNEED)

    def _drop(self, block: int) -> None:
        # From the memory of this process: the system may keep the pages in free memory for the next epoch.
        start = self._start + block * self._block_bytes
        stop = min(start + self._block_bytes, self._stop)
        start -= start % mmap.PAGESIZE
        self._mapping.madvise(mmap.MADV_DONTNEED, start, stop - start)


def _mapped(store: npt.NDArray[np.uint8]) -> np.memmap | None:
    """Return the memory map that a store is a view of, if there is one and the system takes advice on it."""
    if not hasattr(os, "posix_fadvise") or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    base: object = store
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return base
        base = base.base
    return None
