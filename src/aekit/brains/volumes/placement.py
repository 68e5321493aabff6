"""Where the common grid lies in a scan, and files on that grid for viewers."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from aekit.brains.volumes.gridding import Grid, is_oblique
from aekit.brains.volumes.mask import brain_mask
from aekit.brains.volumes.nifti import Volume
from aekit.brains.volumes.template import pose_of
from aekit.core.artifacts import write_atomically

Floats = npt.NDArray[np.float64]

_RIGHT_ANGLED = 1e-3  # cosine of the angle between two axes: affines of turned volumes are off by 1e-6


def grid_affine(volume: Volume, grid: Grid, pose: Floats | None = None) -> Floats:
    """Return the affine from voxel indices of the grid to mm in the scan's own space, (4, 4).

    As in :func:`aekit.brains.volumes.gridding.to_grid`, the grid's axes are those of the world, or of the template that
    the scan is aligned to, and the centre of the scan is the centroid of the brain mask. Axes of a volume that are
    almost those of the world are used as they are.

    Args:
        volume: The scan.
        grid: The grid.
        pose: Where the brain lies relative to the template, (13,), see
            :func:`aekit.brains.volumes.template.align_all`; None, or empty, if it is not aligned.
    """
    centroid = np.array([float(places.mean()) for places in np.nonzero(brain_mask(volume.data))])
    is_aligned = pose is not None and pose.size > 0
    matrix = pose_of(pose).matrix if pose is not None and is_aligned else np.eye(3, 4)
    axes = matrix[:, :3] * grid.spacing_mm
    if not is_aligned and not is_oblique(volume.affine):
        axes = volume.affine[:3, :3] / np.asarray(volume.spacing_mm) * grid.spacing_mm
    affine = np.eye(4)
    affine[:3, :3] = axes
    centre_mm = volume.affine[:3, :3] @ centroid + volume.affine[:3, 3]
    affine[:3, 3] = centre_mm + matrix[:, 3] - axes @ _middle(grid)
    return affine


def centred_affine(grid: Grid) -> Floats:
    """Return the affine of means over scans, whose origin is the centre of the brain, (4, 4)."""
    affine = np.diag([*[grid.spacing_mm] * 3, 1.0])
    affine[:3, 3] = -grid.spacing_mm * _middle(grid)
    return affine


def _middle(grid: Grid) -> Floats:
    return (np.array(grid.size) - 1) / 2


def to_mm(affine: Floats, voxel: tuple[int, ...]) -> Floats:
    """Return the place of the centre of a voxel in mm, (3,)."""
    place: Floats = affine[:3, :3] @ np.array(voxel, np.float64) + affine[:3, 3]
    return place


def write_nifti(path: Path, values: Floats, affine: Floats, description: str) -> Path:
    """Return ``path`` with values on a grid, (X, Y, Z), as a float32 NIfTI-1 file, .nii.gz.

    Args:
        path: The file.
        values: One number per voxel.
        affine: From voxel indices to mm, (4, 4).
        description: At most 79 characters of ASCII.
    """
    header: Any = nibabel.Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_dtype(np.float32)
    header.set_data_shape(values.shape)
    header.set_xyzt_units("mm")
    # A qform has no shear, which alignment by --register affine leaves: with a code of 0 viewers use the sform.
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    is_sheared = np.abs(axes.T @ axes - np.eye(3)).max() > _RIGHT_ANGLED
    header.set_qform(affine, code=0 if is_sheared else 1)
    header.set_sform(affine, code=1)
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header["descrip"] = description.encode("ascii")[:79]
    body = bytes(header.binaryblock) + bytes(4) + values.astype("<f4").tobytes(order="F")
    # Without a time stamp, so that the bytes depend on the values alone.
    return write_atomically(path, lambda file: file.write(gzip.compress(body, mtime=0)))
