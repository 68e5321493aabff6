"""Decoded images kept on disk: decoded once, then mapped into memory.

A store is two files in the cache folder, ``<key>.npy`` with the pixels and ``<key>.json`` with their shape, fingerprint
and the files that could not be decoded. The key is a SHA-256 over the bytes of the image files and the options, so a
copied or touched folder is not decoded again. ``<shortcut>.key`` holds the key of files that have not changed since
then according to the file system, so that their bytes need not be read either. Complete stores are never removed; the
folder may be deleted at any time. A store that is not complete is ``<key>.partial``, and after an interruption the next
preparation of the same files resumes from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
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
from aekit.core.damage import NPY_DAMAGE
from aekit.core.durable import atomic_write
from aekit.core.environment import cache_folder
from aekit.core.partial import Partial, open_partial
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, count, shown
from aekit.images.data.files import (
    UNREADABLE,
    Block,
    Job,
    Shape,
    Survey,
    Values,
    check_bad,
    common_shape,
    decode_files,
    report_animated,
    report_bad,
    survey_files,
)
from aekit.images.data.pixels import Pixels
from aekit.images.data.whole_store import map_pixels, npy_head

_FORMAT = "aekit images 3"  # part of every key: increase it when decoding changes pixels
_MAX_MEMORY_BYTES = 4 * 2**30  # of pixels to hold in memory if the cache folder cannot be written
_SETTLED_SECONDS = 2.0  # a file changed more recently may change again without a new time stamp


@dataclass(frozen=True)
class Prepared:
    """Decoded images.

    Attributes:
        store: Pixels, uint8 (N, C, H, W), one row per file; rows of files that could not be decoded are zero.
        fingerprint: SHA-256 over shape and pixels.
        bad: Row of each file that could not be decoded -> the reason.
        animated: Row of each file of which only the first frame is used -> the number of frames.
        values: The values that the files hold.
    """

    store: Pixels
    fingerprint: str
    bad: dict[int, str]
    animated: dict[int, int]
    values: Values


def prepare(
    files: Sequence[Path],
    *,
    source: str,
    image_size: tuple[int, int] | None = None,
    grayscale: bool = False,
    skip_bad: bool = False,
    progress: Progress = SILENT,
    pages: Sequence[int] | None = None,
    value_range: tuple[float, float] | None = None,
) -> Prepared:
    """Return the decoded images of some files, from the cache folder or after writing them to it.

    If the cache folder cannot be written, a set of up to 4 GiB is held in memory, and a notice gives the reason. After
    an interruption the next process resumes; if several processes prepare the same files, one works and others wait.

    Args:
        files: The image files, at least one, in the order of the rows.
        source: Their common name in messages.
        image_size: (h, w) in pixels to which they are resized and cropped; None keeps their size, which must be one.
        grayscale: Convert to one channel of luma. Otherwise there is one if all of them are gray, and three if not.
        skip_bad: Leave out files that cannot be decoded, with a notice of the first few.
        progress: Receives the number of files done, and notices.
        pages: Page of each file that is meant; None is the first of each.
        value_range: Values that become 0 and 255; None is the range of each file's type.

    Raises:
        AekitError: A file cannot be read or decoded, sizes differ, no image is left, or there is no room for the set.
    """
    job = Job(files, source, image_size, grayscale, skip_bad, progress, pages, value_range)
    folder = cache_folder() / "images"
    shortcut, newest = shortcut_key(job.files, _options(job))
    prepared = _open(folder, known_key(folder, shortcut))
    if prepared is None:
        # PIL warns about odd metadata, and about large images, which are refused.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")
            survey = survey_files(job)
            key = hashlib.sha256(b"".join((_options(job), *survey.digests))).hexdigest()
            prepared = _open(folder, key) or _make(job, survey, folder, key)
        # A file that cannot be read may be readable later, without any change that the file system records.
        if time.time() - newest > _SETTLED_SECONDS and UNREADABLE not in survey.digests:
            remember_key(folder, shortcut, key=key)
    check_bad(job, prepared.bad)
    report_bad(job, prepared.bad)
    report_animated(job, prepared.animated)
    return prepared


def _options(job: Job) -> bytes:
    pages = None if job.pages is None else list(job.pages)
    options = (_FORMAT, job.size, job.grayscale, len(job.files), pages, job.value_range)
    return hashlib.sha256(repr(options).encode()).digest()


def _open(folder: Path, key: str) -> Prepared | None:
    """Return a store of the cache, or None if it is missing or incomplete."""
    if not key:
        return None
    try:
        about = json.loads((folder / f"{key}.json").read_text("utf-8"))
        store = map_pixels(folder / f"{key}.npy", about["shape"])
        if store is None or not is_digest(about["fingerprint"]):
            return None
        bad = {int(row): str(reason) for row, reason in about["bad"].items()}
        animated = {int(row): int(n) for row, n in about["animated"].items()}
        return Prepared(store, about["fingerprint"], bad, animated, _values(about["values"]))
    except NPY_DAMAGE:
        return None


def _make(job: Job, survey: Survey, folder: Path, key: str) -> Prepared:
    """Decode into the cache folder, or into memory if that fails and the images fit there."""
    shape = common_shape(job, survey)
    try:
        if prepared := _decode_onto_disk(job, survey, shape, folder / key):
            return prepared
        reason = "it was changed in the meantime"
    except OSError as error:  # from writing: a file that cannot be read is an AekitError
        reason = error.strerror or str(error)
    if math.prod(shape) > _MAX_MEMORY_BYTES:
        raise AekitError(
            f"{shown(folder)}: the decoded images, {math.prod(shape) / 1e9:.1f} GB, cannot be stored there ({reason}); "
            "make room, or set AEKIT_CACHE to another folder"
        )
    job.progress.notice(f"decoding into memory, not {shown(folder)} ({reason})")
    store = np.zeros(shape, np.uint8)

    def hold(row: int, block: Pixels) -> None:
        store[row : row + len(block)] = block

    fingerprint, bad, values = decode_files(job, survey, shape, hold)
    return Prepared(store, fingerprint, bad, survey.animated, values)


def _decode_onto_disk(job: Job, survey: Survey, shape: Shape, path: Path) -> Prepared | None:
    """Return the store of these files, written to ``<path>.npy`` by this process or by another one meanwhile."""
    head = npy_head(shape)
    with open_partial(
        Path(f"{path}{PARTIAL}"),
        len(head) + math.prod(shape),
        on_wait=lambda: job.progress.notice("waiting for another process that is preparing the same images"),
    ) as partial:
        remove_stale(path.parent)
        if prepared := _open(path.parent, path.name):
            return prepared
        try:
            partial.write(head, 0)
            about = _decode_into(partial, job, survey, shape, len(head))
            with atomic_write(Path(f"{path}.json")) as file:
                file.write(json.dumps(about).encode())
            partial.finish(Path(f"{path}.npy"))
        except OSError:
            if math.prod(shape) <= _MAX_MEMORY_BYTES:
                partial.discard()  # they will be decoded into memory
            raise
        except KeyboardInterrupt as interrupt:
            if kept := _blocks(partial.entries, shape[0]):
                interrupt.args = (
                    f"interrupted with {kept[-1].stop:,} of {count(shape[0], 'image')} prepared; they are kept",
                )
            raise
        return _open(path.parent, path.name)


def _decode_into(partial: Partial, job: Job, survey: Survey, shape: Shape, n_head: int) -> dict[str, Any]:
    """Return the description of a store after decoding the blocks that are still missing from it."""
    done = _blocks(partial.entries, shape[0])
    if done:
        job.progress.notice(
            f"resuming after {count(done[-1].stop, 'image that is', 'images that are')} already prepared"
        )

    def write(row: int, block: Pixels) -> None:
        partial.write(block.data, n_head + row * math.prod(shape[1:]))

    def record(block: Block) -> None:
        values = dataclasses.asdict(block.values)
        partial.record({"start": block.start, "digests": block.digests.hex(), "bad": block.bad, "values": values})

    fingerprint, bad, values = decode_files(job, survey, shape, write, done=done, on_block=record)
    about = {"shape": shape, "fingerprint": fingerprint, "bad": bad, "animated": survey.animated}
    return {**about, "values": dataclasses.asdict(values)}


def _values(found: dict[str, Any]) -> Values:
    """Return what a description on disk says of the values of the files."""
    spans = {int(full): (float(low), float(high)) for full, (low, high) in found["spans"].items()}
    return Values(spans, int(found["n_clipped"]))


def _blocks(entries: Sequence[dict[str, Any]], n_rows: int) -> list[Block]:
    """Return the blocks in a record, up to the first gap or damaged entry."""
    blocks: list[Block] = []
    for entry in entries:
        try:
            bad = {int(row): str(reason) for row, reason in entry["bad"].items()}
            block = Block(entry["start"], bytes.fromhex(entry["digests"]), bad, _values(entry["values"]))
        except (LookupError, AttributeError, TypeError, ValueError):  # a damaged line: this and the rest is done again
            break
        if block.start != (blocks[-1].stop if blocks else 0) or block.stop > n_rows:
            break
        blocks.append(block)
    return blocks
