"""Files that are either complete or absent, whatever ends the program: a kill, a full disk, a loss of power.

Locks are flock's, as the system releases them when their process ends, for whatever reason. On file systems without
locks, everything works without them.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from aekit.errors import AekitError

TEMPORARY = ".tmp"
# To wait for the current writer of an output to end: processes of a command that was killed take a moment to notice.
PATIENCE_SECONDS = 5.0
_POLL_SECONDS = 0.05


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes ``path`` when the block ends, and is removed if the block fails.

    Readers see either the old file or the new one; of several writers the last one wins. Leftovers of a killed process
    that wrote the same file are overwritten.

    Args:
        path: The file; its folder is created.

    Raises:
        OSError: The folder cannot be created or written, or the disk is full.
    """
    make_folder(path.parent)
    descriptor, temporary = _open_temporary(path)
    with os.fdopen(descriptor, "wb") as file:
        # It is renamed or removed while it is open and therefore locked: afterwards it may belong to another writer.
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    sync_folder(path.parent)


def _open_temporary(path: Path) -> tuple[int, Path]:
    """Return an empty file next to ``path``, locked for as long as it is open.

    Its name is always the same, except with several writers at once: leftovers of a killed process are overwritten.
    """
    for number in itertools.count():
        temporary = path.with_name(f".{path.name}{f'.{number}' if number else ''}{TEMPORARY}")
        try:
            # No symbolic link: the name is predictable, and others may be able to write to the folder.
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except PermissionError:
            if temporary.exists():  # another user's
                continue
            raise
        try:
            if _is_locked_now(descriptor, temporary):
                if os.fstat(descriptor).st_size:  # left by a process that was killed
                    os.truncate(descriptor, 0)
                return descriptor, temporary
        except BlockingIOError:
            pass
        except OSError:  # a file system without locks
            os.close(descriptor)
            with contextlib.suppress(OSError):
                temporary.unlink()
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
            return descriptor, Path(name)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise AssertionError("itertools.count is infinite")


def _is_locked_now(descriptor: int, path: Path) -> bool:
    """Lock an open file, and return whether it still has that name: another process may have renamed or removed it.

    Raises:
        BlockingIOError: Another process has locked it.
        OSError: The file system has no locks.
    """
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


@contextlib.contextmanager
def one_writer(path: Path) -> Iterator[None]:
    """Keep other processes from writing ``path`` while the block runs, by a lock file ``.<name>.lock`` next to it.

    Where such a file cannot be created, as in a read-only folder, there is no protection.

    Args:
        path: The file to write; its folder is created.

    Raises:
        AekitError: Another process is writing it.
    """
    lock, new = _lock_of(path), list[Path]()
    with contextlib.suppress(OSError):  # writing the result will raise the reason
        new = make_folder(path.parent)
    descriptor = _take(lock, path)
    try:
        yield
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):
                lock.unlink()  # before the lock is released, or it may already belong to another process
            os.close(descriptor)
        with contextlib.suppress(OSError):
            for folder in new:  # those that stayed empty
                folder.rmdir()


def remove_if_unlocked(path: Path, *, without_locks: bool = False) -> None:
    """Remove a file unless a running process has locked it.

    Args:
        path: The file; it need not exist.
        without_locks: Also remove it on file systems without locks.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            if _is_locked_now(descriptor, path):
                path.unlink()
        except BlockingIOError:
            pass
        except OSError:
            if without_locks:
                path.unlink()
        finally:
            os.close(descriptor)


def forget_writer(path: Path) -> None:
    """Remove the lock file of a process that was killed after it had written ``path``."""
    remove_if_unlocked(_lock_of(path))


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _take(lock: Path, path: Path) -> int | None:
    """Return the descriptor of a locked file; None if locking is not possible."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError:
            return None
        try:
            if _is_locked_now(descriptor, lock):
                with contextlib.suppress(OSError):  # the disk is full: then the lock does not name its owner
                    os.truncate(descriptor, 0)
                    os.pwrite(descriptor, f"process {os.getpid()} on {platform.node()}".encode(), 0)
                return descriptor
        except BlockingIOError:
            if time.monotonic() > give_up:
                owner = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
                os.close(descriptor)
                raise AekitError(
                    f"{path}: is being written by {owner}; wait for it to end, or choose another --output"
                ) from None
            time.sleep(_POLL_SECONDS)
        except OSError:  # a file system without locks
            os.close(descriptor)
            with contextlib.suppress(OSError):
                lock.unlink()
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a folder while the block runs, so that :func:`remove_abandoned` does not remove it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def remove_abandoned(folder: Path, pattern: str) -> None:
    """Remove folders whose processes have ended: those that no process holds, on file systems with locks."""
    for left in folder.glob(pattern):
        with contextlib.suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(descriptor)


def make_folder(folder: Path) -> list[Path]:
    """Create a folder and its missing parents, and return the new ones, the innermost first.

    Raises:
        OSError: It cannot be created.
    """
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in new:
        sync_folder(place.parent)
    return new


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, so that a rename survives a loss of power."""
    with contextlib.suppress(OSError):  # some file systems do not support it
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
