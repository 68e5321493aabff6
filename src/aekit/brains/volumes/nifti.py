"""Brain volumes from NIfTI and NumPy files; whatever would silently go wrong is an error or a warning.

nibabel opens a .nii.gz file with a damaged body without complaint, as it never reaches the checksum. So the whole file
is unpacked here, with its checksum and within the size that its header states, and nibabel only reads the header.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError
from scipy import ndimage

from aekit.core.damage import NPY_DAMAGE, is_bomb, map_npy
from aekit.errors import AekitError, shown

Voxels = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]
Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]

nib: Any = nibabel  # most of its functions have no types

SUFFIXES = (".nii", ".nii.gz", ".npy")
OTHER_SUFFIXES = (".img", ".img.gz", ".hdr", ".hdr.gz", ".mgz", ".mgh", ".mnc", ".nrrd", ".mha", ".dcm", ".npz")
MAX_BYTES = 2 << 30  # of one unpacked file: 512^3 voxels of 16 bytes
SPACING_RANGE_MM = (0.1, 20.0)

_TRAILING_BYTES = 1 << 20  # what may follow the last voxel
# Millimetres per unit of xyzt_units in nifti1.h; its other codes have no meaning.
_MM_PER_UNIT = {1: ("metres", 1000.0), 2: ("mm", 1.0), 3: ("micrometres", 0.001)}
_USUAL_MM = (0.3, 6.0)  # voxels of structural scans of people
_OBLIQUE_DEG = 20.0
_RIGHT_ANGLED = 1e-4  # relative: float32 affines of rotated volumes are off by 1e-6


@dataclass(frozen=True)
class Volume:
    """One volume with axes R-A-S: the first grows to the right, the second to the front, the third upwards.

    Attributes:
        data: Intensities in the unit of the file, float32 (X, Y, Z); NaN in the background is 0.
        affine: From voxel indices of ``data`` to mm, (4, 4).
        spacing_mm: Voxel size along the axes of ``data``.
        warnings: What is unusual about it, a sentence each.
        shape: As stored in the file.
        orientation: Axes as stored in the file, for example "LPS".
    """

    data: Voxels
    affine: Affine
    spacing_mm: Spacing
    warnings: tuple[str, ...]
    shape: Triple
    orientation: str

    @property
    def voxel_ml(self) -> float:
        """Return the volume of a voxel, which for sheared axes is less than the product of its sizes."""
        product, volume = math.prod(self.spacing_mm), abs(float(np.linalg.det(self.affine[:3, :3])))
        return (product if math.isclose(product, volume, rel_tol=_RIGHT_ANGLED) else volume) / 1000.0


class BadVolume(Exception):
    """A file that is not a volume, or not one that can be used; the message says why.

    Attributes:
        remedy: What to do about it.
    """

    def __init__(self, what: str, remedy: str = "fix or remove it") -> None:
        super().__init__(what)
        self.remedy = remedy


def list_volumes(folder: Path) -> list[Path]:
    """Return the volumes in a folder and its subfolders, sorted, without hidden files and folders.

    Args:
        folder: Files that end in .nii, .nii.gz or .npy are volumes, whatever the case.

    Raises:
        AekitError: It is not a folder, or there is no volume in it.
    """
    if not folder.is_dir():
        raise AekitError(f"{shown(folder)}: is not a folder; give the folder of the volumes")
    names = [path for path in folder.rglob("*") if not _is_hidden(path.relative_to(folder))]
    found = sorted(path for path in names if path.name.lower().endswith(SUFFIXES) and path.is_file())
    if not found:
        others = sorted({path.suffix for path in names if path.name.lower().endswith(OTHER_SUFFIXES)})
        what = "no .nii, .nii.gz or .npy file" + (f" (but {', '.join(others)})" if others else "")
        raise AekitError(f"{shown(folder)}: contains {what}; give the folder of the volumes")
    return found


def read_volume(path: Path, *, spacing_mm: float | None = None) -> Volume:
    """Return the volume of a .nii, .nii.gz or .npy file.

    Args:
        path: The file. The axes of a .npy file are assumed to be R-A-S.
        spacing_mm: Voxel size of a .npy file, which does not state one; None assumes 1 mm and warns.

    Raises:
        AekitError: It is not a volume, damaged, truncated, without a usable affine, constant, or not finite in the
            brain.
    """
    try:
        volume = decode_volume(path, spacing_mm)
        check_values(volume.data)
    except BadVolume as error:
        raise AekitError(f"{shown(path)}: {error}; {error.remedy}") from error
    return volume


def volume_digest(volume: Volume) -> str:
    """Return a SHA-256 of voxels, shape and affine (to 0.1 µm), the same for a copy under another name."""
    digest = hashlib.sha256(repr(volume.data.shape).encode())
    digest.update((np.round(volume.affine, 4) + 0.0).tobytes())
    digest.update(volume.data.data)
    return digest.hexdigest()


def decode_volume(path: Path, spacing_mm: float | None) -> Volume:
    """Return the volume of a file, its values unchecked.

    Args:
        path: The file.
        spacing_mm: Voxel size of a .npy file; None assumes 1 mm and warns.

    Raises:
        BadVolume: It is not a volume, damaged, truncated, or without a usable affine.
    """
    name = path.name.lower()
    try:
        if name.endswith(".npy"):
            return _decode_npy(path, spacing_mm)
        if name.endswith((".nii", ".nii.gz")):
            if path.stat().st_size > MAX_BYTES:
                raise BadVolume("it has more than 2 GB, the most that is read")
            return _decode_nifti(path.read_bytes())
    except OSError as error:
        raise BadVolume(f"cannot be read ({error.strerror})", "check it and its permissions") from error
    kind = next((suffix for suffix in OTHER_SUFFIXES if name.endswith(suffix)), path.suffix or "a file without suffix")
    raise BadVolume(f"{kind} is not read", "convert it to .nii.gz, with nibabel or dcm2niix")


def check_values(data: Voxels) -> None:
    """Raise a BadVolume if values are not an image: some are NaN or infinite, or all are the same."""
    low, high = float(data.min()), float(data.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        n_nan = data.size - int(np.count_nonzero(np.isfinite(data)))
        what = f"{n_nan:,} of {data.size:,} voxels {'is' if n_nan == 1 else 'are'} NaN or infinite, within the brain"
        raise BadVolume(what, "remove it, or set them to 0 if they are background")
    if low == high:
        raise BadVolume("it is empty, every voxel is 0" if low == 0 else f"it is constant, every voxel is {low:g}")


def fill_background(data: Voxels, warnings: list[str]) -> Voxels:
    """Return a volume in which voxels outside the brain that are NaN or infinite are 0, and say so in ``warnings``.

    Programs such as SPM, CAT12 and ANTs write NaN where there is no brain. A voxel is outside if it is connected to the
    border of the volume through voxels that are NaN, infinite or 0; infinite ones through voxels without a number
    alone, as a brain too bright for single precision stands in a background of 0. A volume that has nothing else stays
    as it is.

    Args:
        data: Intensities, (X, Y, Z).
        warnings: Receives a sentence if something was filled.
    """
    finite = np.isfinite(data)
    with np.errstate(invalid="ignore"):  # a signalling NaN of a damaged file would warn
        is_empty = finite.all() or not data.any(where=finite)
    if is_empty:
        return data
    outside = ~finite & _reached(~finite | (data == 0))
    infinite = np.isinf(data)
    if (outside & infinite).any():
        outside &= ~infinite | _reached(~finite)
    n_filled = int(np.count_nonzero(outside))
    if not n_filled:
        return data
    what = "are NaN" if not (outside & infinite).any() else "are NaN or infinite"
    warnings.append(f"{n_filled:,} of {data.size:,} voxels {what}, all outside the brain, filled with 0")
    return np.where(outside, np.float32(0), data)


def _reached(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the voxels of a mask that are connected, through faces, to its voxels on the border."""
    labels, n_parts = ndimage.label(mask)
    is_reached = np.zeros(n_parts + 1, bool)
    for axis in range(3):
        for end in (0, -1):
            is_reached[np.unique(np.take(labels, end, axis))] = True
    is_reached[0] = False
    return np.asarray(is_reached[labels])


