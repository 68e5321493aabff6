"""Brain volumes on one grid, scaled, in one file that is mapped into memory, made once.

A store is three files in the cache folder: ``<key>.npy`` with the images, ``<key>.rows.npy`` with the numbers of each
row, and ``<key>.json`` with the rest. The key is a SHA-256 over the bytes of the files, the grid and the version of the
format, so a copied or touched folder is not read again; see :mod:`aekit.core.cache` for the shortcut past the bytes.
Nothing is ever removed; the folder may be deleted at any time.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aekit.brains.volumes.bias_field import fit_bias_field
from aekit.brains.volumes.nifti import (
    BadVolume,
    Mask,
    Spacing,
    Triple,
    Volume,
    Voxels,
    brain_intensities,
    brain_mask,
    brain_warnings,
    check_values,
    decode_volume,
    in_threads,
    volume_digest,
)
from aekit.core.cache import known_key, remember_key, remove_stale, shortcut_key
from aekit.core.damage import NPY_DAMAGE, map_npy
from aekit.core.durable import atomic_write
from aekit.core.environment import cache_folder
from aekit.core.progress import OnProgress
from aekit.errors import AekitError, shown

Halves = npt.NDArray[np.float16]
Floats = npt.NDArray[np.float64]

N_BINS = 64
TOP = 1.28  # where the last bin of a histogram ends, and what is brighter is taken down to
MAX_NAMED = 20  # bad files in one message

_FORMAT = "aekit volumes 1"  # part of every key: raise it when other numbers come out
_SETTLED_S = 2.0  # a file changed later than this may change again without its time stamp showing it
# Candidates for the intensity that becomes 1, by the mean R^2 of the tissue volumes in a ridge regression on the
# histogram (5-fold, 3 seeds), on 181 IXI brains and on 200 phantoms of 48^3: the mean between these two percentiles
# 0.952 and 0.897, the mean of all 0.953 and 0.891, percentile 90 0.951 and 0.865, 95 0.953 and 0.849, 99.5 0.950 and
# 0.844, the mode of white matter 0.949 and 0.820. Unlike the mean of all, it leaves vessels and fluid out.
_SCALE_PERCENTILES = (40.0, 95.0)
_SCALE_FACTOR = 1.4  # brings the 99.5th percentile to about 1: IXI 0.94-1.07, phantoms 0.88-1.20
_FINE = 8  # parts of a bin
# A histogram is smoothed by a Gaussian of so many bins, as files of 8 bits have steps as wide as a bin, which beat with
# the bins: R^2 of the tissue volumes as above on IXI 0.960 for 0.929 without, on phantoms 0.928 for 0.921.
_SMOOTH_BINS = 1.0
_CUT_SHARE = 0.005  # of a brain outside the grid, below which nobody need know
_N_NUMBERS = N_BINS + 5  # of a row: histogram in mL, brain in mL, scale, spacing in mm


@dataclass(frozen=True)
class Grid:
    """A box of voxels around the centre of a brain.

    Attributes:
        size: Voxels along R, A and S.
        spacing_mm: Edge of a voxel.
    """

    size: Triple
    spacing_mm: float

    def __post_init__(self) -> None:
        if min(self.size) < 4 or max(self.size) > 512:
            raise AekitError(f"--size: {self.text} voxels are outside 4 to 512; choose a size in between")
        if not 0.1 <= self.spacing_mm <= 40:
            raise AekitError(f"--spacing: {self.spacing_mm:g} mm is outside 0.1 to 40; choose a spacing in between")

    @property
    def text(self) -> str:
        """Return the size as 40x48x40."""
        return "x".join(map(str, self.size))


@dataclass(frozen=True)
class Gridded:
    """One brain on a grid.

    Attributes:
        image: Mean intensity in each voxel of the grid, scaled, in [0, 1.28], 0 outside the brain, float32 (X, Y, Z).
        histogram_ml: Brain in each of ``N_BINS`` equal bins of scaled intensity over [0, 1.28), float32 (N_BINS,), by
            the voxels of the file before averaging, smoothed by one bin; the last bin takes what is above. Its sum is
            ``brain_ml``.
        brain_ml: Volume of the brain mask.
        scale: The intensity of the file that became 1.
        cut: Share of the brain's summed intensity that lies outside the grid, in [0, 1].
        warnings: Of the file and of the grid, a sentence each.
    """

    image: Voxels
    histogram_ml: Voxels
    brain_ml: float
    scale: float
    cut: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class PreparedVolumes:
    """Brains on a common grid; rows of files that could not be used are zero.

    Attributes:
        images: Scaled intensities, float16 (N, X, Y, Z) in [0, 1.28], background 0; a memory map that is not to be
            written to.
        histograms_ml: mL of brain a bin of scaled intensity, float32 (N, N_BINS); see :class:`Gridded`.
        brain_ml: Volume of each brain mask, float64 (N,).
        scale: The intensity of the file that became 1, float64 (N,).
        spacing_mm: Voxel size of the files along R, A and S, float64 (N, 3).
        shapes: Shape of the volumes as stored in the files.
        warnings: Row -> what is odd about it.
        fingerprint: SHA-256 over the images.
        digests: SHA-256 of voxels and affine of each file, the same for copies of a scan; empty for bad files.
        bad: Row of each file that cannot be used -> why; empty unless they are to be skipped.
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


