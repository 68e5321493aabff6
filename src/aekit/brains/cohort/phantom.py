"""A synthetic cohort and its brain volumes, whose tissue volumes are known to the voxel.

People: given age and sex, the three volumes follow curves fitted to healthy people and scatter about them as people do,
so that a model of the volumes can know the age only so well. Images: a head, two ventricles, folded fluid around grey
around white matter. Each tissue has exactly its number of voxels, as they are taken in the order of a score. Everything
else - shape, folds, contrast, bias field, noise, pose and gain - is drawn without knowledge of age and sex.

Person ``number`` depends on the seed and the number alone: the first 60 of 466 are the 60 of 60.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import nibabel
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from aekit.errors import AekitError

Bytes = npt.NDArray[np.uint8]
Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Tissues = tuple[int, int, int]

FIELD_MM = 192.0  # edge of the box that holds every head in every pose
MIN_SIZE, MAX_SIZE = 16, 320
# In the order of every triple here, with their number in Phantom.labels, where 0 is background.
LABELS = {"gmv": 1, "wmv": 2, "csfv": 3}
SITES = ("A", "B", "C")

# Mean total, grey and white volume at age 20 in mL.
_AT_20_ML = {"F": (1364.0, 648.5, 489.5), "M": (1552.0, 735.5, 557.8)}
_SHARE_FEMALE = 0.48
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
_SEMI_AXES_MM = np.array([66.0, 82.0, 70.0])
_CONTRAST = (0.58, 0.85, 0.25)
_CONTRAST_SD = 0.05
_SHAPE_NOISE, _SHAPE_MM = 0.03, 24.0
_FOLD_NOISE, _FOLD_MM = 0.16, 5.0
_VENTRICLE_SHARE, _VENTRICLE_SD = 0.12, 0.15  # of the fluid
_VENTRICLE_AT_MM = np.array([13.0, -4.0, 8.0])
_VENTRICLE_AXES_MM = np.array([8.0, 30.0, 12.0])
_BLUR_VOXELS = 0.6
_BIAS, _BIAS_MM = 0.20, 48.0
_NOISE = 0.03
_TURN_DEG, _SHIFT_MM = 8.0, 4.0
_GAIN = (200.0, 2000.0)


@dataclass(frozen=True)
class Person:
    """One member of the synthetic cohort.

    Attributes:
        participant_id: "sub-0001" for the first.
        age_years: 6 to 86, to a hundredth.
        sex: "F" or "M".
        site: A label without any effect on the image.
        volumes_ml: Grey matter, white matter and cerebrospinal fluid.
    """

    participant_id: str
    age_years: float
    sex: Literal["F", "M"]
    site: str
    volumes_ml: tuple[float, float, float]


@dataclass(frozen=True)
class Scan:
    """How one person is scanned, whoever it is.

    Attributes:
        contrast: Intensity of grey matter, white matter and fluid, before bias and noise.
        turn_deg: Turns about R, A and S.
        shift_mm: Shifts along R, A and S.
        gain: Factor of all intensities.
    """

    contrast: tuple[float, float, float]
    turn_deg: tuple[float, float, float]
    shift_mm: tuple[float, float, float]
    gain: float

    @property
    def cnr(self) -> float:
        """Return the contrast between white and grey matter in units of the noise."""
        return (self.contrast[1] - self.contrast[0]) / _NOISE


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


def draw_person(seed: int, number: int) -> Person:
    """Return one person of a cohort.

    Args:
        seed: Of the cohort, >= 0.
        number: From 0.
    """
    random = np.random.Generator(np.random.PCG64([seed, number, 0]))
    sex: Literal["F", "M"] = "F" if random.random() < _SHARE_FEMALE else "M"
    # Golden steps fill [0, 1) evenly: every cohort, and every start of one, has its share of old people.
    start = np.random.Generator(np.random.PCG64(seed)).random()
    kind = (start + number * _GOLDEN) % 1.0
    if kind < 0.31:
        age = random.normal(11.5, 3.0)
    elif kind < 0.78:
        age = random.normal(22.0, 3.2)
    else:
        age = random.uniform(25.0, 45.0) if kind < 0.92 else random.uniform(45.0, 80.0)
    age = round(min(max(age, 6.0), 86.0), 2)
    total, fluid, grey = _expected(age, sex)
    total *= math.exp(random.normal(0.0, 0.080))
    fluid *= math.exp(random.normal(-0.0098, 0.14))
    grey += random.normal(0.0, 0.0185)
    solid = total * (1.0 - fluid)
    volumes = (solid * grey, solid * (1.0 - grey), total * fluid)
    return Person(f"sub-{number + 1:04d}", age, sex, SITES[int(random.integers(len(SITES)))], volumes)


def _expected(age_years: float, sex: str) -> tuple[float, float, float]:
    """Return the mean total volume in mL, the share of fluid in it, and the share of grey in the rest."""
    u = math.log(age_years / 20.0)
    total_20, grey_20, white_20 = _AT_20_ML[sex]
    total = total_20 * (1.0 - 0.06 * math.exp(-(age_years - 6.0) / 4.0))
    grey = grey_20 * (1.0010 - 0.1416 * u - 0.0291 * u**2 + 0.0161 * u**3)
    white = white_20 * (0.9991 + 0.0679 * u - 0.0837 * u**2 - 0.0124 * u**3)
    return total, (total - grey - white) / total, grey / (grey + white)


def draw_scan(seed: int, number: int) -> Scan:
    """Return how one person of a cohort is scanned.

    Args:
        seed: Of the cohort, >= 0.
        number: From 0.
    """
    random = np.random.Generator(np.random.PCG64([seed, number, 2]))
    grey, white, fluid = (contrast * math.exp(random.normal(0.0, _CONTRAST_SD)) for contrast in _CONTRAST)
    x, y, z = random.uniform(-_TURN_DEG, _TURN_DEG, 3).tolist()
    right, front, up = random.uniform(-_SHIFT_MM, _SHIFT_MM, 3).tolist()
    gain = math.exp(random.uniform(math.log(_GAIN[0]), math.log(_GAIN[1])))
    return Scan((grey, white, fluid), (x, y, z), (right, front, up), gain)


def check_size(size: int, spacing_mm: float) -> None:
    """Refuse a box in which no brain can be drawn.

    Args:
        size: Voxels along each edge.
        spacing_mm: Edge of a voxel.

    Raises:
        AekitError: It is too small or too large, by name of ``--size`` or ``--spacing``.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise AekitError(f"--size: {size} voxels are outside {MIN_SIZE} to {MAX_SIZE}; choose a size in between")
    edge, least = size * spacing_mm, FIELD_MM / size
    if edge < FIELD_MM - 1e-6 or math.isnan(spacing_mm):
        raise AekitError(
            f"--spacing: {size} voxels of {spacing_mm:g} mm are {edge:g} mm, in which not every head fits; give "
            f"{least:.4g} or more"
        )
    if spacing_mm > FIELD_MM / MIN_SIZE:
        most = FIELD_MM / MIN_SIZE
        raise AekitError(f"--spacing: voxels of {spacing_mm:g} mm show no tissue; give {most:g} or less")


