"""A file that is written over several runs of the program, by one process at a time.

It holds its content, whose size is known in advance, followed by a record of what is done: one line of JSON per entry.
A line is written once its part of the content is on disk, so the record is valid even after a crash. When everything is
done, the record is cut off and the file renamed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aekit.core.durable import sync_folder

_SAVE_SECONDS = 2.0  # of work at most are lost when a process is killed


class Partial:
    """A file that is being written.

    Args:
        path: Its path.
        descriptor: The open file.
        n_bytes: Size of the content.

    Attributes:
        entries: The record: entries of earlier processes, and of this one.
        is_settled: Whether it has been finished or removed.
    """

    def __init__(self, path: Path, descriptor: int, n_bytes: int) -> None:
        self.path = path
        self.entries: list[Any] = []
        self._descriptor = descriptor
        self._n_bytes = n_bytes
        self._end = n_bytes  # of the record
        self._pending = b""
        self._saved = time.monotonic()
        self.is_settled = False
        for line in self._read_record().splitlines(keepends=True):
            try:
                self.entries.append(json.loads(line))
            except ValueError:  # truncated by a crash
                break
            self._end += len(line)
        os.truncate(descriptor, self._end)
        os.utime(descriptor)  # it is in use, and so not stale

    def _read_record(self) -> bytes:
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(self._n_bytes)
            return file.read()

    def check_space(self) -> None:
        """Check that the content will fit on the disk.

        Raises:
            OSError: There is not enough space for it.
        """
        missing = self._n_bytes - 512 * os.fstat(self._descriptor).st_blocks
        if shutil.disk_usage(self.path.parent).free < missing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(self, block: bytes | memoryview, offset: int) -> None:
        """Write a part of the content; may be called from several threads.

        Raises:
            OSError: The disk is full.
        """
        if os.pwrite(self._descriptor, block, offset) < memoryview(block).nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def record(self, entry: object) -> None:
        """Record an entry for content that has been written; it is on disk within seconds."""
        self.entries.append(entry)
        self._pending += json.dumps(entry).encode() + b"\n"
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Flush content and record to disk, the content first."""
        if self._pending:
            os.fsync(self._descriptor)
            self.write(self._pending, self._end)
            self._end += len(self._pending)
            self._pending = b""
        self._saved = time.monotonic()

    def finish(self, target: Path) -> None:
        """Cut off the record and rename the file."""
        # The slow steps come before the record is cut off: without it, a killed process would lose all of its work.
        self.save()
        os.fsync(self._descriptor)
        os.truncate(self._descriptor, self._n_bytes)
        os.fsync(self._descriptor)
        self.path.replace(target)
        self.is_settled = True
        sync_folder(target.parent)

    def discard(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
        self.is_settled = True


@contextlib.contextmanager
def open_partial(path: Path, n_bytes: int, *, on_wait: Callable[[], object]) -> Iterator[Partial]:
    """Yield a file to write to, as it was left; if the block fails, it is kept provided that some of it is done.

    Only one process has it at a time: others wait until that one finishes, gives up or is killed.

    Args:
        path: Its path until it is finished; its folder is created.
        n_bytes: Size of the content.
        on_wait: Called before waiting for another process.

    Raises:
        OSError: The folder cannot be created or written, or the disk is too full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open_locked(path, on_wait)
    is_shared = descriptor is not None
    if descriptor is None:  # a file system without locks: write a private file, which nobody will resume
        path = path.with_name(f"{path.stem}-{os.getpid()}{path.suffix}")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        partial = Partial(path, descriptor, n_bytes)
        try:
            partial.check_space()
            yield partial
        finally:
            # As long as the lock is held, no other process has started on the file.
            if not partial.is_settled and not (is_shared and partial.entries):
                partial.discard()
            elif not partial.is_settled:
                with contextlib.suppress(OSError):  # the original error matters more than the last two seconds of work
                    partial.save()
    finally:
        os.close(descriptor)


def _open_locked(path: Path, on_wait: Callable[[], object]) -> int | None:
    """Return a descriptor that holds a lock on ``path`` until the process ends; None if there are no locks."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        # The previous holder of the lock may have renamed or removed the file.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)
