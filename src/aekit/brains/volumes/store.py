"""Brain volumes on one grid, scaled, prepared once and kept in a file that is mapped into memory.

A store is three files in the cache folder: ``<key>.npy`` with the images, ``<key>.rows.npy`` with the numbers of each
row, and ``<key>.json`` with the rest; where they are aligned, ``<key>.template.npy`` is the fourth. The key is a
SHA-256 over the bytes of the files, the grid, the version of the format, and how and to what scans are aligned, so a
copied or touched folder is not prepared again; :mod:`aekit.core.cache` has the shortcut past the bytes.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aekit.brains.config import Intensity, Register
from aekit.brains.volumes.gridding import N_BINS, Grid, to_grid
from aekit.brains.volumes.nifti import BadVolume, Triple, check_values, decode_volume, volume_digest
from aekit.brains.volumes.registration import WORKING_GRID, Alignment
from aekit.brains.volumes.template import POSE_NUMBERS, Template, align_all, build_template, pose_of, pose_warnings
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

_FORMAT = "aekit volumes 6"  # part of every key: increase it when the numbers change
_ALIGNMENT = "alignment 1"  # part of the keys of aligned scans: increase it when poses or templates change
_SETTLED_SECONDS = 2.0  # a file changed more recently may change again with the same time stamp
_N_NUMBERS = N_BINS + 7  # per row: histogram in mL, brain in mL, scale, spacing in mm, blur, size of the bias field


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
        blur: How blurred each file is, float64 (N,); see :func:`aekit.brains.volumes.blur.measure_blur`.
        field_size: SD of the log of each one's bias field, float64 (N,); 0 if bias fields are not corrected.
        poses: Where each brain lies relative to the template, float64 (N, 13), see
            :func:`aekit.brains.volumes.template.align_all`; (N, 0) if they are not aligned.
        template: What they are aligned to; None if they are not.
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
    blur: Floats
    field_size: Floats
    poses: Floats = field(default_factory=lambda: np.empty((0, 0)))
    template: Template | None = None

    def __post_init__(self) -> None:
        """Give scans that are not aligned a row of no numbers each, so that they can be taken row by row."""
        if self.template is None:
            object.__setattr__(self, "poses", np.empty((len(self.images), 0)))


def prepare_volumes(
    paths: Sequence[Path],
    grid: Grid,
    *,
    correct_bias: bool = False,
    intensity: Intensity = "percentiles",
    register: Register = "none",
    template: Template | None = None,
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
        intensity: How intensities are scaled; see :func:`aekit.brains.volumes.gridding.to_grid`.
        register: Align each to a template, by a rotation and a shift (``rigid``) or also in size (``affine``); volumes
            and histograms in mL are of the scans as they are.
        template: What they are aligned to; None makes one from these scans.
        spacing_mm: Voxel size of .npy files, which have none; None assumes 1 mm and warns.
        skip_bad: Leave files that cannot be used as rows of zeros and list them in ``bad``.
        jobs: Threads to work with; None uses all cores.
        progress: Shows how many files are done.

    Raises:
        AekitError: Some files cannot be used, all of them named at once; or with ``skip_bad``, all of them.
    """
    job = _Job(tuple(paths), grid, correct_bias, spacing_mm, jobs, progress, register, template, intensity)
    prepared = _find_or_make(job)
    _check_bad(job, prepared.bad, skip_bad=skip_bad)
    return prepared


def unusual_poses(prepared: PreparedVolumes, limits: Mapping[str, Sequence[float]]) -> dict[int, tuple[str, ...]]:
    """Return what is unusual about how scans are aligned, by row; nothing if they are not.

    Args:
        prepared: The scans.
        limits: From :func:`aekit.brains.volumes.template.describe_poses`.
    """
    if not limits:
        return {}
    texts = {row: pose_warnings(pose, limits) for row, pose in enumerate(prepared.poses) if row not in prepared.bad}
    return {row: found for row, found in texts.items() if found}


def with_pose_warnings(prepared: PreparedVolumes, limits: Mapping[str, Sequence[float]]) -> PreparedVolumes:
    """Return the same scans, with what is unusual about how they are aligned among their warnings.

    Args:
        prepared: The scans.
        limits: Those of the training; empty if nothing was aligned.
    """
    warnings = dict(prepared.warnings)
    for row, texts in unusual_poses(prepared, limits).items():
        warnings[row] = (*warnings.get(row, ()), *texts)
    return replace(prepared, warnings=warnings)


def _find_or_make(job: _Job) -> PreparedVolumes:
    folder = cache_folder() / "volumes"
    shortcut, newest = shortcut_key(job.paths, job.options)
    prepared = _open(job, folder, known_key(folder, shortcut))
    if prepared is None:
        digests = _hash_files(job)
        key = hashlib.sha256(b"".join((job.options, *digests))).hexdigest()
        prepared = _open(job, folder, key) or _make(job, digests, folder, key)
        if time.time() - newest > _SETTLED_SECONDS:
            remember_key(folder, shortcut, key=key)
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
        blur=prepared.blur[rows],
        field_size=prepared.field_size[rows],
        poses=prepared.poses[rows],
    )


