import math

import numpy as np
import pytest
from scipy import ndimage

from aekit.brains.volumes.blur import measure_blur


def brain(spacing_mm, *, smooth_mm=3.0, box_mm=96):
    """Return the same structure, of one size in mm, at any voxel size, within a ball."""
    side = round(box_mm / spacing_mm)
    at = (np.arange(side) + 0.5) * spacing_mm
    fine = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(96, 96, 96)), smooth_mm, mode="wrap")
    places = np.meshgrid(*[at] * 3, indexing="ij")
    image = ndimage.map_coordinates(fine, [one - 0.5 for one in places], order=1)
    mask = sum((one - box_mm / 2) ** 2 for one in places) < (0.4 * box_mm) ** 2
    return np.where(mask, 1 + 0.3 * image / fine.std(), 0).astype(np.float32), mask


def blurred(image, mask, sigma_mm, spacing_mm):
    return np.where(mask, ndimage.gaussian_filter(image, sigma_mm / spacing_mm), 0).astype(np.float32)


def test_more_blur_is_a_larger_number():
    image, mask = brain(2.0)
    found = [measure_blur(blurred(image, mask, sigma, 2.0), mask, (2.0,) * 3) for sigma in (0.0, 2.0, 4.0)]
    assert found[0] < found[1] < found[2]


def test_it_is_of_the_scan_not_of_the_voxel_size_or_of_the_unit():
    fine, coarse = (measure_blur(*brain(side), (side,) * 3) for side in (1.0, 2.0))
    image, mask = brain(2.0)
    assert measure_blur(700 * image, mask, (2.0,) * 3) == pytest.approx(coarse, rel=1e-4)
    assert fine == pytest.approx(coarse, abs=0.1)
    assert measure_blur(blurred(image, mask, 3.0, 2.0), mask, (2.0,) * 3) - coarse > 0.3


def test_a_plane_of_known_curvature_has_that_blur():
    x = np.arange(24, dtype=np.float32)[:, None, None] * np.ones((1, 24, 24), np.float32)
    image, mask = 1 + 0.01 * x**2, np.ones((24, 24, 24), bool)  # the mean of two neighbours is 0.01 * step**2 above
    wanted = 0.01 * 2**2 / image.mean()
    assert measure_blur(image, mask, (2.0,) * 3) == pytest.approx(-math.log(wanted + 1e-3), rel=1e-3)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 20, 20), (2, 2, 2)])
def test_a_brain_too_thin_for_it_is_as_blurred_as_an_even_one(shape):
    image = np.ones(shape, np.float32)
    even = measure_blur(np.ones((20, 20, 20), np.float32), np.ones((20, 20, 20), bool), (2.0,) * 3)
    assert measure_blur(image, image > 0, (2.0,) * 3) == pytest.approx(even)
