"""Work on many items in threads, with the results in order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from aekit.core.environment import count_cores

Item = TypeVar("Item")
T = TypeVar("T")


def in_threads(
    work: Callable[[Item], T], items: Sequence[Item], *, jobs: int | None = None
) -> Generator[T, None, None]:
    """Yield the result of ``work`` for each item, in the order of the items.

    Threads suit work that releases the interpreter's lock, such as decompression, hashing and matrix products: they
    start at once and copy nothing between processes.

    Args:
        work: Called from several threads.
        items: What it is called with.
        jobs: Number of threads; None takes every core.
    """
    pool = ThreadPoolExecutor(jobs or count_cores())
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C the rest is not worth waiting for
