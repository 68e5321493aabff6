"""Rigid and affine alignment of a brain to a template, without outside programs.

Both are images of one working grid, of 4 mm, centred on the brain. The normalised cross-correlation, which does not
change with gain or offset, is maximised by Gauss-Newton steps on a pyramid of 16, 8 and 4 mm, from several rotations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from aekit.brains.volumes.gridding import Grid

Image = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Alignment = Literal["rigid", "affine"]

WORKING_GRID = Grid((48, 56, 48), 4.0)  # 192 x 224 x 192 mm; both halvings of its sides are whole numbers

_START_DEG = (-25.0, 0.0, 25.0)  # about each axis; the steps at 16 mm bridge what lies between and somewhat beyond
_N_KEPT = 3  # starts that are followed at 8 mm
_N_STEPS = {16: 8, 8: 15, 4: 25}  # at most, per level, by voxel size in mm
_CONVERGED_MM = {16: 0.5, 8: 0.1, 4: 0.02}  # a step that moves the corner of a brain by less is the last
_SMOOTH_VOXELS = 0.8  # SD of a Gaussian: poses of a head of formulas are off by 0.1 degrees, without it by up to 1
_REACH_MM = 80.0  # from the centre to the corner of a brain
_DAMPING, _N_TRIES = 1e-3, 4  # of Levenberg and Marquardt: the least, and how often it grows tenfold
_MIN_GAIN = 1e-9  # of the correlation


@dataclass(frozen=True)
class Pose:
    """Where a brain lies relative to a template.

    Attributes:
        matrix: From places in the template to places in the scan, both in mm from their centres, (3, 4).
        correlation: Normalised cross-correlation of the aligned scan, at the template's size, and the template on the
            working grid, in [-1, 1].
    """

    matrix: Floats
    correlation: float

    @property
    def rotation_deg(self) -> float:
        """Return the angle by which the scan is turned, by polar decomposition, in [0, 180]."""
        left, _, right = np.linalg.svd(self.matrix[:, :3])
        return math.degrees(math.acos(float(np.clip((np.trace(left @ right) - 1) / 2, -1.0, 1.0))))

    @property
    def scales(self) -> tuple[float, float, float]:
        """Return by which factors the scan is longer than the template along its principal axes, the largest first."""
        values = np.linalg.svd(self.matrix[:, :3], compute_uv=False)
        return float(values[0]), float(values[1]), float(values[2])

    @property
    def shift_mm(self) -> float:
        """Return the distance between the centre of the scan and where that of the template comes to lie."""
        return float(np.linalg.norm(self.matrix[:, 3]))

    @property
    def volume_ratio(self) -> float:
        """Return the volume of the scan per volume of the template."""
        return abs(float(np.linalg.det(self.matrix[:, :3])))


def resample(image: Image, matrix: Floats) -> Image:
    """Return a brain on the working grid, moved to where a template has it, by linear interpolation, (X, Y, Z).

    Args:
        image: On the working grid, or one of its pyramid's levels.
        matrix: Of a pose, (3, 4).
    """
    middle = (np.array(image.shape) - 1) / 2
    spacing_mm = WORKING_GRID.size[0] * WORKING_GRID.spacing_mm / image.shape[0]
    offset = middle + matrix[:, 3] / spacing_mm - matrix[:, :3] @ middle
    return np.asarray(ndimage.affine_transform(image, matrix[:, :3], offset, order=1, mode="constant"), np.float32)


def align(image: Image, template: Image, kind: Alignment) -> Pose:
    """Return where a brain lies relative to a template.

    Args:
        image: The brain on ``WORKING_GRID``, 0 outside it, centred on its centroid.
        template: On the same grid; its brain is centred on its centroid.
        kind: ``affine``, twelve parameters, or ``rigid``: the rotation and the shift of the best similarity, whose
            change of size is left out. (If size is not fitted, heads of other sizes are turned: 15 % cost 4 degrees.)

    Source:
        Efficient second-order minimisation, with the mean of both images' gradients: Benhimane & Malis 2004,
        doi:10.1109/IROS.2004.1389474; of a correlation coefficient: Evangelidis & Psarakis 2008,
        doi:10.1109/TPAMI.2008.113.
    """
    levels = list(zip(_pyramid(image), _pyramid(template), strict=True))
    coarse, middle, fine = (
        (_Level(small, spacing), own) for (own, small), spacing in zip(levels, (16, 8, 4), strict=True)
    )
    scale = _extent(image) / _extent(template)
    starts = [_pose_of(_rotation(degrees) * scale) for degrees in itertools.product(_START_DEG, repeat=3)]
    found = [_refine(*coarse, start, "rigid") for start in starts]
    found.sort(key=lambda pose: -pose.correlation)
    found = [_refine(*middle, pose, kind) for pose in found[:_N_KEPT]]
    best = _refine(*fine, max(found, key=lambda pose: pose.correlation), kind)
    if kind == "affine":
        return best
    left, _, right = np.linalg.svd(best.matrix[:, :3])
    return Pose(np.hstack([left @ right, best.matrix[:, 3:]]), best.correlation)


def _pose_of(matrix: Floats) -> Pose:
    return Pose(np.hstack([matrix, np.zeros((3, 1))]), -1.0)


def _pyramid(image: Image) -> list[Image]:
    """Return an image with voxels of 16, 8 and 4 mm, smoothed somewhat.

    Without that, the blur of interpolation, which is least where voxels fall on voxels, attracts a pose.
    """
    levels = [np.asarray(ndimage.gaussian_filter(np.asarray(image, np.float32), _SMOOTH_VOXELS), np.float32)]
    for _ in range(2):
        x, y, z = (side // 2 for side in levels[0].shape)
        levels.insert(0, levels[0].reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5)))
    return levels


def _extent(image: Image) -> float:
    """Return the root mean square distance of a brain's voxels from its centroid, by which sizes are compared."""
    places = np.argwhere(image > 0).astype(np.float64)
    return float(np.sqrt(places.var(axis=0).sum())) if len(places) else 1.0


