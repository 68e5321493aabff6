"""What the stores of the cache folder share: keys of files that have not changed, and what is left of the killed."""

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
_STALE_SECONDS = {TEMPORARY: 24 * 3600.0, PARTIAL: 7 * 24 * 3600.0}  # a file of that age belongs to nobody


def shortcut_key(files: Sequence[Path], options: bytes) -> tuple[str, float]:
    """Return a key of what the file system knows of some files, and when the newest of them changed.

    Args:
        files: The files, in the order of the rows.
        options: What else decides on the content of the store.

    Returns:
        A SHA-256 as hexadecimal digits, and seconds since the epoch.

    Raises:
        AekitError: A file is not there, or may not be looked at.
    """
    digest = hashlib.sha256(options)
    newest = 0.0
    for file in files:
        with readable(file):
            stat = file.stat()
        # Inode and change time catch what keeps size and modification time: cp -p, touch -r, an unpacked archive.
        known = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_dev} {stat.st_ino}"
        digest.update(os.fsencode(file.name) + b"/" + known.encode() + b"/")
        newest = max(newest, stat.st_mtime, stat.st_ctime)
    return digest.hexdigest(), newest


def known_key(folder: Path, shortcut: str) -> str:
    """Return the key that ``shortcut`` stands for, or an empty string if none is known.

    Args:
        folder: Folder of the stores.
        shortcut: From :func:`shortcut_key`.
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
    """Write down that ``shortcut`` stands for ``key``; a folder that cannot be written is no reason to fail."""
    with contextlib.suppress(OSError), atomic_write(folder / f"{shortcut}.key") as file:
        file.write(key.encode())


def remove_stale(folder: Path) -> None:
    """Remove what killed or interrupted processes have left in ``folder`` and nobody has taken up for long."""
    for suffix, stale_s in _STALE_SECONDS.items():
        for path in folder.glob(f"*{suffix}"):
            with contextlib.suppress(OSError):
                # A clock that is set forward makes everything old, so the lock is asked as well.
                if time.time() - path.stat().st_mtime > stale_s:
                    remove_if_unlocked(path, without_locks=True)
