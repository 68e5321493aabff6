"""Brain volumes read from NIfTI and NumPy files, with everything that would silently go wrong refused or said.

nibabel opens a .nii.gz file whose body is damaged without a word, as it never reaches the checksum. So the whole file
is unpacked here, with its checksum and within the size that its header promises, and nibabel only reads the header.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError
from scipy import ndimage

from aekit.core.damage import NPY_DAMAGE, is_bomb, map_npy
from aekit.core.environment import count_cores
from aekit.core.progress import OnProgress
from aekit.errors import AekitError, shown

Voxels = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Affine = npt.NDArray[np.float64]
Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]
T = TypeVar("T")

nib: Any = nibabel  # which leaves most of its functions without types

SUFFIXES = (".nii", ".nii.gz", ".npy")
OTHER_SUFFIXES = (".img", ".img.gz", ".hdr", ".hdr.gz", ".mgz", ".mgh", ".mnc", ".nrrd", ".mha", ".dcm", ".npz")
MAX_BYTES = 2 << 30  # of one unpacked file: 512^3 voxels of 16 bytes
SPACING_RANGE_MM = (0.1, 20.0)
BRAIN_RANGE_ML = (300.0, 2500.0)  # brain and CSF of a child of some years to a large man's with room to spare

_TRAILING_BYTES = 1 << 20  # what may follow the last voxel
_OBLIQUE_DEG = 20.0
_BORDER_SHARE = 0.5  # of the voxels on the six faces: a background that is one value has at least so many
_NOISE_SDS = 5.0  # median + 5 SD of Rayleigh noise: exceeded by 4e-5 of it
_NOISE_SHARE = 0.05  # of the 99.5th percentile: what an interpolation leaves around a brain is below
_BELOW_SHARE = 0.2  # of the brain's voxels below the background: more of them say that it is standardised


@dataclass(frozen=True)
class Volume:
    """One volume with axes R-A-S: the first grows to the right, the second to the front, the third upwards.

    Attributes:
        data: Intensities in the unit of the file, finite, float32 (X, Y, Z).
        affine: From voxel indices of ``data`` to mm, (4, 4).
        spacing_mm: Voxel size along the axes of ``data``.
        warnings: What is odd about it, a sentence each.
        shape: As stored in the file.
        orientation: Axes as stored in the file, for example "LPS".
    """

    data: Voxels
    affine: Affine
    spacing_mm: Spacing
    warnings: tuple[str, ...]
    shape: Triple
    orientation: str


@dataclass(frozen=True)
class VolumeCheck:
    """What is to be known of a file before it is used.

    Attributes:
        path: The file.
        problem: Why it cannot be used; empty if it can.
        warnings: What is odd about it, a sentence each.
        shape: As stored in the file; zeros if it could not be read.
        spacing_mm: Voxel size along R, A and S; NaN if it could not be read.
        orientation: Axes as stored in the file, for example "LPS"; empty if it could not be read.
        n_nan: Number of voxels that are NaN or infinite.
        brain_ml: Volume of the brain mask; NaN if there is none.
        digest: SHA-256 of the decoded voxels and the affine, whatever the file's name and compression; empty if it
            could not be read.
    """

    path: Path
    problem: str
    warnings: tuple[str, ...]
    shape: Triple
    spacing_mm: Spacing
    orientation: str
    n_nan: int
    brain_ml: float
    digest: str


class BadVolume(Exception):
    """A file that is no volume, or none that can be used; says why."""

    def __init__(self, what: str, mend: str = "mend or remove it") -> None:
        super().__init__(what)
        self.mend = mend


def list_volumes(folder: Path) -> list[Path]:
    """Return the volumes in a folder and its subfolders, sorted, without hidden files and folders.

    Args:
        folder: Files that end in .nii, .nii.gz or .npy are taken, in small or capital letters.

    Raises:
        AekitError: It is no folder, or there is no volume in it.
    """
    if not folder.is_dir():
        raise AekitError(f"{shown(folder)}: is no folder; give the folder of the volumes")
    names = [path for path in folder.rglob("*") if not _is_hidden(path.relative_to(folder))]
    found = sorted(path for path in names if path.name.lower().endswith(SUFFIXES) and path.is_file())
    if not found:
        others = sorted({path.suffix for path in names if path.name.lower().endswith(OTHER_SUFFIXES)})
        seen = f" (but {', '.join(others)})" if others else ""
        raise AekitError(f"{shown(folder)}: holds no .nii, .nii.gz or .npy file{seen}; give the folder of the volumes")
    return found


def read_volume(path: Path, *, spacing_mm: float | None = None) -> Volume:
    """Return the volume of a .nii, .nii.gz or .npy file.

    Args:
        path: The file. The axes of a .npy file are taken as R-A-S.
        spacing_mm: Voxel size of a .npy file, which has none; None takes 1 mm and warns. NIfTI files know theirs.

    Raises:
        AekitError: It is no volume, damaged, cut short, without a usable affine, not finite, or constant.
    """
    try:
        volume = decode_volume(path, spacing_mm)
        check_values(volume.data)
    except BadVolume as error:
        raise AekitError(f"{shown(path)}: {error}; {error.mend}") from error
    return volume


def brain_mask(data: Voxels) -> Mask:
    """Return which voxels are brain: not background, connected, without holes.

    Where more than half of the voxels on the six faces of the box have one value, as in a skull-stripped image, this is
    the background. Otherwise it is noise, and ends at its median + 5 standard deviations, or at 5 % of the 99.5th
    percentile if that is higher; with skin and skull in the image, they count as brain then.

    Args:
        data: Intensities, finite, (X, Y, Z).

    Returns:
        The largest connected part with its holes filled, (X, Y, Z); nothing is True if the image is constant.
    """
    value = background(data)
    if value is not None:
        return _largest_filled(data != value)
    border = _border(data)
    middle = float(np.median(border))
    # The median absolute deviation of Rayleigh noise is 0.448 of its sigma, its median 1.177 of it.
    spread = float(np.median(np.abs(border - middle))) / 0.448
    top = float(np.percentile(data, 99.5))
    return _largest_filled(data > max(middle + _NOISE_SDS * spread, middle + _NOISE_SHARE * (top - middle)))


def background(data: Voxels) -> float | None:
    """Return the one value that most of the border of a volume has, or None if there is none.

    Args:
        data: Intensities, finite, (X, Y, Z).
    """
    border = _border(data)
    value = float(np.median(border))  # if more than half are equal, the median is one of them
    return value if np.mean(border == np.float32(value)) > _BORDER_SHARE else None


def brain_intensities(data: Voxels, mask: Mask) -> Voxels:
    """Return the intensities of the brain above the background, zero outside, float32 (X, Y, Z), all >= 0.

    Args:
        data: Intensities, finite, (X, Y, Z).
        mask: From :func:`brain_mask`.

    Raises:
        BadVolume: There is no brain, or a fifth of it is darker than the background, so that black is unknown.
    """
    if not mask.any():
        raise BadVolume("nothing in it stands out from the background", "look at it, and give brains without skull")
    brain = np.where(mask, data - np.float32(background(data) or 0.0), np.float32(0))
    share = np.count_nonzero(brain < 0) / np.count_nonzero(mask)
    if share > _BELOW_SHARE:
        what = f"{100 * share:.0f} % of the brain is darker than the background, as in standardised images"
        raise BadVolume(what, "give intensities that start at the background")
    return np.maximum(brain, 0, out=brain)


def brain_warnings(brain_ml: float) -> tuple[str, ...]:
    """Return a warning if a brain cannot be that large, in mL."""
    low, high = BRAIN_RANGE_ML
    if low <= brain_ml <= high:
        return ()
    why = (
        "a wrong voxel size, or no whole brain" if brain_ml < low else "a wrong voxel size, or the skull is still there"
    )
    return (f"the brain mask has {brain_ml:,.0f} mL: {why}",)


def volume_digest(volume: Volume) -> str:
    """Return a SHA-256 of voxels, shape and affine (to 0.1 µm), which a copy under another name shares."""
    digest = hashlib.sha256(repr(volume.data.shape).encode())
    digest.update((np.round(volume.affine, 4) + 0.0).tobytes())
    digest.update(volume.data.data)
    return digest.hexdigest()


def check_volumes(
    paths: Sequence[Path], *, jobs: int | None = None, on_progress: OnProgress | None = None
) -> list[VolumeCheck]:
    """Return what is to be known of each file, in their order; a bad file is told of, never raised.

    Args:
        paths: The files.
        jobs: Threads to read with; None takes every core.
        on_progress: Called with what is done, the number of files done, and of all files.
    """
    checks = []
    for check in in_threads(check_volume, paths, jobs=jobs):
        checks.append(check)
        if on_progress is not None:
            on_progress("checking volumes", len(checks), len(paths))
    return checks


def check_volume(path: Path) -> VolumeCheck:
    """Return what is to be known of one file; that it is bad, too."""
    n_nan, brain_ml = 0, math.nan
    volume: Volume | None = None
    problem = ""
    warnings: tuple[str, ...] = ()
    try:
        volume = decode_volume(path, None)
        warnings = volume.warnings
        n_nan = volume.data.size - int(np.count_nonzero(np.isfinite(volume.data)))
        check_values(volume.data)
        mask = brain_mask(volume.data)
        brain_intensities(volume.data, mask)
        brain_ml = float(np.count_nonzero(mask)) * math.prod(volume.spacing_mm) / 1000.0
        warnings += brain_warnings(brain_ml)
    except BadVolume as error:
        problem = str(error)
    except MemoryError:
        problem = "it does not fit into memory"
    if volume is None:
        return VolumeCheck(path, problem, (), (0, 0, 0), (math.nan,) * 3, "", 0, math.nan, "")
    digest = volume_digest(volume)
    return VolumeCheck(
        path, problem, warnings, volume.shape, volume.spacing_mm, volume.orientation, n_nan, brain_ml, digest
    )


def in_threads(work: Callable[[Any], T], items: Sequence[Any], *, jobs: int | None) -> Iterator[T]:
    """Yield what ``work`` makes of each item, in their order, computed by ``jobs`` threads; None takes every core."""
    # Threads, as unpacking, hashing and matrix products leave the interpreter's lock: no start, no copies between.
    pool = ThreadPoolExecutor(jobs or count_cores())
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C the rest is not worth waiting for


def decode_volume(path: Path, spacing_mm: float | None) -> Volume:
    """Return the volume of a file, its values unchecked.

    Args:
        path: The file.
        spacing_mm: Voxel size of a .npy file; None takes 1 mm and warns.

    Raises:
        BadVolume: It is no volume, damaged, cut short, or without a usable affine.
    """
    name = path.name.lower()
    try:
        if name.endswith(".npy"):
            return _decode_npy(path, spacing_mm)
        if name.endswith((".nii", ".nii.gz")):
            if path.stat().st_size > MAX_BYTES:
                raise BadVolume("it has more than the 2 GB that are read")
            return _decode_nifti(path.read_bytes())
    except OSError as error:
        raise BadVolume(f"cannot be read ({error.strerror})", "check it and its permissions") from error
    kind = next((suffix for suffix in OTHER_SUFFIXES if name.endswith(suffix)), path.suffix or "a file without suffix")
    raise BadVolume(f"{kind} is not read", "convert it to .nii.gz, with nibabel or dcm2niix")


def check_values(data: Voxels) -> None:
    """Refuse values that are no image.

    Raises:
        BadVolume: Some are NaN or infinite, or all are the same.
    """
    low, high = float(data.min()), float(data.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        n_nan = data.size - int(np.count_nonzero(np.isfinite(data)))
        what = f"{n_nan:,} of {data.size:,} voxels are NaN or infinite"
        raise BadVolume(what, "remove it, or set them to 0 if they are background")
    if low == high:
        raise BadVolume("it is empty, every voxel is 0" if low == 0 else f"it is constant, every voxel is {low:g}")


# --- NIfTI ---


def _decode_nifti(content: bytes) -> Volume:
    body, header = _unpack(content)
    warnings: list[str] = []
    shape = _shape(header)
    affine = _affine(header, warnings)
    voxels = _voxels(header, body, shape, warnings)
    orientation = nib.orientations.io_orientation(affine)
    with np.errstate(over="ignore"):  # what becomes infinite is refused by name
        data = np.ascontiguousarray(nib.orientations.apply_orientation(voxels, orientation), np.float32)
    ras = affine @ nib.orientations.inv_ornt_aff(orientation, shape)
    sizes = nib.affines.voxel_sizes(ras)
    spacing: Spacing = (float(sizes[0]), float(sizes[1]), float(sizes[2]))
    return Volume(data, ras, spacing, tuple(warnings), shape, "".join(nib.orientations.aff2axcodes(affine)))


def _unpack(content: bytes) -> tuple[bytes, Any]:
    """Return the plain bytes of a NIfTI file, all of them, and its header."""
    if not content:
        raise BadVolume("the file is empty")
    is_packed = content[:2] == b"\x1f\x8b"
    header = _header(_gunzip(content, 540) if is_packed else content)
    n_voxels, dtype = math.prod(_shape(header)), _dtype(header)
    if n_voxels * max(dtype.itemsize, 4) > MAX_BYTES:  # float32 is what they become
        raise BadVolume(f"its header promises {n_voxels:,} voxels, more than the 2 GB that are read")
    expected = _first_byte(header) + n_voxels * dtype.itemsize
    if is_packed and is_bomb(expected, len(content)):
        raise BadVolume(f"its header promises {n_voxels:,} voxels, more than a file of {len(content):,} bytes holds")
    body = _gunzip(content, expected + _TRAILING_BYTES + 1) if is_packed else content
    if len(body) > expected + _TRAILING_BYTES:
        raise BadVolume("it holds more than its header promises")
    return body, header


def _gunzip(content: bytes, limit: int) -> bytes:
    """Return the first ``limit`` bytes of what a gzip file holds; if they are fewer, its checksums are right."""
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(content)).read(limit)
    except EOFError as error:
        raise BadVolume("it is cut short", "fetch or make it again") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise BadVolume(f"its gzip data are damaged ({error})", "fetch or make it again") from error


def _header(content: bytes) -> Any:
    if len(content) < 348:
        raise BadVolume(_not_known(content, "it is no NIfTI file, as it ends within the header"))
    size, swapped = (struct.unpack(order + "i", content[:4])[0] for order in "<>")
    try:
        if 540 in (size, swapped) and len(content) >= 540:
            header = nib.Nifti2Header(content[:540], check=False)
        elif 348 in (size, swapped):
            header = nib.Nifti1Header(content[:348], check=False)
        else:
            raise BadVolume(_not_known(content, "it is no NIfTI file"))
    except HeaderDataError as error:
        raise BadVolume(f"its header is damaged ({error})") from error
    magic = bytes(header["magic"])[:3].rstrip(b"\0")
    if magic in (b"", b"ni1", b"ni2"):
        raise BadVolume("it is Analyze or one half of a pair of .hdr and .img", "convert it to .nii.gz")
    if magic not in (b"n+1", b"n+2"):
        raise BadVolume(f"its header is damaged (magic {magic!r})")
    return header


def _not_known(content: bytes, otherwise: str) -> str:
    start = content[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, not a volume"
    if start.startswith(b"version https://git-lfs") or b".git/annex" in start:
        return "it is a pointer to a volume (git-lfs or git-annex) that was not fetched"
    if start and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start):
        return "it is text, not a volume"
    return otherwise


def _shape(header: Any) -> Triple:
    dim = [int(size) for size in header["dim"]]
    sizes = dim[1 : dim[0] + 1] if 1 <= dim[0] <= 7 else []
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) != 3 and sizes:
        text = "x".join(map(str, sizes))
        raise BadVolume(f"it is {len(sizes)}-D ({text}), not one 3-D volume", "give the structural T1 image")
    if not sizes or min(sizes) < 1:
        raise BadVolume(f"its header is damaged (dim {dim})")
    _refuse_slices(sizes)
    return sizes[0], sizes[1], sizes[2]


def _refuse_slices(sizes: Sequence[int]) -> None:
    if min(sizes) < 2:
        raise BadVolume(f"it is a slice ({'x'.join(map(str, sizes))}), not a volume", "give the structural T1 image")


def _dtype(header: Any) -> np.dtype[Any]:
    code = int(header["datatype"])
    try:
        dtype: np.dtype[Any] = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        raise BadVolume(f"its header is damaged (datatype {code})") from error
    if dtype.kind not in "iuf":
        kind = {"c": "complex numbers", "V": "colours"}.get(dtype.kind, str(dtype))
        raise BadVolume(f"its voxels are {kind}, not intensities", "give the structural T1 image")
    return dtype


def _first_byte(header: Any) -> int:
    offset = float(header["vox_offset"])
    start = int(header["sizeof_hdr"]) + 4  # 0 is what some programs write for the usual place
    if not math.isfinite(offset) or (offset != 0 and offset < start - 4) or offset > MAX_BYTES:
        raise BadVolume(f"its header is damaged (vox_offset {offset:g})")
    return int(offset) or start


def _voxels(header: Any, body: bytes, shape: Triple, warnings: list[str]) -> npt.NDArray[Any]:
    """Return the scaled voxels in the order of the file."""
    dtype, start, count = _dtype(header), _first_byte(header), math.prod(shape)
    extra = len(body) - start - count * dtype.itemsize
    if extra < 0:
        raise BadVolume(f"it is cut short, {-extra:,} of {count * dtype.itemsize:,} bytes of voxels are missing")
    if extra:
        warnings.append(f"{extra:,} bytes after the last voxel are left out")
    voxels = np.frombuffer(body, dtype, count=count, offset=start).reshape(shape, order="F")
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        warnings.append(f"scl_slope is {slope:g}, and taken as 1")
        return voxels
    if not math.isfinite(inter):
        warnings.append(f"scl_inter is {inter:g}, and taken as 0")
        inter = 0.0
    if (slope, inter) == (1.0, 0.0):
        return voxels
    with np.errstate(over="ignore", invalid="ignore"):  # likewise
        return voxels.astype(np.float32) * np.float32(slope) + np.float32(inter)


@np.errstate(over="ignore", invalid="ignore")  # voxels of 1e30 mm, which are refused by name
def _affine(header: Any, warnings: list[str]) -> Affine:
    qform, sform = int(header["qform_code"]), int(header["sform_code"])
    try:
        if sform > 0:
            affine = header.get_sform()
        elif qform > 0:
            affine = header.get_qform()
        else:
            affine = header.get_base_affine()
            warnings.append("both form codes are 0: what is left and what is right is a guess")
    except (HeaderDataError, ValueError, ArithmeticError) as error:
        raise BadVolume(f"its affine is damaged ({error})", "set sform or qform") from error
    affine = np.asarray(affine, np.float64)
    if not np.isfinite(affine).all():
        raise BadVolume("its affine is not finite", "set sform or qform")
    sizes = nib.affines.voxel_sizes(affine)
    low, high = SPACING_RANGE_MM
    if not (np.all(sizes > 0) and abs(np.linalg.det(affine[:3, :3])) > 1e-3 * np.prod(sizes)):
        raise BadVolume("its affine maps the volume to a plane, a line or a point", "set sform or qform")
    if sizes.min() < low or sizes.max() > high:
        text = " x ".join(f"{size:g}" for size in sizes)
        raise BadVolume(f"its voxels are {text} mm, outside {low:g} to {high:g}", "set the affine in mm")
    _warn_of_affine(header, affine, sizes, warnings)
    return affine


def _warn_of_affine(header: Any, affine: Affine, sizes: npt.NDArray[np.float64], warnings: list[str]) -> None:
    pixdim = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    if not np.allclose(pixdim, sizes, rtol=0.01):
        stated, true = (" x ".join(f"{size:.4g}" for size in values) for values in (pixdim, sizes))
        warnings.append(f"pixdim says voxels of {stated} mm, the affine {true}, which is taken")
    tilt = float(np.degrees(nib.affines.obliquity(affine).max()))
    if tilt > _OBLIQUE_DEG:
        warnings.append(f"its axes are tilted by {tilt:.0f} degrees from R-A-S, and not turned back")


# --- .npy ---


def _decode_npy(path: Path, spacing_mm: float | None) -> Volume:
    with path.open("rb") as file:
        start, n_bytes = file.read(200), os.fstat(file.fileno()).st_size
    if n_bytes > MAX_BYTES:
        raise BadVolume(f"it has {n_bytes / 2**30:,.1f} GB, more than the 2 GB that are read")
    if start[:6] != b"\x93NUMPY":
        raise BadVolume(_not_known(start, "it is no .npy file"))
    try:
        # Mapped, so that a header that promises more than there is cannot reserve memory.
        voxels = np.asarray(map_npy(path))
    except NPY_DAMAGE as error:
        what = "it holds Python objects" if "object" in str(error) else "it is cut short or damaged"
        raise BadVolume(what) from error
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3 or voxels.size == 0:
        raise BadVolume(f"its shape is {voxels.shape}, not that of one 3-D volume")
    if voxels.dtype.kind not in "biuf":
        raise BadVolume(f"its voxels are {voxels.dtype}, not intensities")
    _refuse_slices(voxels.shape)
    size = 1.0 if spacing_mm is None else spacing_mm
    warnings = ("a .npy file has no voxel size, 1 mm is taken",) if spacing_mm is None else ()
    affine = np.diag([size, size, size, 1.0])
    with np.errstate(over="ignore"):
        data = np.ascontiguousarray(voxels, np.float32)
    shape: Triple = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
    return Volume(data, affine, (size, size, size), warnings, shape, "RAS")


# --- masks ---


def _border(data: Voxels) -> Voxels:
    """Return the values on the six faces, (n,)."""
    faces = [np.take(data, end, axis).ravel() for axis, end in itertools.product(range(3), (0, -1))]
    return np.concatenate(faces)


def _largest_filled(mask: Mask) -> Mask:
    """Return the largest part that hangs together through faces, and what it encloses."""
    found = np.zeros_like(mask)
    spans = [np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not spans[0].size:
        return found
    box = tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    labels, n_parts = ndimage.label(mask[box])
    largest = labels > 0
    if n_parts > 1:
        counts = np.bincount(labels.ravel())
        counts[0] = 0
        largest = labels == int(counts.argmax())
    # A hole is what does not hang together with the outside, which is made one by a margin.
    outside, _ = ndimage.label(np.pad(~largest, 1, constant_values=True))
    found[box] = outside[1:-1, 1:-1, 1:-1] != outside[0, 0, 0]
    return found


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
