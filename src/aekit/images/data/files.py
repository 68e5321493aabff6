"""Many image files: read once to find their common shape, then decoded on all cores, block by block."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from aekit.core.progress import Progress
from aekit.core.threads import in_threads
from aekit.errors import AekitError, count, shown
from aekit.images.data.bad_images import BadImagesError
from aekit.images.data.decode import BadImage, Header, decode_image, read_header
from aekit.images.data.pixels import LEFT_OUT, DifferentSizes, NoImages, Pixels
from aekit.images.sizes import in_pixels

T = TypeVar("T")
Shape = tuple[int, int, int, int]

_BLOCK_BYTES = 4 << 20  # of pixels that one thread holds at a time
_N_SIZES = 3  # that are named if images differ in size
UNREADABLE = hashlib.sha256(b"cannot be read").digest()  # instead of the digest of such a file


@dataclass(frozen=True)
class Job:
    """Which files to decode, and how.

    Attributes:
        files: The image files, in the order of the rows.
        source: Their common name in messages.
        size: (h, w) in pixels to which they are resized and cropped; None keeps their size.
        grayscale: Convert to one channel of luma.
        skip_bad: Leave out files that cannot be decoded.
        progress: Receives the number of files done, and notices.
        pages: Page of each file that is meant; None is the first of each.
        value_range: Values that become 0 and 255; None is the range of each file's type.
    """

    files: Sequence[Path]
    source: str
    size: tuple[int, int] | None
    grayscale: bool
    skip_bad: bool
    progress: Progress
    pages: Sequence[int] | None = None
    value_range: tuple[float, float] | None = None

    def name(self, row: int) -> str:
        """Return the last two parts of a file's path, and its page if it has several."""
        page = f" page {self.pages[row] + 1}" if self.pages is not None and self.pages[row] else ""
        return shown(Path(*self.files[row].parts[-2:])) + page

    def path(self, row: int) -> str:
        """Return the path of a file, and its page if that is not the first."""
        return shown(self.files[row]) + (f" page {self.page(row) + 1}" if self.page(row) else "")

    def page(self, row: int) -> int:
        """Return the page of a row, from 0."""
        return 0 if self.pages is None else self.pages[row]


@dataclass(frozen=True)
class Values:
    """The values that some files hold, before they become bytes.

    Attributes:
        spans: Largest value of the type, 255 to 65535 or 1 for floats -> (smallest, largest value) in those files.
        n_clipped: Number of images with values outside the range that was asked for.
    """

    spans: dict[int, tuple[float, float]] = field(default_factory=dict)
    n_clipped: int = 0

    def __add__(self, other: Values) -> Values:
        spans = dict(self.spans)
        for full, (low, high) in other.spans.items():
            before = spans.get(full, (low, high))
            spans[full] = min(before[0], low), max(before[1], high)
        return Values(spans, self.n_clipped + other.n_clipped)


@dataclass(frozen=True)
class Survey:
    """The result of reading all files once.

    Attributes:
        digests: SHA-256 of each file; ``UNREADABLE`` if it cannot be opened.
        headers: Size and colour of each image; None if it is bad.
        bad: Row of each bad file -> the reason.
        animated: Row of each file with several frames, of which the first is used -> their number.
    """

    digests: list[bytes]
    headers: list[Header | None]
    bad: dict[int, str]
    animated: dict[int, int]


@dataclass(frozen=True)
class Block:
    """Consecutive rows that have been decoded.

    Attributes:
        start: The first row.
        digests: SHA-256 of the pixels of each row, concatenated.
        bad: Row of each file that could not be decoded -> the reason.
        values: The values that its files hold.
    """

    start: int
    digests: bytes
    bad: dict[int, str]
    values: Values

    @property
    def stop(self) -> int:
        """Return the row after the last."""
        return self.start + len(self.digests) // hashlib.sha256().digest_size


