import numpy as np
import pytest
import torch

from aekit.brains.explain.maps import Cubes, Scan, cubes_of, fill_of, occlusion_map, smoothgrad_map

CPU = torch.device("cpu")
SIZE = (8, 9, 10)


@pytest.fixture
def scan():
    random = np.random.default_rng(0)
    image = random.uniform(0.3, 1.0, SIZE).astype(np.float32)
    image[:2] = image[:, :2] = image[:, :, -3:] = 0
    return Scan(torch.from_numpy(image), torch.arange(5.0))


@pytest.fixture
def weights():
    """Return the weights of a network that is linear in a region of the brain and blind elsewhere."""
    weights = torch.zeros(SIZE)
    weights[3:5, 4:6, 2:5] = torch.linspace(-4, 5, 12).reshape(2, 2, 3)
    return weights


def linear(weights):
    return lambda images, histograms: 40 + (images[:, 0] * weights).sum((1, 2, 3)) + 3 * histograms.sum(1)


def test_each_voxel_lies_in_the_same_number_of_cubes():
    for cubes in (Cubes(1, 1), Cubes(2, 1), Cubes(4, 2), Cubes(3, 3)):
        covered = np.zeros(SIZE, int)
        for box in cubes.boxes(SIZE):
            covered[box] += 1
        assert (covered == cubes.coverage).all()


def test_cubes_are_of_an_even_number_of_voxels_or_one():
    assert cubes_of(24, 4) == Cubes(6, 3)
    assert cubes_of(24, 10) == Cubes(2, 1)
    assert cubes_of(2, 4) == Cubes(1, 1)


def test_voxel_by_voxel_occlusion_of_a_linear_network_is_weight_times_what_is_taken_away(scan, weights):
    fill = fill_of(scan, "mean", Cubes(1, 1))
    found = occlusion_map(linear(weights), scan, fill, Cubes(1, 1), CPU).values
    expected = (weights * (scan.image - fill)).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert (np.abs(found[weights.numpy() == 0]) < 1e-9).all()
    assert (found[weights.numpy() != 0] != 0).all()


@pytest.mark.parametrize("cubes", [Cubes(1, 1), Cubes(2, 1), Cubes(4, 2), Cubes(3, 3)])
@pytest.mark.parametrize("fill", ["mean", "blur"])
def test_the_sum_of_a_linear_networks_occlusion_is_the_change_if_everything_is_replaced(scan, weights, cubes, fill):
    replaced = fill_of(scan, fill, cubes)
    age = linear(weights)
    found = occlusion_map(age, scan, replaced, cubes, CPU)
    whole, without = (float(age(image[None, None], scan.cumulative_ml[None])[0]) for image in (scan.image, replaced))
    assert found.total == pytest.approx(whole - without, abs=1e-3)
    assert abs(whole - without) > 0.01


def test_occlusion_reaches_as_far_as_a_cube_around_the_region_and_no_further(scan, weights):
    found = occlusion_map(linear(weights), scan, fill_of(scan, "mean", Cubes(2, 1)), Cubes(2, 1), CPU).values
    near = np.zeros(SIZE, bool)
    near[2:6, 3:7, 1:6] = True
    assert (np.abs(found[~near]) < 1e-9).all()


def test_the_gradient_of_a_linear_network_is_its_weights_whatever_the_noise(scan, weights):
    for samples, noise in ((1, 0.0), (3, 0.5)):
        found = smoothgrad_map(linear(weights), scan, samples=samples, noise=noise, seed=0, device=CPU)
        np.testing.assert_allclose(found.values, weights, atol=1e-6)
        assert found.total == pytest.approx(float(weights.sum()), abs=1e-4)


def test_smoothgrad_is_the_gradient_of_the_mean_over_noise(scan):
    """Of x^3 the mean gradient over noise of SD s is 3 (x^2 + s^2)."""

    def cubic(images, histograms):
        return (images[:, 0] ** 3).sum((1, 2, 3))

    found = smoothgrad_map(cubic, scan, samples=400, noise=0.5, seed=1, device=CPU).values
    brain = scan.brain
    expected = 3 * (scan.image.numpy() ** 2 + 0.25)
    assert np.mean(found[brain] - expected[brain]) == pytest.approx(0, abs=0.02)
    assert (found[~brain] == 0).all()


def test_noise_depends_on_the_seed_alone(scan):
    def square(images, histograms):
        return (images[:, 0] ** 2).sum((1, 2, 3))

    maps = [smoothgrad_map(square, scan, samples=2, noise=0.3, seed=seed, device=CPU).values for seed in (4, 4, 5)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.abs(maps[0] - maps[2]).max() > 0.01


def test_the_mean_fill_is_that_of_the_brain_and_the_blur_keeps_a_constant_brain(scan):
    brain = scan.brain
    mean = fill_of(scan, "mean", Cubes(2, 1)).numpy()
    np.testing.assert_allclose(mean[brain], scan.image.numpy()[brain].mean(), rtol=1e-5)
    flat = Scan((scan.image > 0) * 0.7, scan.cumulative_ml)
    np.testing.assert_allclose(fill_of(flat, "blur", Cubes(4, 2)).numpy(), flat.image, atol=1e-5)
    assert (fill_of(scan, "blur", Cubes(4, 2)).numpy()[~brain] == 0).all()