def to_grid(volume: Volume, grid: Grid, *, correct_bias: bool = False) -> Gridded:
    """Return a brain averaged over the voxels of a grid that is centred on it, and scaled.

    The value of a voxel of the grid is the mean of the file's intensities over its cube, each weighted by the volume
    that they share; a cube that is partly outside the file or the brain counts 0 there. So the sum over all voxels
    times their volume stays the same, at any ratio of sizes and for shifts by parts of a voxel.

    Args:
        volume: From :func:`aekit.brains.volumes.nifti.read_volume`.
        grid: Where to; its centre lies on the centroid of the brain mask.
        correct_bias: Take the drift of intensity out first; see :mod:`aekit.brains.volumes.bias_field`.

    Raises:
        BadVolume: There is no brain in it.
    """
    mask = brain_mask(volume.data)
    brain = brain_intensities(volume.data, mask)
    if correct_bias:
        brain /= fit_bias_field(brain, mask)
    inside = brain[mask]
    scale = _scale_of(inside)
    inside = np.minimum(inside / np.float32(scale), np.float32(TOP))
    voxel_ml = math.prod(volume.spacing_mm) / 1000.0
    histogram_ml = _smooth_histogram(inside) * voxel_ml
    brain_ml = inside.size * voxel_ml
    np.minimum(brain / np.float32(scale), np.float32(TOP), out=brain)
    image = _average(brain, mask, volume.spacing_mm, grid)
    total = float(inside.sum(dtype=np.float64)) * voxel_ml
    cut = max(0.0, 1.0 - float(image.sum(dtype=np.float64)) * grid.spacing_mm**3 / 1000.0 / total)
    warnings = (*volume.warnings, *brain_warnings(brain_ml))
    if cut > _CUT_SHARE:
        box = f"{grid.text} voxels of {grid.spacing_mm:g} mm"
        warnings += (f"{100 * cut:.1f} % of the brain lies outside the grid of {box}",)
    return Gridded(image, histogram_ml.astype(np.float32), brain_ml, scale, cut, warnings)


def prepare_volumes(
    paths: Sequence[Path],
    grid: Grid,
    *,
    correct_bias: bool = False,
    spacing_mm: float | None = None,
    skip_bad: bool = False,
    jobs: int | None = None,
    on_progress: OnProgress | None = None,
) -> PreparedVolumes:
    """Return brain volumes on a common grid, from the cache folder or into it.

    If the cache folder cannot be written, the images are held in memory, and ``on_progress`` is told why.

    Args:
        paths: The files, at least one, in the order of the rows.
        grid: Voxels that all are averaged to.
        correct_bias: Take the drift of intensity out of each.
        spacing_mm: Voxel size of .npy files, which have none; None takes 1 mm and warns.
        skip_bad: Leave files that cannot be used as rows of zeros and tell of them in ``bad``.
        jobs: Threads to work with; None takes every core.
        on_progress: Called with what is done, the number of files done, and of all files.

    Raises:
        AekitError: Files cannot be used, all of them named at once; or with ``skip_bad``, none can.
    """
    job = _Job(tuple(paths), grid, correct_bias, spacing_mm, jobs, on_progress)
    folder = cache_folder() / "volumes"
    shortcut, newest = shortcut_key(job.paths, job.options)
    prepared = _open(folder, known_key(folder, shortcut))
    if prepared is None:
        digests = _hash_files(job)
        key = hashlib.sha256(b"".join((job.options, *digests))).hexdigest()
        prepared = _open(folder, key) or _make(job, digests, folder, key)
        if time.time() - newest > _SETTLED_S:
            remember_key(folder, shortcut, key=key)
    _check_bad(job, prepared.bad, skip_bad=skip_bad)
    return prepared


@dataclass(frozen=True)
class _Job:
    paths: tuple[Path, ...]
    grid: Grid
    correct_bias: bool
    spacing_mm: float | None
    jobs: int | None
    on_progress: OnProgress | None

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
        if self.on_progress is not None:
            self.on_progress(what, n_done, len(self.paths))


@dataclass(frozen=True)
class _Row:
    """What one file came to, but for its image."""

    numbers: Floats  # (_N_NUMBERS,)
    shape: Triple
    warnings: tuple[str, ...]
    digest: str
    image_digest: bytes
    problem: str


def _scale_of(inside: Voxels) -> float:
    """Return the intensity that becomes 1, of the intensities of a brain, (n,)."""
    low, high = np.percentile(inside, _SCALE_PERCENTILES)
    within = (inside >= low) & (inside <= high)
    if not within.any():
        raise BadVolume(f"its brain has only {len(inside)} voxels", "look at it")
    scale = _SCALE_FACTOR * float(inside.mean(where=within, dtype=np.float64))
    if scale <= 0:
        raise BadVolume("its brain is as dark as the background", "look at it")
    return scale


