import numpy as np
import pytest
from nifti_files import ball

from aekit.brains.volumes.mask import brain_intensities, brain_mask
from aekit.brains.volumes.nifti import BadVolume


def test_a_mask_has_no_holes_and_no_specks():
    truth = ball()
    data = truth.astype(np.float32)
    data[11:13, 11:13, 11:13] = 0
    data[2, 2, 2] = 5
    np.testing.assert_array_equal(brain_mask(data), truth)


def test_the_background_may_be_any_one_value():
    data = np.where(ball(), 300.0, -1024.0).astype(np.float32)
    np.testing.assert_array_equal(brain_mask(data), ball())
    assert brain_intensities(data, ball()).max() == 1324


def test_a_noisy_background_is_left_out():
    random = np.random.default_rng(0)
    noise = random.normal(0, 10, (2, 24, 24, 24))
    data = np.hypot(ball() * 200 + noise[0], noise[1]).astype(np.float32)
    mask = brain_mask(data)
    dice = 2 * (mask & ball()).sum() / (mask.sum() + ball().sum())
    assert dice > 0.995


def test_the_faint_ripples_of_an_interpolation_are_left_out():
    data = np.where(ball(), 200, np.random.default_rng(0).normal(0, 0.5, (24, 24, 24))).astype(np.float32)
    np.testing.assert_array_equal(brain_mask(data), ball())


def test_a_constant_volume_has_no_brain():
    assert not brain_mask(np.ones((5, 6, 7), np.float32)).any()
    with pytest.raises(BadVolume, match="stands out"):
        brain_intensities(np.ones((5, 6, 7), np.float32), np.zeros((5, 6, 7), bool))


def test_a_standardised_brain_is_refused():
    data = np.where(ball(), np.random.default_rng(0).normal(0, 1, (24, 24, 24)), 0).astype(np.float32)
    with pytest.raises(BadVolume, match="darker than the background"):
        brain_intensities(data, brain_mask(data))


def test_a_few_negative_voxels_count_as_black():
    data = np.where(ball(), 100, 0).astype(np.float32)
    data[12, 12, 12] = -3
    assert brain_intensities(data, ball()).min() == 0
