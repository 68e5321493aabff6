"""One brain on a common grid: centred, averaged over its voxels, with intensities scaled alike."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from aekit.brains.config import Intensity
from aekit.brains.volumes.bias_field import measure_bias_field
from aekit.brains.volumes.blur import measure_blur
from aekit.brains.volumes.mask import Mask, brain_intensities, brain_mask, brain_warnings
from aekit.brains.volumes.nifti import BadVolume, Spacing, Triple, Volume, Voxels
from aekit.brains.volumes.tissue_peaks import TissueScale, fit_tissue_scale
from aekit.errors import UsageError, count

Floats = npt.NDArray[np.float64]

N_BINS = 64
TOP = 1.28  # upper end of the last bin of a histogram; brighter voxels are clipped to it

# Candidates for the intensity that becomes 1, by the mean R^2 of the tissue volumes in a ridge regression on the
# histogram (5-fold, 3 seeds), on 181 IXI brains and on 200 phantoms of 48^3: the mean between these two percentiles
# 0.952 and 0.897, the mean of all 0.953 and 0.891, percentile 90 0.951 and 0.865, 95 0.953 and 0.849, 99.5 0.950 and
# 0.844, the mode of white matter 0.949 and 0.820. Unlike the mean of all, it leaves vessels and fluid out.
_SCALE_PERCENTILES = (40.0, 95.0)
_SCALE_FACTOR = 1.4  # brings the 99.5th percentile to about 1: IXI 0.94-1.07, phantoms 0.88-1.20
_FINE = 8  # fine bins per bin
# SD in bins of the Gaussian that smooths a histogram, as files of 8 bits have steps as wide as a bin, which beat with
# the bins: R^2 of the tissue volumes as above with and without it, on IXI 0.960 and 0.929, on phantoms 0.928 and 0.921.
_SMOOTH_BINS = 1.0
_TILT_DEG = 0.1  # below it, the corner of a brain is 0.14 mm from where it should be, and nothing is interpolated
_MAX_POINTS = 8  # along the edge of a voxel of the grid
_CUT_FRACTION = 0.005  # of a brain outside the grid: below it there is no warning


@dataclass(frozen=True)
class Grid:
    """A box of voxels around the centre of a brain.

    Attributes:
        size: Voxels along R, A and S.
        spacing_mm: Voxel size.
    """

    size: Triple
    spacing_mm: float

    def __post_init__(self) -> None:
        if min(self.size) < 4 or max(self.size) > 512:
            raise UsageError(f"--size: {self.text} voxels are outside 4 to 512; choose a size in between")
        if not 0.1 <= self.spacing_mm <= 40:
            raise UsageError(f"--spacing: {self.spacing_mm:g} mm is outside 0.1 to 40; choose a spacing in between")

    @property
    def text(self) -> str:
        """Return the size as 40x48x40."""
        return "x".join(map(str, self.size))


@dataclass(frozen=True)
class GriddedBrain:
    """One brain on a grid.

    Attributes:
        image: Mean intensity in each voxel of the grid, scaled, in [0, 1.28], 0 outside the brain, float32 (X, Y, Z).
        histogram_ml: Brain in each of ``N_BINS`` equal bins of scaled intensity over [0, 1.28), float32 (N_BINS,), by
            the voxels of the file before averaging, smoothed by one bin; the last bin also counts what is brighter. Its
            sum is ``brain_ml``.
        brain_ml: Volume of the brain mask.
        scale: The intensity of the file that became 1.
        blur: How blurred the file is, minus the log of its mean curvature over steps of about 4 mm over its mean.
        field_size: SD of the logarithm of the fitted bias field, 0 if none was fitted.
        cut: Fraction of the brain's summed intensity that lies outside the grid, in [0, 1].
        warnings: About the file and the grid, a sentence each.
    """

    image: Voxels
    histogram_ml: Voxels
    brain_ml: float
    scale: float
    blur: float
    field_size: float
    cut: float
    warnings: tuple[str, ...]


def to_grid(
    volume: Volume,
    grid: Grid,
    *,
    correct_bias: bool = False,
    intensity: Intensity = "percentiles",
    matrix: Floats | None = None,
) -> GriddedBrain:
    """Return a brain averaged over the voxels of a grid that is centred on it, and scaled.

    The value of a voxel of the grid is the mean of the file's intensities over its cube, each weighted by the volume of
    the overlap; parts of the cube outside the file or the brain count as 0. So the sum over all voxels times their
    volume stays the same, at any ratio of voxel sizes and for shifts by a fraction of a voxel.

    A volume whose axes are tilted from R-A-S, or a brain that is to be turned to a template, is interpolated at several
    points of each voxel of the grid, whose mean is taken. Histogram and volume are of the file's voxels in either case.

    Args:
        volume: From :func:`aekit.brains.volumes.nifti.read_volume`.
        grid: The target grid; its centre is placed on the centroid of the brain mask.
        correct_bias: Remove the bias field first; see :mod:`aekit.brains.volumes.bias_field`.
        intensity: Scale by two ``percentiles``, a gain alone, or align the ``peaks`` of three tissues; see
            :mod:`aekit.brains.volumes.tissue_peaks`.
        matrix: From places in the grid to places in the scan, in mm from their centres, (3, 4); None keeps the pose.

    Raises:
        BadVolume: There is no brain in the volume.
    """
    mask = brain_mask(volume.data)
    brain = brain_intensities(volume.data, mask)
    field_size = 0.0
    if correct_bias:
        field, field_size = measure_bias_field(brain, mask)
        brain /= field
    blur = measure_blur(brain, mask, volume.spacing_mm)
    inside = brain[mask]
    tissues = fit_tissue_scale(inside) if intensity == "peaks" else None
    scale = _scale_of(inside) if tissues is None else tissues.unit
    inside = _scaled(inside, scale, tissues)
    voxel_ml = volume.voxel_ml
    histogram_ml = _smooth_histogram(inside) * voxel_ml
    brain_ml = inside.size * voxel_ml
    brain = _scaled(brain, scale, tissues)
    ratio = 1.0  # of a volume in the scan to that in the grid
    if matrix is None and not is_oblique(volume.affine):
        image = _average(brain, mask, volume.spacing_mm, grid)
        total = float(inside.sum(dtype=np.float64)) * math.prod(volume.spacing_mm) / 1000.0
    else:
        matrix = np.eye(3, 4) if matrix is None else matrix
        image = reslice(brain, mask, volume.affine, grid, matrix)
        total = float(inside.sum(dtype=np.float64)) * voxel_ml
        ratio = abs(float(np.linalg.det(matrix[:, :3])))
    cut = max(0.0, 1.0 - float(image.sum(dtype=np.float64)) * ratio * grid.spacing_mm**3 / 1000.0 / total)
    warnings = (*volume.warnings, *brain_warnings(brain_ml))
    if intensity == "peaks" and tissues is None:
        warnings += ("three tissues cannot be told apart by intensity, which is scaled by percentiles instead",)
    if cut > _CUT_FRACTION:
        box = f"{grid.text} voxels of {grid.spacing_mm:g} mm"
        warnings += (f"{100 * cut:.1f} % of the brain lies outside the grid of {box}",)
    return GriddedBrain(image, histogram_ml.astype(np.float32), brain_ml, scale, blur, field_size, cut, warnings)


def _scale_of(inside: Voxels) -> float:
    """Return the intensity that becomes 1, of the intensities of a brain, (n,)."""
    low, high = np.percentile(inside, _SCALE_PERCENTILES)
    within = (inside >= low) & (inside <= high)
    if not within.any():
        raise BadVolume(f"its brain has only {count(len(inside), 'voxel')}", "view it")
    scale = _SCALE_FACTOR * float(inside.mean(where=within, dtype=np.float64))
    if scale <= 0:
        raise BadVolume("its brain is as dark as the background", "view it")
    return scale


def _scaled(values: Voxels, scale: float, tissues: TissueScale | None) -> Voxels:
    scaled = values / np.float32(scale) if tissues is None else tissues.apply(values)
    return np.minimum(scaled, np.float32(TOP), out=scaled)


def _smooth_histogram(inside: Voxels) -> Floats:
    """Return the number of voxels per bin of the scaled intensities of a brain, (N_BINS,), smoothed by one bin."""
    n_fine = N_BINS * _FINE
    fine = np.bincount(np.minimum((inside * np.float32(n_fine / TOP)).astype(np.int64), n_fine - 1), minlength=n_fine)
    # Reflected at the ends, so that no voxel is lost.
    smooth = ndimage.gaussian_filter1d(fine.astype(np.float64), _SMOOTH_BINS * _FINE, mode="reflect")
    counts: Floats = smooth.reshape(N_BINS, _FINE).sum(axis=1)
    return counts


def _average(brain: Voxels, mask: Mask, spacing_mm: Spacing, grid: Grid) -> Voxels:
    """Return the means over the voxels of the grid, float32 (X, Y, Z)."""
    image = brain
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        profile = np.count_nonzero(mask, axis=others)  # brain voxels per slice
        rows = np.flatnonzero(profile)
        first, stop = int(rows[0]), int(rows[-1]) + 1
        centre = float(profile @ np.arange(len(profile))) / float(profile.sum())
        edges_mm = (np.arange(first, stop + 1, dtype=np.float64) - 0.5 - centre) * spacing_mm[axis]
        weights = overlap_weights(edges_mm, grid.size[axis], grid.spacing_mm).astype(np.float32)
        # Slices without brain are zero and left out; the finished axis goes last, so that after three rounds the axes
        # are in order again.
        block = image.take(range(first, stop), axis=0).reshape(stop - first, -1)
        image = (weights @ block).reshape(grid.size[axis], *image.shape[1:]).transpose(1, 2, 0)
    return np.ascontiguousarray(image)


def is_oblique(affine: Floats) -> bool:
    """Return whether the axes of a volume are not those of the world, R, A and S, but tilted or sheared."""
    linear = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(linear - np.diag(np.sign(np.diag(linear)))).max() > math.sin(math.radians(_TILT_DEG)))


def reslice(brain: Voxels, mask: Mask, affine: Floats, grid: Grid, matrix: Floats) -> Voxels:
    """Return a brain on a grid whose axes are turned, scaled or sheared against its own, float32 (X, Y, Z).

    Args:
        brain: Intensities, 0 outside the brain, (X, Y, Z).
        mask: The brain, whose centroid is the centre of the scan.
        affine: From voxel indices of ``brain`` to mm, (4, 4).
        grid: The target grid.
        matrix: From places in the grid to places in the scan, in mm from their centres, (3, 4).
    """
    linear = np.linalg.inv(affine[:3, :3]) @ matrix[:, :3] * grid.spacing_mm  # voxels of the file per voxel of the grid
    spans, centre = _spans(mask)
    place = centre + np.linalg.inv(affine[:3, :3]) @ matrix[:, 3] - linear @ ((np.array(grid.size) - 1) / 2)
    low, high = _corners(spans, linear, place, grid.size)  # of the part of the grid where there is brain
    image = np.zeros(grid.size, np.float32)
    # So many points along the edges of a voxel of the grid that two of them meet each voxel of the file.
    n = int(np.clip(math.ceil(2 * np.abs(linear).max()), 2, _MAX_POINTS))
    _, n_y, n_z = (int(side) for side in high - low)
    for row in range(low[0], high[0]):  # slab by slab, as all points at once may not fit into memory
        first = place + linear @ (np.array([row, low[1], low[2]]) + (1 / n - 1) / 2)
        points = ndimage.affine_transform(brain, linear / n, first, (n, n * n_y, n * n_z), order=1, mode="constant")
        image[row, low[1] : high[1], low[2] : high[2]] = points.reshape(n, n_y, n, n_z, n).mean(axis=(0, 2, 4))
    return image


def _spans(mask: Mask) -> tuple[list[tuple[int, int]], Floats]:
    """Return the first and last brain voxel along each axis, and the centroid of the brain, (3,), in voxels."""
    profiles = [np.count_nonzero(mask, axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    rows = [np.flatnonzero(profile) for profile in profiles]
    centre = [float(profile @ np.arange(len(profile))) / float(profile.sum()) for profile in profiles]
    return [(int(row[0]), int(row[-1])) for row in rows], np.array(centre)


def _corners(
    spans: list[tuple[int, int]], linear: Floats, place: Floats, size: Triple
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first voxel of the grid in which there may be brain, and the last one plus 1, both (3,)."""
    corners = np.array(list(itertools.product(*((low - 1, high + 1) for low, high in spans))), np.float64)
    found = np.linalg.solve(linear, (corners - place).T)
    low = np.clip(np.floor(found.min(axis=1)).astype(np.int64), 0, size)
    high = np.clip(np.ceil(found.max(axis=1)).astype(np.int64) + 1, low, size)
    return low, high


def overlap_weights(edges_mm: Floats, n_out: int, spacing_mm: float) -> Floats:
    """Return the fraction of each new voxel along one axis that each old voxel fills, (n_out, n_in).

    Args:
        edges_mm: Edges of the old voxels, ascending, (n_in + 1,), relative to the centre of the new ones.
        n_out: Number of new voxels.
        spacing_mm: Their size.

    Returns:
        Fractions, each >= 0. A column sums to its voxel's length / ``spacing_mm`` if it lies within the new ones.
    """
    ends = (np.arange(n_out + 1) - n_out / 2) * spacing_mm
    lower = np.maximum(ends[:-1, None], edges_mm[None, :-1])
    upper = np.minimum(ends[1:, None], edges_mm[None, 1:])
    fractions: Floats = np.maximum(upper - lower, 0.0) / spacing_mm
    return fractions
