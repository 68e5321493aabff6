"""What is known of a volume file before it is used: whether it can be read, its grid and the size of its brain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aekit.brains.volumes.mask import brain_intensities, brain_mask, brain_warnings
from aekit.brains.volumes.nifti import (
    BadVolume,
    Spacing,
    Triple,
    Volume,
    check_values,
    decode_volume,
    volume_digest,
)
from aekit.core.progress import SILENT, Progress
from aekit.core.threads import in_threads


@dataclass(frozen=True)
class VolumeCheck:
    """What is known of a file before it is used.

    Attributes:
        path: The file.
        problem: Why it cannot be used; empty if it can.
        warnings: What is unusual about it, a sentence each.
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


def inspect_volumes(
    paths: Sequence[Path], *, jobs: int | None = None, progress: Progress = SILENT
) -> list[VolumeCheck]:
    """Return the check of each file, in their order; a bad file is reported, never raised.

    Args:
        paths: The files.
        jobs: Threads to read with; None uses all cores.
        progress: Shows how many files are done.
    """
    checks = []
    for check in in_threads(inspect_volume, paths, jobs=jobs):
        checks.append(check)
        progress.update("checking volumes", len(checks), len(paths))
    return checks


def inspect_volume(path: Path) -> VolumeCheck:
    """Return the check of one file, also if it is bad."""
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
        brain_ml = float(np.count_nonzero(mask)) * volume.voxel_ml
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