def _rotation(degrees: Sequence[float]) -> Floats:
    """Return the rotation by the angles about R, A and S, one after the other, (3, 3)."""
    result = np.eye(3)
    for axis, angle in enumerate(map(math.radians, degrees)):
        vector = np.zeros(3)
        vector[axis] = angle
        result = _exponential(vector) @ result
    return result


def _exponential(vector: Floats) -> Floats:
    """Return the rotation about a vector by its length in radians, (3, 3)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    cross: Floats = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    if angle < 1e-12:
        return np.eye(3) + cross
    return np.eye(3) + math.sin(angle) / angle * cross + (1 - math.cos(angle)) / angle**2 * cross @ cross


class _Level:
    """A template at one voxel size, with what all steps of an alignment share."""

    def __init__(self, template: Image, spacing_mm: float) -> None:
        self.spacing_mm = spacing_mm
        values = template.ravel().astype(np.float64)
        values -= values.mean()
        self.values = values / max(float(np.linalg.norm(values)), 1e-12)
        norm = max(float(np.linalg.norm(template - template.mean())), 1e-12)
        self.gradient = self._gradient(template / np.float32(norm))
        axes = [(np.arange(n) - (n - 1) / 2) * spacing_mm / _REACH_MM for n in template.shape]
        self.places = [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]  # in units of _REACH_MM

    def _gradient(self, image: Image) -> list[Floats]:
        """Return the derivatives along the axes per _REACH_MM, each (N,)."""
        step = self.spacing_mm / _REACH_MM
        return [derivative.ravel().astype(np.float64) for derivative in np.gradient(image, step)]

    def normalise(self, moved: Image) -> tuple[Floats, list[Floats]]:
        """Return a moved image of mean 0 and norm 1, (N,), and its derivatives on the same scale."""
        norm = max(float(np.linalg.norm(moved - moved.mean())), 1e-12)
        values = (moved.ravel() - moved.mean()).astype(np.float64) / norm
        return values, self._gradient(moved / np.float32(norm))


@dataclass(frozen=True)
class _State:
    """A pose during an alignment, with what it does to the image."""

    matrix: Floats
    values: Floats  # of the moved image, of mean 0 and norm 1, (N,)
    gradient: list[Floats]
    correlation: float


def _state_of(level: _Level, image: Image, matrix: Floats) -> _State:
    values, gradient = level.normalise(resample(image, matrix))
    return _State(matrix, values, gradient, float(values @ level.values))


def _refine(level: _Level, image: Image, pose: Pose, kind: Alignment) -> Pose:
    """Return the pose of the highest correlation near one, at one level."""
    state = _state_of(level, image, pose.matrix)
    damping = _DAMPING
    for _ in range(_N_STEPS[int(level.spacing_mm)]):
        products, slope = _normal_equations(level, state, kind)
        for _ in range(_N_TRIES):
            step = _solve(products + damping * np.diag(np.diag(products) + 1e-9), slope)
            found = _state_of(level, image, _compose(state.matrix, step, kind))
            if found.correlation > state.correlation:
                break
            damping *= 10
        else:
            break
        gain, moved_mm = found.correlation - state.correlation, float(np.abs(step).max()) * _REACH_MM
        state = found
        damping = max(damping / 3, _DAMPING)
        if moved_mm < _CONVERGED_MM[int(level.spacing_mm)] or gain < _MIN_GAIN:
            break
    return Pose(state.matrix, state.correlation)


def _solve(products: Floats, slope: Floats) -> Floats:
    step: Floats = np.asarray(np.linalg.solve(products, slope), np.float64)
    return step


def _normal_equations(level: _Level, state: _State, kind: Alignment) -> tuple[Floats, Floats]:
    """Return the matrix, (P, P), and the right-hand side, (P,), of a Gauss-Newton step."""
    gradient = [(one + other) / 2 for one, other in zip(state.gradient, level.gradient, strict=True)]
    jacobian = _jacobian(level, gradient, kind)
    # The moved image keeps its mean and its norm: only what is orthogonal to a constant and to itself counts.
    jacobian -= jacobian.mean(axis=1, keepdims=True)
    jacobian -= np.outer(jacobian @ state.values, state.values)
    return jacobian @ jacobian.T, jacobian @ (level.values - state.values)


def _jacobian(level: _Level, gradient: list[Floats], kind: Alignment) -> Floats:
    """Return the derivatives by a shift, in _REACH_MM, and by a linear map or by size and rotation, (P, N)."""
    x, y, z = level.places
    along_x, along_y, along_z = gradient
    if kind == "affine":
        return np.stack([*gradient, *(slope * place for slope in gradient for place in (x, y, z))])
    turns = (y * along_z - z * along_y, z * along_x - x * along_z, x * along_y - y * along_x)
    return np.stack([*gradient, x * along_x + y * along_y + z * along_z, *turns])


def _compose(matrix: Floats, step: Floats, kind: Alignment) -> Floats:
    """Return a pose after a step in the coordinates of the template, (3, 4)."""
    change = np.eye(3) + step[3:].reshape(3, 3) if kind == "affine" else math.exp(step[3]) * _exponential(step[4:])
    linear, shift = matrix[:, :3], matrix[:, 3] + matrix[:, :3] @ (step[:3] * _REACH_MM)
    return np.hstack([linear @ change, shift[:, None]])
