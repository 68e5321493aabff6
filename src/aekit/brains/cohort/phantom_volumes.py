"""Synthetic brain volumes whose tissue volumes are known to the voxel.

A head with two ventricles, and folded fluid around grey around white matter. Each tissue has exactly its number of
voxels, as voxels are assigned in the order of a score. Everything else - shape, folds, contrast, bias field, noise,
pose and gain - is drawn independently of age and sex.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from aekit.brains.cohort.phantom_effects import AVERAGE, Scanner
from aekit.brains.cohort.phantom_people import NOISE, Scan, draw_scan
from aekit.errors import AekitError, UsageError

Bytes = npt.NDArray[np.uint8]
Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Tissues = tuple[int, int, int]

FIELD_MM = 192.0  # edge of the box that contains every head in every pose
MIN_SIZE, MAX_SIZE = 16, 320
# In the order of every triple here, with the value in Phantom.labels, where 0 is background.
LABELS = {"gmv": 1, "wmv": 2, "csfv": 3}

_SEMI_AXES_MM = np.array([66.0, 82.0, 70.0])
_SHAPE_NOISE, _SHAPE_MM = 0.03, 24.0
_FOLD_NOISE, _FOLD_MM = 0.16, 5.0
_VENTRICLE_FRACTION, _VENTRICLE_SD = 0.12, 0.15  # of the fluid
_VENTRICLE_AT_MM = np.array([13.0, -4.0, 8.0])
_VENTRICLE_AXES_MM = np.array([8.0, 30.0, 12.0])
_BLUR_VOXELS = 0.6
_BIAS, _BIAS_MM = 0.20, 48.0


@dataclass(frozen=True)
class Phantom:
    """One synthetic volume.

    Attributes:
        data: Intensities in steps of ``slope``, 0 outside the brain and only there, uint8 (n, n, n), axes R-A-S.
        slope: Intensity of one step.
        labels: The tissue of each voxel by ``LABELS``, uint8 (n, n, n).
        affine: From voxel indices to mm, (4, 4).
    """

    data: Bytes
    slope: float
    labels: Bytes
    affine: Doubles


def check_size(size: int, spacing_mm: float) -> None:
    """Raise an AekitError that names ``--size`` or ``--spacing`` if no brain can be drawn in such a box.

    Args:
        size: Voxels along each edge.
        spacing_mm: Voxel size.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise UsageError(f"--size: {size} voxels are outside {MIN_SIZE} to {MAX_SIZE}; choose a size in between")
    edge, least = size * spacing_mm, FIELD_MM / size
    if edge < FIELD_MM - 1e-6 or math.isnan(spacing_mm):
        raise AekitError(
            f"--spacing: {size} voxels of {spacing_mm:g} mm are {edge:g} mm, too small for some heads; give "
            f"{least:.4g} or more"
        )
    if spacing_mm > FIELD_MM / MIN_SIZE:
        most = FIELD_MM / MIN_SIZE
        raise AekitError(f"--spacing: voxels of {spacing_mm:g} mm are too coarse; give {most:g} or less")


def count_voxels(volumes_ml: tuple[float, float, float], spacing_mm: float) -> Tissues:
    """Return the number of voxels of grey matter, white matter and fluid, to the nearest voxel.

    Args:
        volumes_ml: Their volumes.
        spacing_mm: Voxel size.
    """
    voxel_ml = spacing_mm**3 / 1000.0
    grey, white, fluid = (round(volume / voxel_ml) for volume in volumes_ml)
    return grey, white, fluid


def build_phantom(
    counts: Tissues, *, size: int, spacing_mm: float, seed: int, number: int, scanner: Scanner = AVERAGE
) -> Phantom:
    """Return a brain whose tissues have exactly the given numbers of voxels.

    Args:
        counts: Voxels of grey matter, white matter and fluid.
        size: Voxels along each edge, n.
        spacing_mm: Voxel size.
        seed: Of the cohort, >= 0.
        number: Of the participant, from 0; together with the seed it determines everything but the counts.
        scanner: That of the site.
    """
    if sum(counts) > size**3 or min(counts) < 1:
        raise ValueError(f"{counts} voxels do not fit into {size}^3")
    random = np.random.Generator(np.random.PCG64([seed, number, 1]))
    scan = draw_scan(seed, number, scanner)
    labels = _draw_anatomy(random, scan, counts, size, spacing_mm)
    image = _draw_intensities(random, scan, labels, spacing_mm, scanner)
    step = float(image.max()) / 255.0
    # 0 is reserved for the background: the darkest fluid becomes 1.
    data = np.where(labels > 0, np.maximum(np.rint(image / step), 1.0), 0.0).astype(np.uint8)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = -(size - 1) / 2 * spacing_mm
    return Phantom(data, float(np.float32(step * scan.gain)), labels, affine)


def encode_nifti(phantom: Phantom) -> bytes:
    """Return a phantom as the bytes of a NIfTI-1 file, not compressed, marked as synthetic."""
    header: Any = nibabel.Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_dtype(np.uint8)
    header.set_data_shape(phantom.data.shape)
    header.set_xyzt_units("mm")
    header.set_qform(phantom.affine, code=1)
    header.set_sform(phantom.affine, code=1)
    header["scl_slope"], header["scl_inter"] = phantom.slope, 0.0
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header["descrip"] = b"SYNTHETIC phantom, not a person (aekit mri-phantom)"
    return bytes(header.binaryblock) + bytes(4) + phantom.data.tobytes(order="F")


# --- anatomy ---