# --- NIfTI ---


def _decode_nifti(content: bytes) -> Volume:
    body, header = _unpack(content)
    warnings: list[str] = []
    shape = _shape(header)
    affine = _affine(header, warnings)
    voxels = _voxels(header, body, shape, warnings)
    orientation = nib.orientations.io_orientation(affine)
    with np.errstate(over="ignore"):  # infinite values become an error of their own
        data = np.ascontiguousarray(nib.orientations.apply_orientation(voxels, orientation), np.float32)
    data = fill_background(data, warnings)
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
    if n_voxels * max(dtype.itemsize, 4) > MAX_BYTES:  # as they become float32
        raise BadVolume(f"its header states {n_voxels:,} voxels, more than 2 GB, the most that is read")
    expected = _first_byte(header) + n_voxels * dtype.itemsize
    if is_packed and is_bomb(expected, len(content)):
        raise BadVolume(f"its header states {n_voxels:,} voxels, more than a file of {len(content):,} bytes can hold")
    body = _gunzip(content, expected + _TRAILING_BYTES + 1) if is_packed else content
    if len(body) > expected + _TRAILING_BYTES:
        raise BadVolume("it contains more than its header states")
    return body, header


def _gunzip(content: bytes, limit: int) -> bytes:
    """Return the first ``limit`` bytes of the content of a gzip file; if there are fewer, its checksums are right."""
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(content)).read(limit)
    except EOFError as error:
        raise BadVolume("it is cut short", "download or create it again") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise BadVolume(f"its gzip data are damaged ({error})", "download or create it again") from error


