"""Brain volumes on one grid, scaled, prepared once and kept in a file that is mapped into memory.

A store is three files in the cache folder: ``<key>.npy`` with the images, ``<key>.rows.npy`` with the numbers of each
row, and ``<key>.json`` with the rest. The key is a SHA-256 over the bytes of the files, the grid and the version of the
format, so a copied or touched folder is not prepared again; :mod:`aekit.core.cache` has the shortcut past the bytes.
Stores are never removed; the folder may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aekit.brains.volumes.gridding import N_BINS, Grid, to_grid
from aekit.brains.volumes.nifti import BadVolume, Triple, check_values, decode_volume, volume_digest
from aekit.core.cache import known_key, remember_key, remove_stale, shortcut_key
from aekit.core.damage import NPY_DAMAGE, map_npy
from aekit.core.durable import atomic_write
from aekit.core.environment import cache_folder
from aekit.core.progress import SILENT, Progress
from aekit.core.threads import in_threads
from aekit.errors import AekitError, count, shown

Halves = npt.NDArray[np.float16]
Floats = npt.NDArray[np.float64]

MAX_NAMED = 20  # bad files in one message

_FORMAT = "aekit volumes 3"  # part of every key: increase it when the numbers change
_SETTLED_SECONDS = 2.0  # a file changed more recently may change again with the same time stamp
_N_NUMBERS = N_BINS + 5  # per row: histogram in mL, brain in mL, scale, spacing in mm


@dataclass(frozen=True)
class PreparedVolumes:
    """Brains on a common grid; rows of files that could not be used are zero.

    Attributes:
        images: Scaled intensities, float16 (N, X, Y, Z) in [0, 1.28], background 0; a memory map, read-only.
        histograms_ml: mL of brain per bin of scaled intensity, float32 (N, N_BINS); see
            :class:`aekit.brains.volumes.gridding.GriddedBrain`.
        brain_ml: Volume of each brain mask, float64 (N,).
        scale: The intensity of the file that became 1, float64 (N,).
        spacing_mm: Voxel size of the files along R, A and S, float64 (N, 3).
        shapes: Shape of the volumes as stored in the files.
        warnings: Row -> what is unusual about it.
        fingerprint: SHA-256 over the images.
        digests: SHA-256 of voxels and affine of each file, the same for copies of a scan; empty for bad files.
        bad: Row of each file that cannot be used -> why; empty unless such files are skipped.
    """

    images: Halves
    histograms_ml: npt.NDArray[np.float32]
    brain_ml: Floats
    scale: Floats
    spacing_mm: Floats
    shapes: list[Triple]
    warnings: dict[int, tuple[str, ...]]
    fingerprint: str
    digests: list[str]
    bad: dict[int, str]


def prepare_volumes(
    paths: Sequence[Path],
    grid: Grid,
    *,
    correct_bias: bool = False,
    spacing_mm: float | None = None,
    skip_bad: bool = False,
    jobs: int | None = None,
    progress: Progress = SILENT,
) -> PreparedVolumes:
    """Return brain volumes on a common grid, from the cache folder; what is not there yet is prepared into it.

    If the cache folder cannot be written, the images are held in memory, and a notice says why.

    Args:
        paths: The files, at least one, in the order of the rows.
        grid: The grid that all of them are averaged to.
        correct_bias: Remove the bias field of each.
        spacing_mm: Voxel size of .npy files, which have none; None assumes 1 mm and warns.
        skip_bad: Leave files that cannot be used as rows of zeros and list them in ``bad``.
        jobs: Threads to work with; None uses all cores.
        progress: Shows how many files are done.

    Raises:
        AekitError: Some files cannot be used, all of them named at once; or with ``skip_bad``, all of them.
    """
    job = _Job(tuple(paths), grid, correct_bias, spacing_mm, jobs, progress)
    folder = cache_folder() / "volumes"
    shortcut, newest = shortcut_key(job.paths, job.options)
    prepared = _open(folder, known_key(folder, shortcut))
    if prepared is None:
        digests = _hash_files(job)
        key = hashlib.sha256(b"".join((job.options, *digests))).hexdigest()
        prepared = _open(folder, key) or _make(job, digests, folder, key)
        if time.time() - newest > _SETTLED_SECONDS:
            remember_key(folder, shortcut, key=key)
    _check_bad(job, prepared.bad, skip_bad=skip_bad)
    return prepared


def take_rows(prepared: PreparedVolumes, rows: npt.NDArray[np.int64]) -> PreparedVolumes:
    """Return some rows of prepared volumes, none of them bad."""
    if np.array_equal(rows, np.arange(len(prepared.images))):
        return prepared
    numbered = {int(row): number for number, row in enumerate(rows)}
    return replace(
        prepared,
        images=prepared.images[rows],
        histograms_ml=prepared.histograms_ml[rows],
        brain_ml=prepared.brain_ml[rows],
        scale=prepared.scale[rows],
        spacing_mm=prepared.spacing_mm[rows],
        shapes=[prepared.shapes[row] for row in rows],
        warnings={numbered[row]: texts for row, texts in prepared.warnings.items() if row in numbered},
        digests=[prepared.digests[row] for row in rows],
        bad={},
    )


@dataclass(frozen=True)
class _Job:
    paths: tuple[Path, ...]
    grid: Grid
    correct_bias: bool
    spacing_mm: float | None
    jobs: int | None
    progress: Progress

    @property
    def options(self) -> bytes:
        known = (
            _FORMAT,
            self.grid.size,
            float(self.grid.spacing_mm),
            self.correct_bias,
            self.spacing_mm,
            len(self.paths),
        )
        return hashlib.sha256(repr(known).encode()).digest()

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.paths), *self.grid.size)

    def report(self, what: str, n_done: int) -> None:
        self.progress.update(what, n_done, len(self.paths))


@dataclass(frozen=True)
class _Row:
    """The result of one file, without its image."""

    numbers: Floats  # (_N_NUMBERS,)
    shape: Triple
    warnings: tuple[str, ...]
    digest: str
    image_digest: bytes
    problem: str


def _hash_files(job: _Job) -> list[bytes]:
    """Return the SHA-256 of each file's bytes; empty if it cannot be read, which decoding will report."""
    digests: list[bytes] = []
    for digest in in_threads(_hash_file, job.paths, jobs=job.jobs):
        digests.append(digest)
        job.report("reading volumes", len(digests))
    return digests


