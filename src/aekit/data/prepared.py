"""Decoded images kept on disk: made once, then mapped into memory.

A store is two files in the cache folder, ``<key>.npy`` with the pixels and ``<key>.json`` with their shape, fingerprint
and the files that could not be decoded. The key is a SHA-256 over the bytes of the image files and the options, so a
copied or touched folder is not decoded again. ``<shortcut>.key`` remembers the key of files that have not changed since
by the account of the file system, so that their bytes need not be read either. Nothing is ever removed; the folder may
be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aekit.config import cache_folder
from aekit.data.decode import BadImage, Header, decode, read_header
from aekit.data.image_set import Indices
from aekit.data.pixels import Pixels
from aekit.data.splits import Progress, shown
from aekit.errors import AekitError

_FORMAT = "aekit images 1"  # part of every key: raise it when decoding gives other pixels
_BLOCK_BYTES = 4 << 20  # of pixels that one thread holds at a time
_SETTLED_S = 2.0  # a file changed later than this may change again without its time stamp showing it
_STALE_S = 24 * 3600.0  # a temporary file of that age belongs to nobody


@dataclass(frozen=True)
class Prepared:
    """Decoded images.

    Attributes:
        store: Pixels, uint8 (N, C, H, W), one row a file; rows of files that could not be decoded are zero.
        fingerprint: SHA-256 over shape and pixels.
        bad: Row of each file that could not be decoded -> why.
    """

    store: Pixels
    fingerprint: str
    bad: dict[int, str]


@dataclass(frozen=True)
class _Job:
    """What decoding needs to know."""

    files: Sequence[Path]
    source: str
    size: tuple[int, int] | None
    grayscale: bool
    skip_bad: bool
    on_progress: Progress | None
    digests: list[bytes] = field(default_factory=list)

    def report(self, what: str, done: int) -> None:
        if self.on_progress is not None:
            self.on_progress(what, done, len(self.files))


def prepare(
    files: Sequence[Path],
    *,
    source: str,
    image_size: tuple[int, int] | None = None,
    grayscale: bool = False,
    skip_bad: bool = False,
    on_progress: Progress | None = None,
) -> Prepared:
    """Return the images of some files, decoded, from the cache folder or into it.

    If the cache folder cannot be written, the pixels are held in memory, and ``on_progress`` is told.

    Args:
        files: The image files, at least one, in the order of the rows.
        source: What to call them in messages.
        image_size: (h, w) in pixels that they are resized and cropped to; None keeps theirs, which must be the same.
        grayscale: One channel of luma, whatever they have. Otherwise one if all of them are gray, else three.
        skip_bad: Leave out what cannot be decoded.
        on_progress: Called with what is done, how many files, and how many there are.

    Raises:
        AekitError: A file cannot be read or decoded, sizes differ, or none is left.
    """
    job = _Job(files, source, image_size, grayscale, skip_bad, on_progress)
    folder = cache_folder() / "images"
    shortcut, newest = _shortcut(job)
    prepared = _open(folder, _known_key(folder, shortcut))
    if prepared is None:
        headers, bad = _survey(job)
        key = hashlib.sha256(b"".join((_options(job), *job.digests))).hexdigest()
        prepared = _open(folder, key) or _make(job, headers, bad, folder, key)
        if time.time() - newest > _SETTLED_S:
            with contextlib.suppress(OSError):
                _publish(folder / f"{shortcut}.key", key.encode())
    _check_bad(job, prepared.bad)
    return prepared


def _options(job: _Job) -> bytes:
    return hashlib.sha256(repr((_FORMAT, job.size, job.grayscale, len(job.files))).encode()).digest()


def _shortcut(job: _Job) -> tuple[str, float]:
    """Return a key of what the file system knows of the files, and when the newest of them changed."""
    digest = hashlib.sha256(_options(job))
    newest = 0.0
    for file in job.files:
        with _readable(file):
            stat = file.stat()
        # The inode and its change time catch what keeps size and modification time: cp -p, touch -r, another folder.
        digest.update(os.fsencode(file.absolute()) + b"\0")
        digest.update(f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino} ".encode())
        newest = max(newest, stat.st_mtime, stat.st_ctime)
    return digest.hexdigest(), newest


def _known_key(folder: Path, shortcut: str) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        key = (folder / f"{shortcut}.key").read_text("ascii")
        if len(key) == 64 and key.isalnum():
            return key
    return ""


def _open(folder: Path, key: str) -> Prepared | None:
    """Return a store of the cache, or None if it is not there or not whole."""
    if not key:
        return None
    pixels = folder / f"{key}.npy"
    try:
        about = json.loads((folder / f"{key}.json").read_text("utf-8"))
        store = np.load(pixels, mmap_mode="r", allow_pickle=False)
        is_whole = (
            store.dtype == np.uint8
            and list(store.shape) == about["shape"]
            and store.flags.c_contiguous
            and pixels.stat().st_size == store.offset + store.nbytes
        )
        bad = {int(row): str(reason) for row, reason in about["bad"].items()}
        return Prepared(store.view(np.ndarray), str(about["fingerprint"]), bad) if is_whole else None
    except (OSError, ValueError, EOFError, LookupError, AttributeError, TypeError):
        return None


def _survey(job: _Job) -> tuple[list[Header | None], dict[int, str]]:
    """Read every file once: return the headers and the bad ones, and fill in the digests."""
    headers: list[Header | None] = []
    bad: dict[int, str] = {}

    def survey(file: Path) -> tuple[bytes, Header | None, str]:
        data = _read(file)
        digest = hashlib.sha256(data).digest()
        try:
            return digest, read_header(data), ""
        except BadImage as error:
            return digest, None, str(error)

    with ThreadPoolExecutor(_n_threads()) as pool:
        for row, (digest, header, reason) in enumerate(pool.map(survey, job.files)):
            job.digests.append(digest)
            headers.append(header)
            if header is None:
                bad[row] = reason
                _check_bad(job, bad)
            if row % 256 == 0:
                job.report("reading", row)
    return headers, bad


def _make(job: _Job, headers: list[Header | None], bad: dict[int, str], folder: Path, key: str) -> Prepared:
    shape = _shape(job, headers)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        with _temporary(folder) as (descriptor, temporary):
            prepared = _decode_into(job, shape, bad, descriptor)
            os.fsync(descriptor)
            temporary.replace(folder / f"{key}.npy")
        about = {"shape": shape, "fingerprint": prepared.fingerprint, "bad": prepared.bad}
        _publish(folder / f"{key}.json", json.dumps(about).encode())
    except OSError as error:  # of writing: an image that cannot be read is an AekitError already
        job.report(f"decoding in memory, as {shown(folder)} cannot be written ({error.strerror or error})", 0)
        return _decode_into(job, shape, bad, None)
    return _open(folder, key) or _decode_into(job, shape, bad, None)