@dataclass(frozen=True)
class _Job:
    paths: tuple[Path, ...]
    grid: Grid
    correct_bias: bool
    spacing_mm: float | None
    jobs: int | None
    progress: Progress
    register: Register = "none"
    template: Template | None = None
    intensity: Intensity = "percentiles"
    poses: Floats | None = None  # (N, 13), once the scans are aligned

    @property
    def options(self) -> bytes:
        known: tuple[object, ...] = (
            _FORMAT,
            self.grid.size,
            float(self.grid.spacing_mm),
            self.correct_bias,
            self.spacing_mm,
            len(self.paths),
        )
        if self.register != "none":
            known += (_ALIGNMENT, self.register, "cohort" if self.template is None else self.template.digest)
        if self.intensity != "percentiles":
            known += (self.intensity,)
        return hashlib.sha256(repr(known).encode()).digest()

    @property
    def n_numbers(self) -> int:
        return _N_NUMBERS + (0 if self.register == "none" else POSE_NUMBERS)

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


def _open(job: _Job, folder: Path, key: str) -> PreparedVolumes | None:
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
        if path.stat().st_size != images.offset + images.nbytes or numbers.shape != (shape[0], job.n_numbers):
            return None
        if numbers.dtype != np.float64 or not np.all(np.abs(numbers) <= np.finfo(np.float32).max):
            return None
        template = None if job.register == "none" else _open_template(folder / f"{key}.template.npy")
        found = _prepared(images.view(np.ndarray), numbers.view(np.ndarray), about, template)
        rows = {*found.warnings, *found.bad}
        is_whole = len(found.shapes) == len(found.digests) == shape[0] and rows <= set(range(shape[0]))
        return found if is_whole else None
    except NPY_DAMAGE:
        return None


def _open_template(path: Path) -> Template:
    image = np.array(map_npy(path))
    if image.dtype != np.float16 or image.shape != WORKING_GRID.size or not np.isfinite(image).all():
        raise ValueError("not a template")
    return Template(image)


def _prepared(images: Halves, numbers: Floats, about: dict[str, Any], template: Template | None) -> PreparedVolumes:
    return PreparedVolumes(
        images=images,
        histograms_ml=numbers[:, :N_BINS].astype(np.float32),
        brain_ml=numbers[:, N_BINS].copy(),
        scale=numbers[:, N_BINS + 1].copy(),
        spacing_mm=numbers[:, N_BINS + 2 : N_BINS + 5].copy(),
        shapes=[cast(Triple, tuple(map(int, shape))) for shape in about["shapes"]],
        warnings={int(row): tuple(map(str, texts)) for row, texts in about["warnings"].items()},
        fingerprint=str(about["fingerprint"]),
        digests=[str(digest) for digest in about["digests"]],
        bad={int(row): str(reason) for row, reason in about["bad"].items()},
        blur=numbers[:, N_BINS + 5].copy(),
        field_size=numbers[:, N_BINS + 6].copy(),
        poses=numbers[:, _N_NUMBERS:].copy(),
        template=template,
    )


def _make(job: _Job, digests: Sequence[bytes], folder: Path, key: str) -> PreparedVolumes:
    """Prepare into the cache folder, or into memory if that fails."""
    job = job if job.register == "none" else _aligned(job)
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
        if job.template is not None:
            with atomic_write(folder / f"{key}.template.npy") as file:
                np.save(file, job.template.image, allow_pickle=False)
        with atomic_write(folder / f"{key}.json") as file:
            file.write(json.dumps(about).encode())
        if prepared := _open(job, folder, key):
            return prepared
        reason = "it was changed in the meantime"
    except OSError as error:  # of writing: files that cannot be read are listed in ``bad``
        reason = error.strerror or str(error)
    job.progress.notice(f"decoding into memory, not {shown(folder)} ({reason})")
    images = np.zeros(job.shape, np.float16)
    numbers, about = _fill(job, digests, images.__setitem__)
    return _prepared(images, numbers, json.loads(json.dumps(about)), job.template)


def _aligned(job: _Job) -> _Job:
    """Return the job with a template and the pose of each scan, which are found on a grid of their own."""
    kind = cast(Alignment, job.register)
    native = _find_or_make(replace(job, grid=WORKING_GRID, register="none", template=None))
    good = [row for row in range(len(job.paths)) if row not in native.bad]
    template = job.template
    if template is None and good:
        template = build_template(native.images[good], kind, jobs=job.jobs, progress=job.progress)
    if template is None:  # no scan can be used, which is said later
        template = Template(np.zeros(WORKING_GRID.size, np.float16))
    poses = align_all(native.images, template, kind, jobs=job.jobs, progress=job.progress)
    return replace(job, template=template, poses=poses)


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
        pose = None if job.poses is None else job.poses[number]
        matrix = None if pose is None else pose_of(pose).matrix
        gridded = to_grid(volume, job.grid, correct_bias=job.correct_bias, intensity=job.intensity, matrix=matrix)
    except BadVolume as error:
        return _Row(np.zeros(job.n_numbers), (0, 0, 0), (), "", b"", str(error))
    if _hash_file(path) != digests[number]:
        raise AekitError(f"{shown(path)}: changed while it was read; run the command again")
    image = gridded.image.astype("<f2")
    write(number, image)
    measures = [gridded.brain_ml, gridded.scale, *volume.spacing_mm, gridded.blur, gridded.field_size]
    numbers = np.concatenate([gridded.histogram_ml, measures, [] if pose is None else pose])
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
