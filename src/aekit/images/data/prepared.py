"""Decoded images kept on disk: made once, then mapped into memory.

A store is two files in the cache folder, ``<key>.npy`` with the pixels and ``<key>.json`` with their shape, fingerprint
and the files that could not be decoded. The key is a SHA-256 over the bytes of the image files and the options, so a
copied or touched folder is not decoded again. ``<shortcut>.key`` remembers the key of files that have not changed since
by the account of the file system, so that their bytes need not be read either. Nothing that is whole is ever removed;
the folder may be deleted at any time. While a store is made it is ``<key>.partial``, and an interrupted preparation of
the same files goes on with it.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aekit.core.cache import PARTIAL, is_digest, known_key, remember_key, remove_stale, shortcut_key
from aekit.core.damage import NPY_DAMAGE, map_npy
from aekit.core.durable import atomic_write
from aekit.core.environment import cache_folder
from aekit.core.partial import open_partial
from aekit.core.progress import OnProgress
from aekit.errors import AekitError, shown
from aekit.images.data.files import (
    Block,
    Job,
    Shape,
    Survey,
    check_bad,
    common_shape,
    decode_files,
    report_bad,
    survey_files,
)
from aekit.images.data.pixels import Pixels

_FORMAT = "aekit images 2"  # part of every key: raise it when decoding gives other pixels
_MAX_MEMORY_BYTES = 4 * 2**30  # of pixels are held in memory if the cache folder cannot be written
_SETTLED_SECONDS = 2.0  # a file changed later than this may change again without its time stamp showing it


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


def prepare(
    files: Sequence[Path],
    *,
    source: str,
    image_size: tuple[int, int] | None = None,
    grayscale: bool = False,
    skip_bad: bool = False,
    on_progress: OnProgress | None = None,
) -> Prepared:
    """Return the images of some files, decoded, from the cache folder or into it.

    If the cache folder cannot be written, a set of up to 4 GiB is held in memory, and ``on_progress`` is told why.
    After an interrupted process the next one goes on where it stopped; of several at once one works, the others wait.

    Args:
        files: The image files, at least one, in the order of the rows.
        source: What to call them all in messages.
        image_size: (h, w) in pixels that they are resized and cropped to; None keeps theirs, which must be the same.
        grayscale: One channel of luma, whatever they have. Otherwise one if all of them are gray, else three.
        skip_bad: Leave out what cannot be decoded; ``on_progress`` is told the first few.
        on_progress: Called with what is done, the number of files done, and of all files.

    Raises:
        AekitError: A file cannot be read or decoded, sizes differ, no image is left, or a large set has no place.
    """
    job = Job(files, source, image_size, grayscale, skip_bad, on_progress)
    folder = cache_folder() / "images"
    shortcut, newest = shortcut_key(job.files, _options(job))
    prepared = _open(folder, known_key(folder, shortcut))
    if prepared is None:
        # PIL warns about odd metadata, and about large pictures, which are refused.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")
            survey = survey_files(job)
            key = hashlib.sha256(b"".join((_options(job), *survey.digests))).hexdigest()
            prepared = _open(folder, key) or _make(job, survey, folder, key)
        if time.time() - newest > _SETTLED_SECONDS:
            remember_key(folder, shortcut, key=key)
    check_bad(job, prepared.bad)
    report_bad(job, prepared.bad)
    return prepared


def _options(job: Job) -> bytes:
    return hashlib.sha256(repr((_FORMAT, job.size, job.grayscale, len(job.files))).encode()).digest()


def _open(folder: Path, key: str) -> Prepared | None:
    """Return a store of the cache, or None if it is not there or not whole."""
    if not key:
        return None
    pixels = folder / f"{key}.npy"
    try:
        about = json.loads((folder / f"{key}.json").read_text("utf-8"))
        store = map_npy(pixels)
        if store.dtype != np.uint8 or list(store.shape) != about["shape"] or not store.flags.c_contiguous:
            return None
        if pixels.stat().st_size != store.offset + store.nbytes:
            return None
        if not is_digest(about["fingerprint"]):
            return None
        bad = {int(row): str(reason) for row, reason in about["bad"].items()}
        return Prepared(store.view(np.ndarray), about["fingerprint"], bad)
    except NPY_DAMAGE:
        return None


def _make(job: Job, survey: Survey, folder: Path, key: str) -> Prepared:
    """Decode into the cache folder, or into memory if that fails and they are not too many for it."""
    shape = common_shape(job, survey)
    try:
        if prepared := _decode_onto_disk(job, survey, shape, folder / key):
            return prepared
        reason = "it was changed meanwhile"
    except OSError as error:  # of writing: what cannot be read is an AekitError
        reason = error.strerror or str(error)
    if math.prod(shape) > _MAX_MEMORY_BYTES:
        raise AekitError(
            f"{shown(folder)}: the decoded images, {math.prod(shape) / 1e9:.1f} GB, cannot be kept there ({reason}); "
            "make room, or name another folder in AEKIT_CACHE"
        )
    job.report(f"decoding into memory, not {shown(folder)} ({reason})", 0)
    store = np.zeros(shape, np.uint8)

    def hold(row: int, block: Pixels) -> None:
        store[row : row + len(block)] = block

    fingerprint, bad = decode_files(job, survey, shape, hold)
    return Prepared(store, fingerprint, bad)


def _decode_onto_disk(job: Job, survey: Survey, shape: Shape, path: Path) -> Prepared | None:
    """Return the store of these files, made in ``<path>.npy``, or by another process that was at it already."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    head, row_bytes = buffer.getvalue(), math.prod(shape[1:])
    name = str(path)
    with open_partial(
        Path(name + PARTIAL),
        len(head) + shape[0] * row_bytes,
        on_wait=lambda: job.report("waiting for another process, which prepares the same images", 0),
    ) as partial:
        remove_stale(path.parent)
        if prepared := _open(path.parent, path.name):
            return prepared
        done = _blocks(partial.entries, shape[0])
        if done:
            job.report(f"going on after {done[-1].stop:,} images that are prepared already", done[-1].stop)

        def write(row: int, block: Pixels) -> None:
            partial.write(block.data, len(head) + row * row_bytes)

        def record(block: Block) -> None:
            partial.record({"start": block.start, "digests": block.digests.hex(), "bad": block.bad})

        try:
            partial.write(head, 0)
            fingerprint, bad = decode_files(job, survey, shape, write, done=done, on_block=record)
            with atomic_write(Path(name + ".json")) as file:
                file.write(json.dumps({"shape": shape, "fingerprint": fingerprint, "bad": bad}).encode())
            partial.finish(Path(name + ".npy"))
        except OSError:
            if math.prod(shape) <= _MAX_MEMORY_BYTES:
                partial.discard()  # they will be decoded into memory
            raise
        except KeyboardInterrupt as interrupt:
            if kept := _blocks(partial.entries, shape[0]):
                interrupt.args = (f"interrupted with {kept[-1].stop:,} of {shape[0]:,} images prepared; they are kept",)
            raise
        return _open(path.parent, path.name)


def _blocks(entries: Sequence[dict[str, Any]], n_rows: int) -> list[Block]:
    """Return the blocks that a record tells of, as far as they follow each other."""
    blocks: list[Block] = []
    for entry in entries:
        try:
            bad = {int(row): str(reason) for row, reason in entry["bad"].items()}
            block = Block(entry["start"], bytes.fromhex(entry["digests"]), bad)
        except (LookupError, AttributeError, TypeError, ValueError):  # a damaged line; what is behind it is done again
            break
        if block.start != (blocks[-1].stop if blocks else 0) or block.stop > n_rows:
            break
        blocks.append(block)
    return blocks