def _draw_anatomy(random: np.random.Generator, scan: Scan, counts: Tissues, size: int, spacing_mm: float) -> Bytes:
    _, n_white, n_fluid = counts
    x, y, z = _head_axes(scan, size, spacing_mm)
    radius = np.sqrt(sum((axis / length) ** 2 for axis, length in zip((x, y, z), _SEMI_AXES_MM, strict=True)))
    shape = _smooth_noise(random, size, spacing_mm, _SHAPE_MM)
    folds = _smooth_noise(random, size, spacing_mm, _FOLD_MM)
    fraction = _VENTRICLE_FRACTION * math.exp(random.normal(0.0, _VENTRICLE_SD))
    labels = np.zeros(size**3, np.uint8)
    # The few largest heads would reach the faces of the box in some poses: they are flattened there.
    within = np.pad(np.zeros((size - 2,) * 3, np.float32), 1, constant_values=np.inf)
    depth = (radius * (1.0 + _SHAPE_NOISE * shape) + within).ravel()
    head = _lowest(depth, np.arange(size**3), sum(counts))
    # Ventricles first, mirrored at the midline; then the outermost voxels are fluid, the innermost white matter.
    n_ventricles = max(1, min(round(fraction * n_fluid), n_fluid - 1))
    at, axes = _VENTRICLE_AT_MM, _VENTRICLE_AXES_MM
    ventricle = ((np.abs(x) - at[0]) / axes[0]) ** 2 + ((y - at[1]) / axes[1]) ** 2 + ((z - at[2]) / axes[2]) ** 2
    inner = _lowest(ventricle.ravel(), head, n_ventricles)
    labels[head] = LABELS["gmv"]
    labels[inner] = LABELS["csfv"]
    solid = head[labels[head] == LABELS["gmv"]]
    score = depth + _FOLD_NOISE * folds.ravel()
    labels[_lowest(-score, solid, n_fluid - n_ventricles)] = LABELS["csfv"]
    solid = solid[labels[solid] == LABELS["gmv"]]
    labels[_lowest(score, solid, n_white)] = LABELS["wmv"]
    return labels.reshape(size, size, size)


def _lowest(score: Singles, rows: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """Return the ``n`` rows with the lowest scores."""
    if n >= len(rows):
        return rows
    return rows[np.argpartition(score[rows], n)[:n]]


def _head_axes(scan: Scan, size: int, spacing_mm: float) -> tuple[Singles, Singles, Singles]:
    """Return the position of every voxel along the axes of the rotated and shifted head, in mm."""
    rotation = np.eye(3)
    for axis, angle in enumerate(map(math.radians, scan.rotation_deg)):
        first, second = (other for other in range(3) if other != axis)
        plane = np.eye(3)
        plane[first, first] = plane[second, second] = math.cos(angle)
        plane[first, second], plane[second, first] = -math.sin(angle), math.sin(angle)
        rotation = plane @ rotation
    places = (_centres_mm(size, spacing_mm)[:, None] - scan.shift_mm).astype(np.float32)  # (n, 3)
    rotation = rotation.astype(np.float32)
    x, y, z = (
        rotation[row, 0] * places[:, None, None, 0]
        + rotation[row, 1] * places[None, :, None, 1]
        + rotation[row, 2] * places[None, None, :, 2]
        for row in range(3)
    )
    return x, y, z


def _centres_mm(size: int, spacing_mm: float) -> Doubles:
    centres: Doubles = (np.arange(size, dtype=np.float64) - (size - 1) / 2) * spacing_mm
    return centres


def _smooth_noise(random: np.random.Generator, size: int, spacing_mm: float, sigma_mm: float) -> Singles:
    """Return Gaussian noise smoothed by a Gaussian of ``sigma_mm``, of variance 1, float32 (n, n, n).

    It is drawn on points that are ``sigma_mm`` apart, whatever the voxel size: the same participant has the same shape
    in any box.
    """
    reach = 3  # points beyond the field, so that its borders are like its interior
    half = math.ceil(FIELD_MM / 2 / sigma_mm) + reach
    points_mm = np.arange(-half, half + 1) * sigma_mm
    noise = random.standard_normal((len(points_mm),) * 3, np.float32)
    places = np.clip(_centres_mm(size, spacing_mm), -FIELD_MM / 2, FIELD_MM / 2)
    weights = np.exp(-0.5 * ((places[:, None] - points_mm) / sigma_mm) ** 2)
    weights = (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)
    for _ in range(3):  # each round smooths the first axis and makes it the last
        noise = np.tensordot(noise, weights, axes=(0, 1))
    return noise


# --- intensities ---


def _draw_intensities(
    random: np.random.Generator, scan: Scan, labels: Bytes, spacing_mm: float, scanner: Scanner
) -> Singles:
    """Return a scan of the tissues without its gain: contrast, blur, bias field and noise; 0 outside the brain."""
    contrast = np.array([0.0, *scan.contrast], np.float32)
    blur = math.hypot(_BLUR_VOXELS, scanner.blur_mm / spacing_mm)
    image = ndimage.gaussian_filter(contrast[labels], blur, mode="constant", truncate=3.0)
    field = _smooth_noise(random, len(labels), spacing_mm, _BIAS_MM)
    image *= np.exp(_BIAS * scanner.bias * field)
    real = image + NOISE * random.standard_normal(image.shape, np.float32)
    imaginary = NOISE * random.standard_normal(image.shape, np.float32)
    return np.where(labels > 0, np.hypot(real, imaginary), np.float32(0))