def _header(content: bytes) -> Any:
    if len(content) < 348:
        raise BadVolume(_describe_unknown(content, "it is not a NIfTI file, as it ends within the header"))
    size, swapped = (struct.unpack(order + "i", content[:4])[0] for order in "<>")
    try:
        if 540 in (size, swapped) and len(content) >= 540:
            header = nib.Nifti2Header(content[:540], check=False)
        elif 348 in (size, swapped):
            header = nib.Nifti1Header(content[:348], check=False)
        else:
            raise BadVolume(_describe_unknown(content, "it is not a NIfTI file"))
    except HeaderDataError as error:
        raise BadVolume(f"its header is damaged ({error})") from error
    magic = bytes(header["magic"])[:3].rstrip(b"\0")
    if magic in (b"", b"ni1", b"ni2"):
        raise BadVolume("it is Analyze, or one half of a .hdr/.img pair", "convert it to .nii.gz")
    if magic not in (b"n+1", b"n+2"):
        raise BadVolume(f"its header is damaged (magic {magic!r})")
    return header


def _describe_unknown(content: bytes, otherwise: str) -> str:
    start = content[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, not a volume"
    if start.startswith(b"version https://git-lfs") or b".git/annex" in start:
        return "it is a pointer to a volume (git-lfs or git-annex) that was not fetched"
    if re.fullmatch(rb"[^\n\0]{1,180}\.(nii|nii\.gz|npy)\s*", start):
        return "it is the text of a link, not the volume that the link leads to"
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
        raise BadVolume(f"it is {len(sizes)}-D ({text}), not a single 3-D volume", "give the structural T1 image")
    if not sizes or min(sizes) < 1:
        raise BadVolume(f"its header is damaged (dim {dim})")
    _check_not_a_slice(sizes)
    return sizes[0], sizes[1], sizes[2]


def _check_not_a_slice(sizes: Sequence[int]) -> None:
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
    start = int(header["sizeof_hdr"]) + 4  # some programs write 0 for the usual place
    if not math.isfinite(offset) or (offset != 0 and offset < start - 4) or offset > MAX_BYTES:
        raise BadVolume(f"its header is damaged (vox_offset {offset:g})")
    return int(offset) or start


def _voxels(header: Any, body: bytes, shape: Triple, warnings: list[str]) -> npt.NDArray[Any]:
    """Return the scaled voxels in the order of the file."""
    dtype, start, count = _dtype(header), _first_byte(header), math.prod(shape)
    extra = len(body) - start - count * dtype.itemsize
    if extra < 0:
        raise BadVolume(
            f"it is cut short, {-extra:,} of {count * dtype.itemsize:,} bytes of voxels "
            f"{'is' if extra == -1 else 'are'} missing"
        )
    if extra:
        warnings.append(f"{extra:,} {'byte' if extra == 1 else 'bytes'} after the last voxel ignored")
    voxels = np.frombuffer(body, dtype, count=count, offset=start).reshape(shape, order="F")
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        warnings.append(f"scl_slope is {slope:g}, taken as 1")
        return voxels
    if not math.isfinite(inter):
        warnings.append(f"scl_inter is {inter:g}, taken as 0")
        inter = 0.0
    if (slope, inter) == (1.0, 0.0):
        return voxels
    with np.errstate(over="ignore", invalid="ignore"):  # as above
        return voxels.astype(np.float32) * np.float32(slope) + np.float32(inter)


@np.errstate(over="ignore", invalid="ignore")  # voxels of 1e30 mm, which are an error of their own
def _affine(header: Any, warnings: list[str]) -> Affine:
    qform, sform = int(header["qform_code"]), int(header["sform_code"])
    try:
        if sform > 0:
            affine = header.get_sform()
        elif qform > 0:
            affine = _standard_pixdim(header, warnings).get_qform()
        else:
            affine = _standard_pixdim(header, warnings).get_base_affine()
            warnings.append("both form codes are 0, so left and right are a guess")
    except (HeaderDataError, ValueError, ArithmeticError) as error:
        raise BadVolume(f"its affine is damaged ({error})", "set sform or qform") from error
    affine = np.asarray(affine, np.float64)
    if not np.isfinite(affine).all():
        raise BadVolume("its affine is not finite", "set sform or qform")
    sizes = nib.affines.voxel_sizes(affine)
    if not (np.all(sizes > 0) and abs(np.linalg.det(affine[:3, :3])) > 1e-3 * np.prod(sizes)):
        raise BadVolume("its affine maps the volume to a plane, a line or a point", "set sform or qform")
    factor = _mm_per_unit(int(header["xyzt_units"]) & 7, sizes, warnings)
    affine[:3] *= factor
    _add_affine_warnings(header, affine, sizes * factor, factor, warnings)
    return affine


def _mm_per_unit(code: int, sizes: npt.NDArray[np.float64], warnings: list[str]) -> float:
    """Return the mm of a unit of the affine: what the header states, or mm if it states nothing or nonsense.

    Args:
        code: Of the unit of space in ``xyzt_units``.
        sizes: Of a voxel, in that unit.
        warnings: Receives what is unusual.

    Raises:
        BadVolume: No unit makes voxels of a size that a brain is scanned with.
    """
    unit, factor = _MM_PER_UNIT.get(code, ("", 1.0))
    text = " x ".join(f"{size:.4g}" for size in sizes)
    if factor != 1.0 and not _fit(sizes * factor) and _fit(sizes):
        warnings.append(f"xyzt_units says {unit}, but voxels of {text} {unit} are impossible; taken as mm")
        return 1.0
    if not _fit(sizes * factor):
        low, high = SPACING_RANGE_MM
        of = " x ".join(f"{size:g}" for size in sizes * factor)
        other = next((name for name, mm in _MM_PER_UNIT.values() if name != unit and _fit(sizes * mm)), "")
        advice = f"; if they are {other}, say so in xyzt_units" if other else ""
        raise BadVolume(f"its voxels are {of} mm, outside {low:g} to {high:g}", f"set the affine in mm{advice}")
    if factor != 1.0:
        warnings.append(f"its affine is in {unit}, converted to mm")
    elif not unit and (code or sizes.min() < _USUAL_MM[0] or sizes.max() > _USUAL_MM[1]):
        what = f"has the unknown code {code}" if code else "states no unit"
        warnings.append(f"xyzt_units {what}, voxels of {text} are taken as mm")
    return factor


def _fit(sizes_mm: npt.NDArray[np.float64]) -> bool:
    """Return whether a brain is scanned with voxels of these sizes."""
    return bool(sizes_mm.min() >= SPACING_RANGE_MM[0] and sizes_mm.max() <= SPACING_RANGE_MM[1])


def _standard_pixdim(header: Any, warnings: list[str]) -> Any:
    """Return a header with positive sizes of voxels and a qfac of 1 or -1, as nibabel reads it.

    Source:
        nifti1.h, "pixdim[0]": "If pixdim[0]=0.0 (which should not occur), we take qfac=1."
    """
    pixdim = np.array(header["pixdim"])
    if (pixdim[1:4] < 0).any():
        pixdim[1:4] = np.abs(pixdim[1:4])
        warnings.append("pixdim has negative voxel sizes, taken as positive")
    if pixdim[0] not in (-1, 1):
        warnings.append(f"qfac is {float(pixdim[0]):g}, taken as 1")
        pixdim[0] = 1
    header = header.copy()
    header["pixdim"] = pixdim
    return header


def _add_affine_warnings(
    header: Any, affine: Affine, sizes: npt.NDArray[np.float64], factor: float, warnings: list[str]
) -> None:
    pixdim = np.abs(np.asarray(header["pixdim"][1:4], np.float64)) * factor
    if not np.allclose(pixdim, sizes, rtol=0.01):
        stated, true = (" x ".join(f"{size:.4g}" for size in values) for values in (pixdim, sizes))
        warnings.append(f"pixdim gives voxels of {stated} mm, the affine {true}, which is used")
    product, volume = float(np.prod(sizes)), abs(float(np.linalg.det(affine[:3, :3])))
    if not math.isclose(product, volume, rel_tol=_RIGHT_ANGLED):
        warnings.append(
            f"its axes are sheared: a voxel has {100 * volume / product:.0f} % of the product of its sizes, "
            "and it is resliced to R-A-S"
        )
    tilt = float(np.degrees(nib.affines.obliquity(affine).max()))
    if tilt > _OBLIQUE_DEG:
        warnings.append(f"its axes are tilted by {tilt:.0f} degrees from R-A-S, to which it is resliced")


# --- .npy ---


def _decode_npy(path: Path, spacing_mm: float | None) -> Volume:
    with path.open("rb") as file:
        start, n_bytes = file.read(200), os.fstat(file.fileno()).st_size
    if n_bytes > MAX_BYTES:
        raise BadVolume(f"it has {n_bytes / 2**30:,.1f} GB, more than 2 GB, the most that is read")
    if start[:6] != b"\x93NUMPY":
        raise BadVolume(_describe_unknown(start, "it is not a .npy file"))
    try:
        # Mapped, so that a header that states more than there is cannot reserve memory.
        voxels = np.asarray(map_npy(path))
    except NPY_DAMAGE as error:
        what = "it holds Python objects" if "object" in str(error) else "it is cut short or damaged"
        raise BadVolume(what) from error
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3 or voxels.size == 0:
        raise BadVolume(f"its shape is {voxels.shape}, not that of a single 3-D volume")
    if voxels.dtype.kind not in "biuf":
        raise BadVolume(f"its voxels are {voxels.dtype}, not intensities")
    _check_not_a_slice(voxels.shape)
    size = 1.0 if spacing_mm is None else spacing_mm
    warnings = ["a .npy file has no voxel size, 1 mm is assumed"] if spacing_mm is None else []
    affine = np.diag([size, size, size, 1.0])
    with np.errstate(over="ignore"):
        data = fill_background(np.ascontiguousarray(voxels, np.float32), warnings)
    shape: Triple = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
    return Volume(data, affine, (size, size, size), tuple(warnings), shape, "RAS")


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