def count_voxels(volumes_ml: tuple[float, float, float], spacing_mm: float) -> Tissues:
    """Return the number of voxels of grey matter, white matter and fluid, to the nearest.

    Args:
        volumes_ml: Their volumes.
        spacing_mm: Edge of a voxel.
    """
    voxel_ml = spacing_mm**3 / 1000.0
    grey, white, fluid = (round(volume / voxel_ml) for volume in volumes_ml)
    return grey, white, fluid


def build_phantom(counts: Tissues, *, size: int, spacing_mm: float, seed: int, number: int) -> Phantom:
    """Return a brain whose tissues have the given numbers of voxels, whatever else is drawn.

    Args:
        counts: Voxels of grey matter, white matter and fluid.
        size: Voxels along each edge, n.
        spacing_mm: Edge of a voxel.
        seed: Of the cohort, >= 0.
        number: Of the person, from 0; with the seed it decides on all but the counts.
    """
    if sum(counts) > size**3 or min(counts) < 1:
        raise ValueError(f"{counts} voxels do not fit into {size}^3")
    random = np.random.Generator(np.random.PCG64([seed, number, 1]))
    scan = draw_scan(seed, number)
    labels = _draw_anatomy(random, scan, counts, size, spacing_mm)
    image = _draw_intensities(random, scan, labels, spacing_mm)
    step = float(image.max()) / 255.0
    # 0 is for the background: the darkest fluid becomes 1.
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
    share = _VENTRICLE_SHARE * math.exp(random.normal(0.0, _VENTRICLE_SD))
    labels = np.zeros(size**3, np.uint8)
    # The few largest heads would reach the faces of the box in some poses: there they are flattened.
    within = np.pad(np.zeros((size - 2,) * 3, np.float32), 1, constant_values=np.inf)
    depth = (radius * (1.0 + _SHAPE_NOISE * shape) + within).ravel()
    head = _lowest(depth, np.arange(size**3), sum(counts))
    # Ventricles first, mirrored at the midline, then what is outermost is fluid and what is innermost white.
    n_ventricles = max(1, min(round(share * n_fluid), n_fluid - 1))
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
    """Return those ``n`` of the rows whose score is lowest."""
    if n >= len(rows):
        return rows
    return rows[np.argpartition(score[rows], n)[:n]]


