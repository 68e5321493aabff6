import io

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from aekit.brains.cohort.phantom_people import draw_person
from aekit.brains.cohort.phantom_volumes import (
    FIELD_MM,
    LABELS,
    build_phantom,
    check_size,
    count_voxels,
    encode_nifti,
)
from aekit.brains.volumes.mask import brain_mask
from aekit.errors import AekitError

COUNTS = {24: (1300, 1000, 450), 48: (10_400, 8_000, 3_600)}  # about 665, 512 and 230 mL


def build(size=48, seed=0, number=0, counts=None):
    return build_phantom(counts or COUNTS[size], size=size, spacing_mm=FIELD_MM / size, seed=seed, number=number)


def test_every_tissue_has_exactly_its_number_of_voxels():
    phantom = build()
    assert tuple(np.bincount(phantom.labels.ravel())[1:]) == COUNTS[48]


def test_the_brain_is_everything_but_zero_and_its_mask_is_exact():
    for number in range(5):
        phantom = build(number=number)
        np.testing.assert_array_equal(phantom.data > 0, phantom.labels > 0)
        np.testing.assert_array_equal(brain_mask(phantom.data.astype(np.float32)), phantom.labels > 0)


@pytest.mark.parametrize("number", range(6))
def test_the_largest_head_fits_in_every_pose(number):
    counts = count_voxels((900.0, 750.0, 450.0), 4.0)
    brain = build(number=number, counts=counts).labels > 0
    assert not any(np.take(brain, end, axis).any() for axis in range(3) for end in (0, -1))


def test_fluid_is_outside_and_in_ventricles_and_white_matter_is_inside():
    phantom = build()
    depth = ndimage.distance_transform_edt(phantom.labels > 0)
    mean_depth = {name: depth[phantom.labels == label].mean() for name, label in LABELS.items()}
    assert mean_depth["csfv"] < mean_depth["wmv"] > 1.8 * mean_depth["gmv"]
    deep_fluid = (phantom.labels == LABELS["csfv"]) & (depth > 7)
    _, n_parts = ndimage.label(deep_fluid)
    assert 2 <= n_parts <= 6
    assert 0.05 < deep_fluid.sum() / COUNTS[48][2] < 0.25


def test_intensities_are_those_of_the_tissues_in_order():
    phantom = build()
    medians = {name: np.median(phantom.data[phantom.labels == label]) for name, label in LABELS.items()}
    assert medians["csfv"] < 0.8 * medians["gmv"] < 0.7 * medians["wmv"]


def test_the_same_volumes_and_seed_give_the_same_image_whatever_the_age():
    # Age and sex have no way in: with the same counts, everybody's image is the same number's.
    young, old = (build(24, number=5) for _ in range(2))
    assert encode_nifti(young) == encode_nifti(old)
    assert encode_nifti(build(24, number=6)) != encode_nifti(young)
    assert encode_nifti(build(24, seed=1, number=5)) != encode_nifti(young)


def test_other_volumes_change_the_tissues_and_not_the_scan():
    one = build()
    other = build(counts=(9_400, 8_000, 4_600))
    np.testing.assert_array_equal(one.labels > 0, other.labels > 0)
    same = one.labels == other.labels
    assert np.count_nonzero(~same) < 2500  # 1,000 voxels that changed, and white matter that moved for them
    level = [phantom.data[same & (one.labels == LABELS["wmv"])] * phantom.slope for phantom in (one, other)]
    np.testing.assert_allclose(np.median(level[0]), np.median(level[1]), rtol=0.01)


def test_a_person_has_the_same_anatomy_in_every_box():
    fine, coarse = build(48), build(24)
    halves = (fine.labels > 0).reshape(24, 2, 24, 2, 24, 2).mean(axis=(1, 3, 5)) > 0.5
    assert np.mean(halves != (coarse.labels > 0)) < 0.01


def test_nibabel_reads_the_file_and_it_is_marked_as_synthetic():
    phantom = build()
    image = nib.Nifti1Image.from_bytes(encode_nifti(phantom))
    assert image.header.get_zooms() == (4.0, 4.0, 4.0)
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-5)
    np.testing.assert_allclose(image.affine @ (23.5, 23.5, 23.5, 1), (0, 0, 0, 1))  # the field is centred
    assert b"SYNTHETIC" in bytes(image.header["descrip"])
    np.testing.assert_allclose(image.get_fdata(), phantom.data * phantom.slope, rtol=1e-6)
    assert io.BytesIO(encode_nifti(phantom)).getbuffer().nbytes == 352 + 48**3


@pytest.mark.parametrize(
    ("size", "spacing_mm", "option"),
    [(15, 12.8, "--size"), (400, 0.48, "--size"), (0, 1.0, "--size"), (48, 3.9, "--spacing"), (48, 13.0, "--spacing")],
)
def test_a_box_without_room_or_detail_is_an_error_that_names_its_option(size, spacing_mm, option):
    with pytest.raises(AekitError, match=f"^{option}: "):
        check_size(size, spacing_mm)


@pytest.mark.parametrize("size", [16, 17, 96, 320])
def test_the_default_spacing_is_accepted(size):
    check_size(size, FIELD_MM / size)


def test_the_smallest_box_still_has_every_tissue():
    for number in range(20):
        counts = count_voxels(draw_person(0, number).volumes_ml, 12.0)
        phantom = build_phantom(counts, size=16, spacing_mm=12.0, seed=0, number=number)
        assert tuple(np.bincount(phantom.labels.ravel())[1:]) == counts
