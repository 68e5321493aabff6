"""The template of a cohort, the poses of its scans relative to it, and which poses are unusual."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aekit.brains.volumes.gridding import to_grid
from aekit.brains.volumes.nifti import BadVolume, read_volume
from aekit.brains.volumes.registration import WORKING_GRID, Alignment, Pose, align, resample
from aekit.core.progress import SILENT, Progress
from aekit.core.threads import in_threads
from aekit.errors import AekitError, shown

Halves = npt.NDArray[np.float16]
Image = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

POSE_NUMBERS = 13  # of a row: the matrix of its pose, and the correlation

_MAX_USED = 60  # scans of which a template is made: with more it changes by less than its own noise
_ROUNDS = 2
_N_SDS = 5.0  # robust standard deviations from the median that are still usual
# Least widths of what is usual, so that a cohort that was aligned before does not flag every other scan.
_MIN_CORRELATION_SD, _MIN_LOG_SCALE_SD, _MIN_ROTATION_SD = 0.004, 0.02, 2.0
_LOWEST_CORRELATION = 0.85  # below it, no scan is aligned, whatever its cohort; IXI has 0.96 to 0.99
_LARGEST_ROTATION_DEG = 45.0
_SCALE_RANGE = (0.6, 1.6)  # of lengths; of adult heads they are within 0.85 to 1.15 of the mean


@dataclass(frozen=True)
class Template:
    """A mean brain to which others are aligned.

    Attributes:
        image: On ``WORKING_GRID``, 0 outside the brain, float16 (X, Y, Z).
    """

    image: Halves

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the image."""
        return hashlib.sha256(np.ascontiguousarray(self.image, "<f2").tobytes()).hexdigest()


def read_template(path: Path) -> Template:
    """Return a template from a skull-stripped volume.

    Raises:
        AekitError: The file is not such a volume.
    """
    volume = read_volume(path)
    try:
        gridded = to_grid(volume, WORKING_GRID)
    except BadVolume as error:
        raise AekitError(f"--template {shown(path)}: {error}; {error.remedy}") from error
    return Template(gridded.image.astype("<f2"))


def build_template(
    images: npt.NDArray[np.floating],
    kind: Alignment,
    *,
    jobs: int | None = None,
    progress: Progress = SILENT,
) -> Template:
    """Return the mean of scans that are aligned to it, from the mean of scans that are only centred.

    It is an unsupervised mean: no age, sex or volume is used, only images. Its two halves are mirror images of each
    other, and the poses of the scans average to none, so that it has the size and the tilt of the cohort. Scans that
    the first template does not resemble are left out of the second one.

    Args:
        images: Brains on ``WORKING_GRID``, (N, X, Y, Z), N >= 1; of many, 60 are used, at equal distances.
        kind: How they are aligned.
        jobs: Threads; None uses all cores.
        progress: Shows how many scans are done.

    Source:
        Guimond, Meunier & Thirion 2000, doi:10.1006/cviu.1999.0815.
    """
    used = np.unique(np.linspace(0, len(images) - 1, min(len(images), _MAX_USED)).round().astype(int))
    brains = [np.asarray(images[row], np.float32) for row in used]
    template = Template(_symmetric(np.mean(brains, axis=0)))
    for number in range(_ROUNDS):
        what = f"making a template, round {number + 1} of {_ROUNDS}"
        poses = _align(brains, template, kind, jobs, progress, what)
        correlations = np.array([pose.correlation for pose in poses])
        kept = correlations >= _low(correlations, _MIN_CORRELATION_SD)
        back = _inverse_mean([pose for pose, keep in zip(poses, kept, strict=True) if keep], kind)
        aligned = [
            resample(brain, pose.matrix @ back) for brain, pose, keep in zip(brains, poses, kept, strict=True) if keep
        ]
        template = Template(_symmetric(np.mean(aligned, axis=0)))
    return template


def _symmetric(image: Image) -> Halves:
    return np.ascontiguousarray((image + image[::-1]) / 2, "<f2")


def _inverse_mean(poses: Sequence[Pose], kind: Alignment) -> Floats:
    """Return what undoes the mean of poses, (4, 4)."""
    mean = np.vstack([np.mean([pose.matrix for pose in poses], axis=0), [0, 0, 0, 1]])
    if kind == "rigid":
        left, _, right = np.linalg.svd(mean[:3, :3])
        mean[:3, :3] = left @ right
    inverse: Floats = np.linalg.inv(mean)
    return inverse


