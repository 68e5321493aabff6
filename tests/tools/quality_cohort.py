"""Small phantoms in memory, and as scans on the grid."""

import numpy as np

from aekit.brains.cohort.phantom_people import draw_person
from aekit.brains.cohort.phantom_volumes import build_phantom, count_voxels
from aekit.brains.volumes.gridding import Grid, to_grid
from aekit.brains.volumes.nifti import Volume
from aekit.brains.volumes.store import PreparedVolumes

SIZE, SPACING = 24, 8.0
N = 40
OWN_GRID = Grid((SIZE,) * 3, SPACING)


def phantom(number, seed=3):
    """Return the intensities of one phantom, float32 (24, 24, 24)."""
    counts = count_voxels(draw_person(seed, number).volumes_ml, SPACING)
    made = build_phantom(counts, size=SIZE, spacing_mm=SPACING, seed=seed, number=number)
    return made.data.astype(np.float32)


def gridded(images, spacings=None, *, grid=OWN_GRID, correct_bias=False):
    """Return scans on a grid, by default of their own size, as a cohort is prepared."""
    spacings = spacings or [(SPACING,) * 3] * len(images)
    made = []
    for image, spacing in zip(images, spacings, strict=True):
        affine = np.diag([*spacing, 1.0])
        volume = Volume(image, affine, spacing, (), image.shape, "RAS")
        made.append(to_grid(volume, grid, correct_bias=correct_bias))
    return PreparedVolumes(
        images=np.stack([one.image for one in made]).astype(np.float16),
        histograms_ml=np.stack([one.histogram_ml for one in made]),
        brain_ml=np.array([one.brain_ml for one in made]),
        scale=np.array([one.scale for one in made]),
        spacing_mm=np.array(spacings),
        shapes=[image.shape for image in images],
        warnings={},
        fingerprint="",
        digests=[str(number) for number in range(len(images))],
        bad={},
        blur=np.array([one.blur for one in made]),
        field_size=np.array([one.field_size for one in made]),
    )