def survey_files(job: Job) -> Survey:
    """Return digests and headers of all files, each read once and none decoded.

    Raises:
        AekitError: A file cannot be read or is not an image, and bad files are not to be skipped.
    """

    def survey(rows: range) -> list[tuple[bytes, Header | None, str]]:
        found: list[tuple[bytes, Header | None, str]] = []
        for row, data, digest, problem in _read_each(job, rows):
            if problem:
                found.append((digest, None, problem))
                continue
            try:
                found.append((digest, read_header(data, page=job.page(row), suffix=job.files[row].suffix), ""))
            except BadImage as error:
                found.append((digest, None, str(error)))
        return found

    result = Survey([], [], {}, {})
    for block in _in_threads(job, "reading", survey, n_rows=64):
        for digest, header, reason in block:
            if header is None:
                result.bad[len(result.headers)] = reason
            elif header.n_frames > 1:
                result.animated[len(result.headers)] = header.n_frames
            result.digests.append(digest)
            result.headers.append(header)
        check_bad(job, result.bad)
    return result


def common_shape(job: Job, survey: Survey) -> Shape:
    """Return the shape of all images together, (N, C, H, W); bad ones have a row as well.

    Raises:
        AekitError: The images differ in size and no size is requested, or all are bad.
    """
    rows: dict[tuple[int, int], list[int]] = {}  # by size
    is_gray = True
    for row, header in enumerate(survey.headers):
        if header is not None:
            rows.setdefault((header.height, header.width), []).append(row)
            is_gray &= header.is_gray
    if not rows:
        raise AekitError(
            f"{job.source}: none of its {count(len(job.files), 'image')} can be decoded; check the first one"
        )
    if job.size is None and len(rows) > 1:
        text = f"{job.source}: images differ in size: {_count_sizes(job, rows)}; give --image-size to resize them"
        raise DifferentSizes(text, {job.path(row): reason for row, reason in sorted(survey.bad.items())})
    return (len(job.files), 1 if job.grayscale or is_gray else 3, *(job.size or next(iter(rows))))


def _count_sizes(job: Job, rows: dict[tuple[int, int], list[int]]) -> str:
    """Return how many images have each of the most frequent sizes, with an example, and how many have others."""
    frequent = sorted(rows.items(), key=lambda item: -len(item[1]))
    parts = [f"{len(own):,} of {in_pixels(*size)} ({job.name(own[0])})" for size, own in frequent[:_N_SIZES]]
    if others := frequent[_N_SIZES:]:
        n = sum(len(own) for _, own in others)
        parts.append(f"{n:,} of {'another size' if len(others) == 1 else f'{len(others):,} other sizes'}")
    return "; ".join(parts)


