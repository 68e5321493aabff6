import numpy as np
import pytest
from analytic_head import head, rotation
from scipy.stats import norm

from aekit.brains.volumes.gridding import N_BINS, TOP, Grid, is_oblique, overlap_weights, to_grid
from aekit.brains.volumes.nifti import Volume
from aekit.errors import AekitError


def volume(data, spacing_mm=(3.0, 3.0, 3.0)):
    return Volume(np.asarray(data, np.float32), np.diag([*spacing_mm, 1.0]), spacing_mm, (), data.shape, "RAS")


def brain(shape=(40, 48, 44), centre=(20, 24, 22), axes=(12, 15, 13), seed=0):
    """Return an ellipsoid of intensities 100 to 200 within zeros."""
    where = np.indices(shape)
    inside = sum(((where[axis] - centre[axis]) / axes[axis]) ** 2 for axis in range(3)) < 1
    return np.where(inside, np.random.default_rng(seed).uniform(100, 200, shape), 0).astype(np.float32)


def test_overlap_weights_are_those_of_a_fine_ruler():
    edges_mm = np.array([-5.0, -2.5, 0.3, 1.1, 6.2])
    weights = overlap_weights(edges_mm, 4, 2.0)
    ruler = np.arange(-6, 7, 1e-4) + 5e-5
    new, old = np.floor((ruler + 4) / 2), np.searchsorted(edges_mm, ruler) - 1
    counted = [[np.sum((new == i) & (old == j)) * 1e-4 / 2 for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(weights, counted, atol=1e-3)


@pytest.mark.parametrize("spacing_mm", [(3.0, 3.0, 3.0), (1.3, 2.0, 4.7), (2.0, 2.0, 2.0)])
@pytest.mark.parametrize("grid", [Grid((50, 50, 50), 5.0), Grid((110, 120, 116), 2.2), Grid((30, 32, 60), 7.31)])
def test_intensity_times_volume_is_kept_at_any_ratio_of_sizes(spacing_mm, grid):
    data = brain()
    gridded = to_grid(volume(data, spacing_mm), grid)
    before = data.sum(dtype=np.float64) / gridded.scale * np.prod(spacing_mm)
    assert gridded.image.sum(dtype=np.float64) * grid.spacing_mm**3 == pytest.approx(before, rel=1e-4)
    assert gridded.cut < 1e-4
    assert not [text for text in gridded.warnings if "outside the grid" in text]


def test_the_brain_of_a_sheared_volume_has_the_volume_of_its_voxels():
    data = brain()
    sheared = np.diag([3.0, 3.0, 3.0, 1.0])
    sheared[0, 1] = 1.6
    sizes = np.linalg.norm(sheared[:3, :3], axis=0)
    gridded = to_grid(Volume(data, sheared, tuple(sizes), (), data.shape, "RAS"), Grid((50, 50, 50), 5.0))
    assert gridded.brain_ml == pytest.approx(np.count_nonzero(data) * 27 / 1000, rel=0.01)
    assert gridded.histogram_ml.sum() == pytest.approx(gridded.brain_ml, rel=1e-5)
    assert gridded.cut < 1e-4


def test_whole_ratios_are_means_of_blocks():
    # A box, so that its centroid lies on a corner of voxels and of blocks.
    data = np.zeros((32, 32, 32), np.float32)
    data[8:24, 6:26, 4:28] = np.random.default_rng(0).uniform(100, 200, (16, 20, 24))
    gridded = to_grid(volume(data, (2.0, 2.0, 2.0)), Grid((16, 16, 16), 4.0))
    blocks = data.reshape(16, 2, 16, 2, 16, 2).mean(axis=(1, 3, 5)) / gridded.scale
    np.testing.assert_allclose(gridded.image, blocks, atol=1e-6)


def test_noise_falls_as_expected_when_eight_voxels_are_averaged():
    data = np.zeros((40, 40, 40), np.float32)
    data[4:36, 4:36, 4:36] = np.random.default_rng(0).normal(500, 20, (32, 32, 32))
    gridded = to_grid(volume(data, (2.0, 2.0, 2.0)), Grid((20, 20, 20), 4.0))
    inner = gridded.image[3:17, 3:17, 3:17] * gridded.scale
    assert inner.std() == pytest.approx(20 / np.sqrt(8), rel=0.05)


def test_the_same_grid_gives_the_image_back():
    data = np.zeros((24, 24, 24), np.float32)
    data[6:18, 5:19, 4:20] = np.random.default_rng(0).uniform(100, 200, (12, 14, 16))
    gridded = to_grid(volume(data), Grid((24, 24, 24), 3.0))
    np.testing.assert_allclose(gridded.image, data / gridded.scale, atol=1e-6)


def test_where_the_brain_lies_in_the_file_does_not_matter():
    data = brain()
    moved = np.roll(data, (5, -6, 4), axis=(0, 1, 2))
    grid = Grid((24, 26, 25), 6.5)
    np.testing.assert_allclose(to_grid(volume(moved), grid).image, to_grid(volume(data), grid).image, atol=1e-5)


def test_the_centroid_of_the_mask_is_the_centre_of_the_grid():
    data = brain(centre=(18.3, 25.8, 21.1))
    data[data > 0] = 100
    image = to_grid(volume(data, (2.0, 3.0, 4.0)), Grid((30, 40, 50), 4.0)).image
    centroid = [
        (np.arange(n) @ image.sum(axis=others)) / image.sum()
        for n, others in zip(image.shape, ((1, 2), (0, 2), (0, 1)), strict=True)
    ]
    np.testing.assert_allclose(centroid, [14.5, 19.5, 24.5], atol=1e-3)


def test_gain_and_offset_of_the_scanner_do_not_matter():
    data, grid = brain(), Grid((24, 26, 25), 6.0)
    plain = to_grid(volume(data), grid)
    other = to_grid(volume(np.where(data > 0, 7 * data, 0) - 50), grid)
    np.testing.assert_allclose(other.image, plain.image, atol=1e-5)
    np.testing.assert_allclose(other.histogram_ml, plain.histogram_ml, atol=1e-3)
    assert other.scale == pytest.approx(7 * plain.scale, rel=1e-5)


def test_a_few_very_bright_voxels_hardly_matter():
    data, grid = brain(), Grid((24, 26, 25), 6.0)
    bright = data.copy()
    bright[20, 24, 20:23] = 1e6
    plain, other = to_grid(volume(data), grid), to_grid(volume(bright), grid)
    assert other.scale == pytest.approx(plain.scale, rel=1e-3)
    assert other.image.max() <= TOP
    assert other.cut < 1e-4
    assert np.abs(other.image - plain.image).max() < 0.2


def test_the_histogram_is_that_of_the_voxels_of_the_file_smoothed_by_a_bin():
    data, spacing_mm = brain(), (1.5, 2.0, 2.5)
    gridded = to_grid(volume(data, spacing_mm), Grid((24, 26, 25), 6.0))
    scaled = data[data > 0] / gridded.scale
    ends = np.linspace(0, TOP, N_BINS + 1)
    shares = np.diff(norm.cdf((ends[:, None] - scaled) / (TOP / N_BINS)), axis=0)
    np.testing.assert_allclose(gridded.histogram_ml, shares.sum(axis=1) * 0.0075, atol=0.02)
    assert gridded.histogram_ml.max() > 1
    assert gridded.brain_ml == pytest.approx(scaled.size * 0.0075)


def test_the_histogram_holds_the_whole_brain_however_bright():
    data = brain()
    data[15:25, 20:28, 18:26] = 900
    gridded = to_grid(volume(data), Grid((24, 26, 25), 6.0))
    assert gridded.histogram_ml.sum() == pytest.approx(gridded.brain_ml, rel=1e-6)
    assert gridded.histogram_ml[-3:].sum() == pytest.approx(640 * 0.027, rel=0.01)


def test_steps_of_eight_bits_hardly_show_in_the_histogram():
    data = brain()
    steps = np.where(data > 0, np.rint(data / 4) * 4, 0)
    plain, rough = (to_grid(volume(each), Grid((24, 26, 25), 6.0)).histogram_ml for each in (data, steps))
    assert np.abs(rough - plain).sum() < 0.03 * plain.sum()


def test_a_brain_that_does_not_fit_is_a_warning_with_the_fraction_that_is_lost():
    data = np.zeros((30, 30, 30), np.float32)
    data[5:25, 5:25, 5:25] = 100
    gridded = to_grid(volume(data), Grid((20, 20, 10), 3.0))
    assert gridded.cut == pytest.approx(0.5, abs=1e-4)
    assert "50.0 % of the brain lies outside the grid of 20x20x10 voxels of 3 mm" in gridded.warnings[-1]


@pytest.mark.parametrize(
    "values", [((3, 40, 40), 4.0), ((40, 40, 600), 4.0), ((40, 40, 40), 0.0), ((40, 40, 40), 99.0)]
)
def test_an_impossible_grid_is_an_error(values):
    with pytest.raises(AekitError, match=r"--(size|spacing): "):
        Grid(*values)


def test_an_aligned_volume_with_tilted_axes_is_the_volume_without():
    # The same head, sampled along the axes of the world and along tilted ones: its formula knows no interpolation.
    grid = Grid((32, 36, 32), 6.0)
    straight = 100 * head((72, 84, 72), 3.0)
    turned = rotation((12, -20, 25))
    # A voxel i of the tilted file lies at turned @ i, so its head is that which turned.T maps there.
    tilted = 100 * head((72, 84, 72), 3.0, linear=turned.T)
    affine = np.eye(4)
    affine[:3, :3] = 3.0 * turned
    plain = to_grid(volume(straight), grid)
    resliced = to_grid(Volume(tilted, affine, (3.0, 3.0, 3.0), (), tilted.shape, "RAS"), grid)
    assert np.corrcoef(plain.image.ravel(), resliced.image.ravel())[0, 1] > 0.999
    assert np.abs(plain.image - resliced.image).mean() < 0.003
    unturned = to_grid(volume(tilted), grid)
    assert np.corrcoef(plain.image.ravel(), unturned.image.ravel())[0, 1] < 0.97
    assert resliced.brain_ml == pytest.approx(plain.brain_ml, rel=0.002)
    assert resliced.image.sum(dtype=float) * resliced.scale == pytest.approx(
        plain.image.sum(dtype=float) * plain.scale, rel=0.002
    )
    assert resliced.cut < 1e-3


def test_a_tilt_too_small_to_see_changes_nothing():
    data = brain()
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, :3] = rotation((0.03, 0, 0.03)) @ affine[:3, :3]
    assert not is_oblique(affine)
    tilted = to_grid(Volume(data, affine, (3.0, 3.0, 3.0), (), data.shape, "RAS"), Grid((16, 18, 17), 9.0))
    np.testing.assert_array_equal(tilted.image, to_grid(volume(data), Grid((16, 18, 17), 9.0)).image)


def test_the_shape_of_a_sheared_volume_is_that_of_the_head():
    shear = np.eye(3)
    shear[0, 1] = 0.3
    data = 100 * head((72, 84, 72), 3.0, linear=np.linalg.inv(shear))
    affine = np.eye(4)
    affine[:3, :3] = 3.0 * shear
    sizes = tuple(np.linalg.norm(affine[:3, :3], axis=0))
    grid = Grid((32, 36, 32), 6.0)
    sheared = to_grid(Volume(data, affine, sizes, (), data.shape, "RAS"), grid)
    plain = to_grid(volume(100 * head((72, 84, 72), 3.0)), grid)
    assert np.corrcoef(plain.image.ravel(), sheared.image.ravel())[0, 1] > 0.999
    assert sheared.brain_ml == pytest.approx(plain.brain_ml, rel=0.002)


def test_a_matrix_turns_the_image_and_leaves_volume_and_histogram_alone():
    grid = Grid((32, 36, 32), 6.0)
    linear = rotation((10, 5, -15)) @ np.diag([1.1, 0.9, 1.0])
    moved = volume(100 * head((72, 84, 72), 3.0, linear=linear))
    plain, straight = to_grid(moved, grid), to_grid(volume(100 * head((72, 84, 72), 3.0)), grid)
    aligned = to_grid(moved, grid, matrix=np.hstack([linear, np.zeros((3, 1))]))
    assert np.corrcoef(straight.image.ravel(), aligned.image.ravel())[0, 1] > 0.998
    assert np.corrcoef(straight.image.ravel(), plain.image.ravel())[0, 1] < 0.98
    np.testing.assert_array_equal(aligned.histogram_ml, plain.histogram_ml)
    assert (aligned.brain_ml, aligned.scale) == (plain.brain_ml, plain.scale)
    assert aligned.cut < 2e-3


def test_the_part_of_an_aligned_brain_outside_the_grid_is_counted():
    whole = volume(100 * head((72, 84, 72), 3.0))
    small = Grid((16, 20, 16), 6.0)
    kept = to_grid(whole, small)
    aligned = to_grid(whole, small, matrix=np.eye(3, 4))
    assert aligned.cut == pytest.approx(kept.cut, abs=0.01)
    assert "of the brain lies outside the grid" in aligned.warnings[-1]


def tissues(power=1.0, shape=(40, 48, 44)):
    """Return fluid around grey around white matter, with noise."""
    where = np.indices(shape)
    radius = np.sqrt(sum(((where[axis] - shape[axis] / 2) / (0.45 * shape[axis])) ** 2 for axis in range(3)))
    data = np.select([radius < 0.7, radius < 0.93, radius < 1], [900.0, 600.0, 250.0], 0.0)
    data *= np.exp(np.random.default_rng(0).normal(0, 0.05, shape))
    return (data / 900) ** power * 900


def test_aligned_peaks_undo_a_change_of_contrast_that_percentiles_keep():
    grid = Grid((24, 26, 25), 6.5)
    moved = {}
    for how in ("percentiles", "peaks"):
        plain, other = (to_grid(volume(tissues(power)), grid, intensity=how) for power in (1.0, 0.6))
        moved[how] = np.abs(np.cumsum(plain.histogram_ml - other.histogram_ml)).mean()
        assert other.histogram_ml.sum() == pytest.approx(other.brain_ml, rel=1e-5)
        assert not other.warnings
    assert moved["peaks"] < 0.4 * moved["percentiles"]


def test_where_tissues_cannot_be_told_apart_percentiles_are_used_and_said():
    data = volume(np.where(brain() > 0, np.random.default_rng(0).normal(600, 20, (40, 48, 44)), 0))
    grid = Grid((24, 26, 25), 6.5)
    plain, peaks = to_grid(data, grid), to_grid(data, grid, intensity="peaks")
    np.testing.assert_array_equal(peaks.image, plain.image)
    assert peaks.warnings[-1].startswith("three tissues cannot be told apart by intensity")