def _hash_file(path: Path) -> bytes:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
    return b""


def _open(folder: Path, key: str) -> PreparedVolumes | None:
    """Return a store of the cache, or None if it is not there or not whole."""
    if not key:
        return None
    path = folder / f"{key}.npy"
    try:
        about = json.loads((folder / f"{key}.json").read_text("utf-8"))
        # Mapped, as a header may state any shape: numpy would allocate memory before it checks the size of the file.
        numbers = map_npy(folder / f"{key}.rows.npy")
        images = map_npy(path)
        shape = tuple(about["shape"])
        if images.dtype != np.float16 or images.shape != shape or not images.flags.c_contiguous:
            return None
        if path.stat().st_size != images.offset + images.nbytes or numbers.shape != (shape[0], _N_NUMBERS):
            return None
        if numbers.dtype != np.float64 or not np.all(np.abs(numbers) <= np.finfo(np.float32).max):
            return None
        found = _prepared(images.view(np.ndarray), numbers.view(np.ndarray), about)
        rows = {*found.warnings, *found.bad}
        is_whole = len(found.shapes) == len(found.digests) == shape[0] and rows <= set(range(shape[0]))
        return found if is_whole else None
    except NPY_DAMAGE:
        return None


def _prepared(images: Halves, numbers: Floats, about: dict[str, Any]) -> PreparedVolumes:
    return PreparedVolumes(
        images=images,
        histograms_ml=numbers[:, :N_BINS].astype(np.float32),
        brain_ml=numbers[:, N_BINS].copy(),
        scale=numbers[:, N_BINS + 1].copy(),
        spacing_mm=numbers[:, N_BINS + 2 :].copy(),
        shapes=[cast(Triple, tuple(map(int, shape))) for shape in about["shapes"]],
        warnings={int(row): tuple(map(str, texts)) for row, texts in about["warnings"].items()},
        fingerprint=str(about["fingerprint"]),
        digests=[str(digest) for digest in about["digests"]],
        bad={int(row): str(reason) for row, reason in about["bad"].items()},
    )


