"""Shared by all stores in the cache folder: keys of unchanged files, and removal of what killed processes left."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from aekit.core.damage import readable
from aekit.core.durable import TEMPORARY, atomic_write, remove_if_unlocked

PARTIAL = ".partial"
_STALE_SECONDS = {TEMPORARY: 24 * 3600.0, PARTIAL: 7 * 24 * 3600.0}  # age at which a file is abandoned


def shortcut_key(files: Sequence[Path], options: bytes) -> tuple[str, float]:
    """Return a key of the file system's records of some files, and the time of the latest change among them.

    Args:
        files: The files, in the order of the rows.
        options: Everything else that determines the content of the store.

    Returns:
        A SHA-256 as hexadecimal digits, and seconds since the epoch.

    Raises:
        AekitError: A file does not exist, or cannot be accessed.
    """
    digest = hashlib.sha256(options)
    newest = 0.0
    for file in files:
        with readable(file):
            stat = file.stat()
        # Inode and change time reveal changes that keep size and modification time: cp -p, touch -r, unpacked archives.
        known = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_dev} {stat.st_ino}"
        digest.update(os.fsencode(file.name) + b"/" + known.encode() + b"/")
        newest = max(newest, stat.st_mtime, stat.st_ctime)
    return digest.hexdigest(), newest


def known_key(folder: Path, shortcut: str) -> str:
    """Return the key that was remembered for ``shortcut``, or an empty string if there is none.

    Args:
        folder: Folder of the stores.
        shortcut: Result of :func:`shortcut_key`.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        key = (folder / f"{shortcut}.key").read_text("ascii")
        if is_digest(key):
            return key
    return ""


def is_digest(value: object) -> bool:
    """Return whether a value from a file is a SHA-256 in hexadecimal digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def remember_key(folder: Path, shortcut: str, *, key: str) -> None:
    """Remember ``key`` for ``shortcut``; a folder that cannot be written is ignored."""
    with contextlib.suppress(OSError), atomic_write(folder / f"{shortcut}.key") as file:
        file.write(key.encode())


def remove_stale(folder: Path) -> None:
    """Remove files that killed or interrupted processes left in ``folder``, if nothing has used them for long."""
    for suffix, stale_s in _STALE_SECONDS.items():
        for path in folder.glob(f"*{suffix}"):
            with contextlib.suppress(OSError):
                # A clock that is set forward makes everything old, so the lock is checked as well.
                if time.time() - path.stat().st_mtime > stale_s:
                    remove_if_unlocked(path, without_locks=True)
