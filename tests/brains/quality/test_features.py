import numpy as np
import pytest
from quality_cohort import gridded, phantom

from aekit.brains.cohort.phantom_damage import damage_scan
from aekit.brains.cohort.phantom_people import draw_person
from aekit.brains.cohort.phantom_volumes import build_phantom, count_voxels
from aekit.brains.quality.features import ENDS, OWN, _ghosts, own_features
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


@pytest.fixture(scope="module")
def own_at_4_mm():
    """Return the features of a phantom of 4 mm by name, as it is and damaged in three ways."""
    counts = count_voxels(draw_person(3, 0).volumes_ml, 4.0)
    image = build_phantom(counts, size=48, spacing_mm=4.0, seed=3, number=0).data.astype(np.float32)
    found = {}
    for kind in ("", "ghosting", "bias-field", "blurred"):
        one = damage_scan(kind, image, (4.0,) * 3, np.random.default_rng(0))[0] if kind else image
        made = gridded([one], [(4.0,) * 3], grid=Grid((48, 48, 48), 4.0), correct_bias=kind in ("", "bias-field"))
        found[kind] = dict(zip(OWN, own_features(made)[0], strict=True))
    return found


@pytest.mark.parametrize(
    ("kind", "feature", "least"), [("ghosting", "ghosts", 0.1), ("bias-field", "field", 0.15), ("blurred", "blur", 0.7)]
)
def test_ghosts_bias_fields_and_blur_each_have_a_feature_that_tells_them(own_at_4_mm, kind, feature, least):
    usual = own_at_4_mm[""][feature]
    assert own_at_4_mm[kind][feature] > usual + least
    for other in {"ghosting", "bias-field", "blurred"} - {kind}:
        assert own_at_4_mm[other][feature] < usual + 0.8 * least


def test_ghosts_are_the_share_of_a_copy_whatever_its_distance():
    random = np.random.default_rng(0)
    fine = np.zeros((48, 48, 48), np.float32)
    fine[8:40, 8:40, 8:40] = random.uniform(0.5, 1.0, (32, 32, 32))
    for axis, distance in ((0, 5), (1, 8), (2, 14)):
        repeated = np.where(fine > 0, fine + np.roll(fine, distance, axis), 0.0).astype(np.float32)
        assert _ghosts(repeated, repeated > 0) > 0.3
    assert _ghosts(fine, fine > 0) < 0.05


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