def _make(job: _Job, digests: Sequence[bytes], folder: Path, key: str) -> PreparedVolumes:
    """Prepare into the cache folder, or into memory if that fails."""
    try:
        remove_stale(folder)
        with atomic_write(folder / f"{key}.npy") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": job.shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.flush()
            start, row_bytes = file.tell(), 2 * math.prod(job.grid.size)
            file.truncate(start + len(job.paths) * row_bytes)

            def write(row: int, image: Halves) -> None:
                if os.pwrite(file.fileno(), image.data, start + row * row_bytes) < image.nbytes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            numbers, about = _fill(job, digests, write)
        with atomic_write(folder / f"{key}.rows.npy") as file:
            np.save(file, numbers, allow_pickle=False)
        with atomic_write(folder / f"{key}.json") as file:
            file.write(json.dumps(about).encode())
        if prepared := _open(folder, key):
            return prepared
        reason = "it was changed in the meantime"
    except OSError as error:  # of writing: files that cannot be read are listed in ``bad``
        reason = error.strerror or str(error)
    job.progress.notice(f"decoding into memory, not {shown(folder)} ({reason})")
    images = np.zeros(job.shape, np.float16)
    numbers, about = _fill(job, digests, images.__setitem__)
    return _prepared(images, numbers, json.loads(json.dumps(about)))


def _fill(job: _Job, digests: Sequence[bytes], write: Callable[[int, Halves], None]) -> tuple[Floats, dict[str, Any]]:
    """Return the numbers of all rows, (N, _N_NUMBERS), and the rest; ``write`` is called with every image."""
    rows: list[_Row] = []
    # A digest of digests: each thread hashes its images, and none is read again for it.
    fingerprint = hashlib.sha256(repr(job.shape).encode())
    # Each thread works on its own volume: more threads within the matrix products take twice the processor time.
    with threadpool_limits(1, user_api="blas"):
        for row in in_threads(lambda number: _work(job, digests, write, number), range(len(job.paths)), jobs=job.jobs):
            rows.append(row)
            fingerprint.update(row.image_digest)
            job.report("preparing volumes", len(rows))
    about = {
        "shape": job.shape,
        "shapes": [row.shape for row in rows],
        "warnings": {number: row.warnings for number, row in enumerate(rows) if row.warnings},
        "digests": [row.digest for row in rows],
        "bad": {number: row.problem for number, row in enumerate(rows) if row.problem},
        "fingerprint": fingerprint.hexdigest(),
    }
    return np.stack([row.numbers for row in rows]), about


def _work(job: _Job, digests: Sequence[bytes], write: Callable[[int, Halves], None], number: int) -> _Row:
    path = job.paths[number]
    try:
        volume = decode_volume(path, job.spacing_mm)
        check_values(volume.data)
        gridded = to_grid(volume, job.grid, correct_bias=job.correct_bias)
    except BadVolume as error:
        return _Row(np.zeros(_N_NUMBERS), (0, 0, 0), (), "", b"", str(error))
    if _hash_file(path) != digests[number]:
        raise AekitError(f"{shown(path)}: changed while it was read; run the command again")
    image = gridded.image.astype("<f2")
    write(number, image)
    numbers = np.concatenate([gridded.histogram_ml, [gridded.brain_ml, gridded.scale], volume.spacing_mm])
    image_digest = hashlib.sha256(image.data).digest()
    return _Row(numbers, volume.shape, gridded.warnings, volume_digest(volume), image_digest, "")


def _check_bad(job: _Job, bad: dict[int, str], *, skip_bad: bool) -> None:
    """Raise an AekitError that names bad files, at most twenty, unless they are skipped and some are good."""
    if not bad or (skip_bad and len(bad) < len(job.paths)):
        return
    first = next(iter(bad))
    if len(job.paths) == 1:
        remedy = "fix it, or give another file"
    elif len(bad) == len(job.paths):
        remedy = "give other files"
    else:
        them = "it" if len(bad) == 1 else "them"
        remedy = f"fix {them}, or leave {them} out with --skip-bad"
    if len(bad) == 1:
        raise AekitError(f"{shown(job.paths[first])}: {bad[first]}; {remedy}")
    named = [f"{shown(job.paths[row].name)} ({bad[row]})" for row in list(bad)[:MAX_NAMED]]
    if len(bad) > MAX_NAMED:
        named.append(f"and {len(bad) - MAX_NAMED:,} more")
    folder = shown(job.paths[first].parent)
    what = f"{len(bad):,} of {count(len(job.paths), 'volume')} cannot be used"
    raise AekitError(f"{folder}: {what}: {', '.join(named)}; {remedy}")
