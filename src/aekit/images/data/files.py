"""Many image files: read once for what they share, then decoded on all cores, block by block."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from aekit.core.damage import readable
from aekit.core.environment import count_cores
from aekit.core.progress import OnProgress
from aekit.errors import AekitError, shown
from aekit.images.data.decode import BadImage, Header, decode, read_header
from aekit.images.data.pixels import Pixels

T = TypeVar("T")
Shape = tuple[int, int, int, int]

_BLOCK_BYTES = 4 << 20  # of pixels that one thread holds at a time


@dataclass(frozen=True)
class Job:
    """Which files, and how they are to be decoded.

    Attributes:
        files: The image files, in the order of the rows.
        source: What to call them all in messages.
        size: (h, w) in pixels that they are resized and cropped to; None keeps theirs.
        grayscale: One channel of luma, whatever they have.
        skip_bad: Leave out what cannot be decoded.
        on_progress: Called with what is done, the number of files done, and of all files.
    """

    files: Sequence[Path]
    source: str
    size: tuple[int, int] | None
    grayscale: bool
    skip_bad: bool
    on_progress: OnProgress | None

    def report(self, what: str, n_done: int) -> None:
        """Tell whoever listens how far the work is."""
        if self.on_progress is not None:
            self.on_progress(what, n_done, len(self.files))


@dataclass(frozen=True)
class Survey:
    """What one reading of the files told.

    Attributes:
        digests: SHA-256 of each file.
        headers: Size and colour of each image; None if it is bad.
        bad: Row of each bad file -> why.
    """

    digests: list[bytes]
    headers: list[Header | None]
    bad: dict[int, str]


@dataclass(frozen=True)
class Block:
    """Consecutive rows that are decoded.

    Attributes:
        start: The first of them.
        digests: SHA-256 of the pixels of each, one after the other.
        bad: Row of each file that could not be decoded -> why.
    """

    start: int
    digests: bytes
    bad: dict[int, str]

    @property
    def stop(self) -> int:
        """Return the row behind the last."""
        return self.start + len(self.digests) // hashlib.sha256().digest_size


def survey_files(job: Job) -> Survey:
    """Return what one reading of every file tells, without decoding.

    Raises:
        AekitError: A file cannot be read, or is no image and bad ones are not to be skipped.
    """

    def survey(rows: range) -> list[tuple[bytes, Header | None, str]]:
        found: list[tuple[bytes, Header | None, str]] = []
        for row in rows:
            data = _read(job.files[row])
            digest = hashlib.sha256(data).digest()
            try:
                found.append((digest, read_header(data), ""))
            except BadImage as error:
                found.append((digest, None, str(error)))
        return found

    result = Survey([], [], {})
    for block in _in_threads(job, "reading", survey, n_rows=64):
        for digest, header, reason in block:
            if header is None:
                result.bad[len(result.headers)] = reason
            result.digests.append(digest)
            result.headers.append(header)
        check_bad(job, result.bad)
    return result


def common_shape(job: Job, survey: Survey) -> Shape:
    """Return the shape of all images together, (N, C, H, W); bad ones have their rows.

    Raises:
        AekitError: The images differ in size and none is asked for, or none is good.
    """
    first: dict[tuple[int, int], int] = {}  # size -> the first row that has it
    is_gray = True
    for row, header in enumerate(survey.headers):
        if header is not None:
            first.setdefault((header.height, header.width), row)
            is_gray &= header.is_gray
    if not first:
        raise AekitError(f"{job.source}: none of its {len(job.files):,} images can be decoded; look into the first one")
    if job.size is None and len(first) > 1:
        (size, row), (other_size, other_row) = list(first.items())[:2]
        raise AekitError(
            f"{job.source}: images differ in size, {size[0]}x{size[1]} ({shown(job.files[row].name)}) and "
            f"{other_size[0]}x{other_size[1]} ({shown(job.files[other_row].name)}); give --image-size to resize them"
        )
    return (len(job.files), 1 if job.grayscale or is_gray else 3, *(job.size or next(iter(first))))


def decode_files(
    job: Job,
    survey: Survey,
    shape: Shape,
    write: Callable[[int, Pixels], None],
    *,
    done: Sequence[Block] = (),
    on_block: Callable[[Block], object] = lambda block: None,
) -> tuple[str, dict[int, str]]:
    """Return a SHA-256 over shape and pixels, and the bad rows with the reason, after ``write`` was given all pixels.

    Args:
        job: What to decode, and how.
        survey: What the first reading told; a file that has changed since is refused.
        shape: (N, C, H, W) of all images.
        write: Called from many threads with a first row and the pixels from there on; bad rows are zero.
        done: Blocks from row 0 on, without a gap, that need not be decoded again.
        on_block: Called with each other block, in order, when it was written.

    Raises:
        AekitError: A file cannot be read or decoded.
    """

    def work(rows: range) -> Block:
        block = np.zeros((len(rows), *shape[1:]), np.uint8)
        bad: dict[int, str] = {}
        for pixels, row in zip(block, rows, strict=True):
            if row in survey.bad:
                continue
            data = _read(job.files[row])
            if hashlib.sha256(data).digest() != survey.digests[row]:
                raise AekitError(f"{shown(job.files[row])}: changed while it was read; run the command again")
            try:
                pixels[:] = decode(data, channels=shape[1], size=shape[2:])
            except BadImage as error:
                bad[row] = str(error)
                check_bad(job, bad)
        write(rows.start, block)
        return Block(rows.start, b"".join(hashlib.sha256(pixels.data).digest() for pixels in block), bad)

    # A digest of digests: images are hashed as they come, on all cores, and not read again for it.
    digest = hashlib.sha256(repr(shape).encode())
    bad = dict(survey.bad)
    for block in done:
        digest.update(block.digests)
        bad.update(block.bad)
    check_bad(job, bad)
    start = done[-1].stop if done else 0
    n_rows = max(1, min(64, _BLOCK_BYTES // math.prod(shape[1:])))
    for block in _in_threads(job, "decoding", work, n_rows=n_rows, start=start):
        digest.update(block.digests)
        bad.update(block.bad)
        on_block(block)
    return digest.hexdigest(), bad


def _in_threads(job: Job, what: str, work: Callable[[range], T], *, n_rows: int, start: int = 0) -> Iterator[T]:
    """Yield what ``work`` makes of each block of rows from ``start`` on, in order, computed on all cores.

    Threads, as PIL decodes and resizes without the interpreter's lock: for 10,000 faces of 89x109 pixels they take
    no more processor time than one thread, and processes half a second more to start.
    """
    blocks = [range(row, min(row + n_rows, len(job.files))) for row in range(start, len(job.files), n_rows)]
    pool = ThreadPoolExecutor(count_cores())
    try:
        for rows, result in zip(blocks, pool.map(work, blocks), strict=True):
            job.report(what, rows.stop)
            yield result
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C the rest is not worth waiting for


def check_bad(job: Job, bad: dict[int, str]) -> None:
    """Refuse bad files, unless they are to be skipped and some are good.

    Raises:
        AekitError: Names the first bad file and why it is bad.
    """
    if bad and not job.skip_bad:
        row = min(bad)
        raise AekitError(f"{shown(job.files[row])}: {bad[row]}; mend or remove it, or leave it out with --skip-bad")
    if len(bad) == len(job.files):
        raise AekitError(f"{job.source}: none of its {len(bad):,} images can be decoded; the first one: {bad[0]}")


def report_bad(job: Job, bad: dict[int, str]) -> None:
    """Tell which files were left out: the first three, and how many in all."""
    for row in sorted(bad)[:3]:
        job.report(f"left out {shown(Path(*job.files[row].parts[-2:]))}: {bad[row]}", len(job.files))
    if len(bad) > 3:
        job.report(f"left out {len(bad):,} images in all", len(job.files))


def _read(file: Path) -> bytes:
    with readable(file):
        return file.read_bytes()