def _smooth_histogram(inside: Voxels) -> Floats:
    """Return the number of voxels a bin of the scaled intensities of a brain, (N_BINS,), smoothed by one bin."""
    n_fine = N_BINS * _FINE
    fine = np.bincount(np.minimum((inside * np.float32(n_fine / TOP)).astype(np.int64), n_fine - 1), minlength=n_fine)
    # Reflected at the ends, so that nothing gets lost.
    smooth = ndimage.gaussian_filter1d(fine.astype(np.float64), _SMOOTH_BINS * _FINE, mode="reflect")
    counts: Floats = smooth.reshape(N_BINS, _FINE).sum(axis=1)
    return counts


# --- averaging ---


def _average(brain: Voxels, mask: Mask, spacing_mm: Spacing, grid: Grid) -> Voxels:
    """Return the means over the voxels of the grid, float32 (X, Y, Z)."""
    image = brain
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        profile = np.count_nonzero(mask, axis=others)  # brain voxels a slice
        rows = np.flatnonzero(profile)
        first, stop = int(rows[0]), int(rows[-1]) + 1
        centre = float(profile @ np.arange(len(profile))) / float(profile.sum())
        edges_mm = (np.arange(first, stop + 1, dtype=np.float64) - 0.5 - centre) * spacing_mm[axis]
        weights = overlap_weights(edges_mm, grid.size[axis], grid.spacing_mm).astype(np.float32)
        # What is not brain along this axis is zero, and left out; the axis that is done goes last, so that after
        # three turns they stand as before.
        block = image.take(range(first, stop), axis=0).reshape(stop - first, -1)
        image = (weights @ block).reshape(grid.size[axis], *image.shape[1:]).transpose(1, 2, 0)
    return np.ascontiguousarray(image)


def overlap_weights(edges_mm: Floats, n_out: int, spacing_mm: float) -> Floats:
    """Return which share of each new voxel along one axis each old one fills, (n_out, n_in).

    Args:
        edges_mm: Ends of the old voxels, ascending, (n_in + 1,), counted from the centre of the new ones.
        n_out: Number of new voxels.
        spacing_mm: Their edge.

    Returns:
        Shares, each >= 0. A column sums to its voxel's length / ``spacing_mm`` if it lies within the new ones.
    """
    ends = (np.arange(n_out + 1) - n_out / 2) * spacing_mm
    lower = np.maximum(ends[:-1, None], edges_mm[None, :-1])
    upper = np.minimum(ends[1:, None], edges_mm[None, 1:])
    shares: Floats = np.maximum(upper - lower, 0.0) / spacing_mm
    return shares


# --- the store ---


def _hash_files(job: _Job) -> list[bytes]:
    """Return the SHA-256 of each file's bytes; nothing for one that cannot be read, which decoding tells of."""
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
        # Mapped, as all claims of a header: numpy would take memory for them before it looks whether they are there.
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
        reason = "it was changed meanwhile"
    except OSError as error:  # of writing: what cannot be read is told of in ``bad``
        reason = error.strerror or str(error)
    job.report(f"decoding into memory, not {shown(folder)} ({reason})", 0)
    images = np.zeros(job.shape, np.float16)
    numbers, about = _fill(job, digests, images.__setitem__)
    return _prepared(images, numbers, json.loads(json.dumps(about)))


def _fill(job: _Job, digests: Sequence[bytes], write: Callable[[int, Halves], None]) -> tuple[Floats, dict[str, Any]]:
    """Return the numbers of all rows, (N, _N_NUMBERS), and the rest, after ``write`` was given every image."""
    rows: list[_Row] = []
    # A digest of digests: images are hashed as they come, on all cores, and not read again for it.
    fingerprint = hashlib.sha256(repr(job.shape).encode())
    # Each thread has a volume of its own: threads within the matrix products as well take twice the processor time.
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
    """Refuse bad files, unless they are to be skipped and some are good.

    Raises:
        AekitError: Names the bad files, up to twenty, and why each is bad.
    """
    if not bad or (skip_bad and len(bad) < len(job.paths)):
        return
    first = next(iter(bad))
    mend = (
        "mend it, or give another"
        if len(job.paths) == 1
        else "give other files"
        if len(bad) == len(job.paths)
        else "mend them, or leave them out with --skip-bad"
    )
    if len(bad) == 1:
        raise AekitError(f"{shown(job.paths[first])}: {bad[first]}; {mend.replace('them', 'it')}")
    named = [f"{shown(job.paths[row].name)} ({bad[row]})" for row in list(bad)[:MAX_NAMED]]
    if len(bad) > MAX_NAMED:
        named.append(f"and {len(bad) - MAX_NAMED:,} more")
    folder = shown(job.paths[first].parent)
    what = f"{len(bad):,} of {len(job.paths):,} volumes cannot be used"
    raise AekitError(f"{folder}: {what}: {', '.join(named)}; {mend}")
