import numpy as np
import pytest
from quality_cohort import gridded, phantom

from aekit.brains.cohort.phantom_damage import damage_scan
from aekit.brains.quality.features import ENDS, OWN, own_features
from aekit.brains.quality.judgement import judge_scans
from aekit.brains.volumes.gridding import Grid

COARSE = Grid((12, 12, 12), 16.0)


def ellipsoid(length_mm, *, cut_mm=0.0):
    """Return an even ellipsoid, 4 mm, of some length from bottom to top, the top of which may be cut off."""
    x, y, z = np.meshgrid(*[np.arange(-98, 100, 4.0)] * 3, indexing="ij")
    inside = (x / 70) ** 2 + (y / 85) ** 2 + (2 * z / length_mm) ** 2 < 1
    return np.where(inside & (z < length_mm / 2 - cut_mm), 1.0, 0.0).astype(np.float32)


def ends(images, grid):
    features = own_features(gridded(images, [(4.0,) * 3] * len(images), grid=grid))
    return features[:, [OWN.index(f"end_{end}") for end in ENDS]]


def test_ends_hardly_depend_on_where_a_brain_lies_between_the_slices_of_a_coarse_grid():
    lengths, top = range(120, 152, 4), ENDS.index("top")
    whole = ends([ellipsoid(length) for length in lengths], COARSE)[:, top]
    cut = ends([ellipsoid(length, cut_mm=0.2 * length) for length in lengths], COARSE)[:, top]
    assert np.ptp(whole) < 0.4 * (np.median(cut) - np.median(whole))
    assert (cut > whole.max()).all()


@pytest.mark.parametrize("grid", [COARSE, Grid((16, 16, 16), 12.0)], ids=["16 mm", "12 mm"])
def test_no_scan_of_a_clean_cohort_is_doubtful_on_a_coarse_grid(phantoms, grid):
    judged = judge_scans(gridded(phantoms, grid=grid))
    assert judged.reasons == [""] * 40


def test_cropped_brains_are_found_on_a_coarse_grid():
    images = [phantom(number, seed=2) for number in range(40)]
    for row, kind in ((7, "cropped-top"), (9, "cropped-side"), (20, "half-empty")):
        images[row] = damage_scan(kind, images[row], (8.0,) * 3, np.random.default_rng(row))[0]
    judged = judge_scans(gridded(images, grid=COARSE))
    assert [row for row in range(40) if judged.reasons[row]] == [7, 9, 20]
    assert all("cropped at the" in judged.reasons[row] for row in (7, 9, 20))