def align_all(
    images: npt.NDArray[np.floating],
    template: Template,
    kind: Alignment,
    *,
    jobs: int | None = None,
    progress: Progress = SILENT,
) -> Floats:
    """Return the pose of each scan relative to a template, (N, 13): the rows of its matrix, and the correlation.

    Args:
        images: Brains on ``WORKING_GRID``, (N, X, Y, Z); those that are 0 everywhere have a pose of NaN.
        template: What they are aligned to.
        kind: How.
        jobs: Threads; None uses all cores.
        progress: Shows how many scans are done.
    """
    rows = [row for row in range(len(images)) if np.any(images[row])]
    poses = _align([images[row] for row in rows], template, kind, jobs, progress, "aligning volumes")
    numbers = np.full((len(images), POSE_NUMBERS), np.nan)
    for row, pose in zip(rows, poses, strict=True):
        numbers[row] = [*pose.matrix.ravel(), pose.correlation]
    return numbers


def pose_of(numbers: Floats) -> Pose:
    """Return the pose in a row of :func:`align_all`."""
    return Pose(numbers[:12].reshape(3, 4), float(numbers[12]))


def _align(
    images: Sequence[npt.NDArray[np.floating]],
    template: Template,
    kind: Alignment,
    jobs: int | None,
    progress: Progress,
    what: str,
) -> list[Pose]:
    target = np.asarray(template.image, np.float32)
    poses: list[Pose] = []
    # Each thread works on its own scan: more threads within the matrix products take several times the processor time.
    with threadpool_limits(1, user_api="blas"):
        for pose in in_threads(lambda image: align(np.asarray(image, np.float32), target, kind), images, jobs=jobs):
            poses.append(pose)
            progress.update(what, len(poses), len(images))
    return poses


def describe_poses(numbers: Floats) -> dict[str, list[float]]:
    """Return which poses are usual in a cohort, as plain values for a header: [low, high] of each measure.

    The limits are 5 robust standard deviations (1.48 times the median absolute deviation) from the median, within
    bounds beyond which no scan is aligned.

    Args:
        numbers: Poses of the cohort, (N, 13), those of unusable scans 0 or NaN; without poses there are no limits.
    """
    poses = [pose_of(row) for row in numbers if np.any(row[:12]) and np.isfinite(row).all()] if numbers.size else []
    if not poses:
        return {}
    correlation = np.array([pose.correlation for pose in poses])
    scale = np.array([np.log(pose.volume_ratio) / 3 for pose in poses])
    rotation = np.array([pose.rotation_deg for pose in poses])
    low, high = (float(np.exp(value)) for value in (_low(scale, _MIN_LOG_SCALE_SD), -_low(-scale, _MIN_LOG_SCALE_SD)))
    return {
        "correlation": [max(_low(correlation, _MIN_CORRELATION_SD), _LOWEST_CORRELATION), 1.0],
        "scale": [max(low, _SCALE_RANGE[0]), min(high, _SCALE_RANGE[1])],
        "rotation_deg": [0.0, min(-_low(-rotation, _MIN_ROTATION_SD), _LARGEST_ROTATION_DEG)],
    }


def _low(values: Floats, least_sd: float) -> float:
    """Return the median of values minus 5 robust standard deviations."""
    middle = float(np.median(values))
    return middle - _N_SDS * max(1.4826 * float(np.median(np.abs(values - middle))), least_sd)


def pose_warnings(numbers: Floats, limits: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """Return in which ways the pose of a scan is unusual, a sentence each.

    Args:
        numbers: Its pose, (13,); one of NaN has none.
        limits: From :func:`describe_poses`.
    """
    if not np.isfinite(numbers).all():
        return ()
    pose = pose_of(numbers)
    found = []
    if pose.correlation < limits["correlation"][0]:
        found.append(
            f"aligned to the template with a correlation of only {pose.correlation:.3f} "
            f"(others at least {limits['correlation'][0]:.3f}): view it"
        )
    scale, (low, high) = pose.volume_ratio ** (1 / 3), limits["scale"]
    largest, _, smallest = pose.scales
    if not low <= scale <= high:
        found.append(
            f"{scale:.2f} times as long as the template (others {low:.2f} to {high:.2f}): "
            "a wrong voxel size, or another space"
        )
    elif largest / smallest > _SCALE_RANGE[1] / _SCALE_RANGE[0] or math.isnan(scale):
        found.append(f"stretched {largest / smallest:.1f} times along one axis to match the template: view it")
    if pose.rotation_deg > limits["rotation_deg"][1]:
        found.append(
            f"turned by {pose.rotation_deg:.0f} degrees to match the template "
            f"(others up to {limits['rotation_deg'][1]:.0f})"
        )
    return tuple(found)