def decode_files(
    job: Job,
    survey: Survey,
    shape: Shape,
    write: Callable[[int, Pixels], None],
    *,
    done: Sequence[Block] = (),
    on_block: Callable[[Block], object] = lambda block: None,
) -> tuple[str, dict[int, str], Values]:
    """Pass all pixels to ``write``; return a SHA-256 over shape and pixels, the bad rows, and what values there were.

    Args:
        job: What to decode, and how.
        survey: The survey of these files; a file that has changed since then is refused.
        shape: (N, C, H, W) of all images.
        write: Called from several threads with the first row and the pixels of a block; bad rows are zero.
        done: Blocks from row 0 on, without a gap, that need not be decoded again.
        on_block: Called with each further block, in order, once it is written.

    Raises:
        AekitError: A file cannot be read or decoded.
    """

    def work(rows: range) -> Block:
        block = np.zeros((len(rows), *shape[1:]), np.uint8)
        bad: dict[int, str] = {}
        values = Values()
        for pixels, (row, data, digest, _) in zip(block, _read_each(job, rows), strict=True):
            if row in survey.bad:
                continue
            if digest != survey.digests[row]:
                raise AekitError(f"{shown(job.files[row])}: changed while it was being read; run the command again")
            try:
                decoded = decode_image(
                    data,
                    channels=shape[1],
                    size=shape[2:],
                    page=job.page(row),
                    suffix=job.files[row].suffix,
                    value_range=job.value_range,
                )
            except BadImage as error:
                bad[row] = str(error)
                check_bad(job, bad)
                continue
            pixels[:] = decoded.pixels
            values += Values({decoded.full: (decoded.low, decoded.high)}, int(decoded.is_clipped))
        write(rows.start, block)
        digests = b"".join(hashlib.sha256(pixels.data).digest() for pixels in block)
        return Block(rows.start, digests, bad, values)

    # A digest of digests: images are hashed as they are decoded, on all cores, and need not be read again.
    digest = hashlib.sha256(repr(shape).encode())
    bad, values = dict(survey.bad), Values()
    for block in done:
        digest.update(block.digests)
        bad.update(block.bad)
        values += block.values
    check_bad(job, bad)
    start = done[-1].stop if done else 0
    n_rows = max(1, min(64, _BLOCK_BYTES // math.prod(shape[1:])))
    for block in _in_threads(job, "decoding", work, n_rows=n_rows, start=start):
        digest.update(block.digests)
        bad.update(block.bad)
        values += block.values
        on_block(block)
    return digest.hexdigest(), bad, values


def _in_threads(job: Job, what: str, work: Callable[[range], T], *, n_rows: int, start: int = 0) -> Iterator[T]:
    """Yield the result of ``work`` for each block of rows from ``start`` on, in order, computed on all cores.

    Threads suffice, as PIL decodes and resizes without the interpreter's lock: for 10,000 faces of 89x109 pixels they
    take no more processor time than a single thread, and processes take half a second longer to start.
    """
    blocks = [range(row, min(row + n_rows, len(job.files))) for row in range(start, len(job.files), n_rows)]
    with contextlib.closing(in_threads(work, blocks)) as results:  # an error or Ctrl-C ends the threads at once
        for rows, result in zip(blocks, results, strict=True):
            job.progress.update(what, rows.stop, len(job.files))
            yield result


def check_bad(job: Job, bad: dict[int, str]) -> None:
    """Check that there are no bad files, or that they are to be skipped and some are good.

    Raises:
        AekitError: Names the first bad file and why it is bad.
    """
    if bad and not job.skip_bad:
        row = min(bad)
        raise BadImagesError(f"{job.path(row)}: {bad[row]}; fix or remove it")
    if len(bad) == len(job.files):
        text = f"{job.source}: none of its {count(len(bad), 'image')} can be decoded; the first one: {bad[0]}"
        raise NoImages(text, {job.path(row): reason for row, reason in sorted(bad.items())})


def report_bad(job: Job, bad: dict[int, str]) -> None:
    """Give notice of the files that were left out: the first three, and the total."""
    for row in sorted(bad)[:3]:
        job.progress.notice(f"{LEFT_OUT} {job.name(row)}: {bad[row]}")
    if len(bad) > 3:
        job.progress.notice(f"{LEFT_OUT} {len(bad):,} images in total")


def report_animated(job: Job, animated: dict[int, int]) -> None:
    """Give notice of files of which only the first frame is used."""
    if animated:
        row, n_frames = next(iter(animated.items()))
        files = "1 file holds" if len(animated) == 1 else f"{len(animated):,} files hold"
        job.progress.notice(
            f"{job.source}: {files} several frames ({job.name(row)}: {n_frames}); the first of each is used"
        )


def _read_each(job: Job, rows: range) -> Iterator[tuple[int, bytes, bytes, str]]:
    """Yield the bytes of the file of each row, their SHA-256 and why it cannot be read; once for its pages in a row."""
    before: tuple[Path, bytes, bytes, str] | None = None
    for row in rows:
        file = job.files[row]
        if before is None or before[0] != file:
            try:
                data = file.read_bytes()
            except OSError as error:
                before = file, b"", UNREADABLE, f"cannot be read ({error.strerror or error})"
            else:
                before = file, data, hashlib.sha256(data).digest(), ""
        yield row, *before[1:]
