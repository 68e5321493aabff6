"""The pages of a memory-mapped store: read before they are needed, and let go of when they are not needed any more.

All of this is advice to the operating system. The pixels are the same without it, and where it cannot be given - the
store lies in memory, or the system knows no such thing - nothing happens.
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

BLOCK_BYTES = 1 << 20  # of consecutive rows that are read at a time: a disk then reads about as long as it seeks
# Linux reads no more than one request of the disk ahead for one piece of advice. Cold 2 GiB in blocks of 4 MiB at
# random: 1.2 GB/s so, 0.5 to 0.75 by read(); in memory already: 65 GB/s, and 4.
_ADVICE_BYTES = 256 << 10
_MARGIN_BYTES = 64 << 20  # read so far ahead besides what the order of the rows asks for


def rows_a_block(store: Pixels) -> int:
    """Return how many consecutive rows of a store, (M, C, H, W), are read at a time, at least one."""
    return max(1, BLOCK_BYTES // math.prod(store.shape[1:]))


def is_mapped(store: Pixels) -> bool:
    """Return whether the pixels lie in a file that is mapped into memory."""
    return _mapped(store) is not None


class Pages:
    """What is to be read, and what to be let go of, while rows of a store are taken in a known order.

    Blocks are read in the order of their first use, evenly: as many images as are taken, ahead by as much as the order
    asks for - nothing if rows are taken one after another, a group of blocks if they are shuffled within such.
    Blocks of which less than half is needed are left to be read row by row.

    Args:
        store: Pixels, uint8 (M, C, H, W).
        rows: All rows that will be taken, (K,), in order.
    """

    def __init__(self, store: Pixels, rows: Indices) -> None:
        self._mapped = _mapped(store)
        if self._mapped is None:
            return
        self._block_bytes = rows_a_block(store) * store[0].nbytes
        # Where the store begins: in the mapping, and in the file, where a mapping begins at a page.
        mapping_start = np.frombuffer(self._mapping, np.uint8).ctypes.data
        self._start = store.ctypes.data - mapping_start
        self._file_start = self._start + self._mapped.offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        self._stop = self._start + store.nbytes
        blocks, first, counts = np.unique(rows // rows_a_block(store), return_index=True, return_counts=True)
        order = np.argsort(first)
        before = np.cumsum(counts[order]) - counts[order]  # images of the blocks that are read earlier
        ahead = int((before - first[order]).max(initial=0)) + _MARGIN_BYTES // store[0].nbytes
        is_dense = 2 * counts[order] >= rows_a_block(store)
        self._to_read = blocks[order][is_dense]
        self._read_at = (before - ahead)[is_dense]  # number of images taken at which each is read; rises
        last = len(rows) - 1 - np.unique(rows[::-1] // rows_a_block(store), return_index=True)[1]
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
        """Begin to read what is due when ``n_taken`` images are taken, and let go of what they needed last."""
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
        """Let go of everything; nothing is read any more when this returns."""
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
        # From this process's memory: what else is free may keep the pages for the next epoch.
        start = self._start + block * self._block_bytes
        stop = min(start + self._block_bytes, self._stop)
        start -= start % mmap.PAGESIZE
        self._mapping.madvise(mmap.MADV_DONTNEED, start, stop - start)


def _mapped(store: npt.NDArray[np.uint8]) -> np.memmap | None:
    """Return the memory map below a store, if there is one and the system takes advice on it."""
    if not hasattr(os, "posix_fadvise") or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    below: object = store
    while isinstance(below, np.ndarray):
        if isinstance(below, np.memmap):
            return below
        below = below.base
    return None