def _head_axes(scan: Scan, size: int, spacing_mm: float) -> tuple[Singles, Singles, Singles]:
    """Return the place of every voxel along the head's own axes in mm, after a turn and a shift."""
    turn = np.eye(3)
    for axis, angle in enumerate(map(math.radians, scan.turn_deg)):
        first, second = (other for other in range(3) if other != axis)
        plane = np.eye(3)
        plane[first, first] = plane[second, second] = math.cos(angle)
        plane[first, second], plane[second, first] = -math.sin(angle), math.sin(angle)
        turn = plane @ turn
    places = (_centres_mm(size, spacing_mm)[:, None] - scan.shift_mm).astype(np.float32)  # (n, 3)
    turn = turn.astype(np.float32)
    x, y, z = (
        turn[row, 0] * places[:, None, None, 0]
        + turn[row, 1] * places[None, :, None, 1]
        + turn[row, 2] * places[None, None, :, 2]
        for row in range(3)
    )
    return x, y, z


def _centres_mm(size: int, spacing_mm: float) -> Doubles:
    centres: Doubles = (np.arange(size, dtype=np.float64) - (size - 1) / 2) * spacing_mm
    return centres


def _smooth_noise(random: np.random.Generator, size: int, spacing_mm: float, sigma_mm: float) -> Singles:
    """Return Gaussian noise smoothed by a Gaussian of ``sigma_mm``, of variance 1, float32 (n, n, n).

    It is drawn on points that are ``sigma_mm`` apart, whatever the voxel size: the same person has the same shape in
    any box.
    """
    reach = 3  # points beyond the field, so that its ends are no different
    half = math.ceil(FIELD_MM / 2 / sigma_mm) + reach
    points_mm = np.arange(-half, half + 1) * sigma_mm
    noise = random.standard_normal((len(points_mm),) * 3, np.float32)
    places = np.clip(_centres_mm(size, spacing_mm), -FIELD_MM / 2, FIELD_MM / 2)
    weights = np.exp(-0.5 * ((places[:, None] - points_mm) / sigma_mm) ** 2)
    weights = (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)
    for _ in range(3):  # each turn smooths the first axis and makes it the last
        noise = np.tensordot(noise, weights, axes=(0, 1))
    return noise


# --- intensities ---


def _draw_intensities(random: np.random.Generator, scan: Scan, labels: Bytes, spacing_mm: float) -> Singles:
    """Return a scan of the tissues without its gain: contrast, blur, bias field and noise; 0 outside the brain."""
    contrast = np.array([0.0, *scan.contrast], np.float32)
    image = ndimage.gaussian_filter(contrast[labels], _BLUR_VOXELS, mode="constant", truncate=3.0)
    field = _smooth_noise(random, len(labels), spacing_mm, _BIAS_MM)
    image *= np.exp(_BIAS * field)
    real = image + _NOISE * random.standard_normal(image.shape, np.float32)
    imaginary = _NOISE * random.standard_normal(image.shape, np.float32)
    return np.where(labels > 0, np.hypot(real, imaginary), np.float32(0))
