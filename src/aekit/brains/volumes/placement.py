"""Where the common grid lies in a scan, and files on that grid for viewers."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from aekit.brains.volumes.gridding import Grid
from aekit.brains.volumes.mask import brain_mask
from aekit.brains.volumes.nifti import Volume
from aekit.core.artifacts import write_atomically

Floats = npt.NDArray[np.float64]


def grid_affine(volume: Volume, grid: Grid) -> Floats:
    """Return the affine from voxel indices of the grid to mm in the scan's own space, (4, 4).

    The grid's axes are those of the volume, and its centre is the centroid of the brain mask, as in
    :func:`aekit.brains.volumes.gridding.to_grid`.
    """
    centroid = np.array([float(places.mean()) for places in np.nonzero(brain_mask(volume.data))])
    axes = volume.affine[:3, :3] / np.asarray(volume.spacing_mm) * grid.spacing_mm
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = volume.affine[:3, :3] @ centroid + volume.affine[:3, 3] - axes @ _middle(grid)
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
    header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header["descrip"] = description.encode("ascii")[:79]
    body = bytes(header.binaryblock) + bytes(4) + values.astype("<f4").tobytes(order="F")
    # Without a time stamp, so that the bytes depend on the values alone.
    return write_atomically(path, lambda file: file.write(gzip.compress(body, mtime=0)))
