"""Similarities of codes: invariances, closed cases, independent implementations, and intervals that hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import spatial

from aekit.images.similarity.measures import (
    kernel_alignment,
    nearest_neighbours,
    procrustes_disparity,
    shared_neighbours,
)
from aekit.images.similarity.pairs import measure_pairs
from aekit.images.similarity.request import SimilarityRequest


def _codes(n=300, latent=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, latent)) * np.arange(1, latent + 1)


def _rotation(latent):
    return np.linalg.qr(np.random.default_rng(9).normal(size=(latent, latent)))[0]


SAME = {
    "itself": lambda x: x,
    "shifted": lambda x: x + 100,
    "scaled": lambda x: -0.01 * x,
    "turned": lambda x: x @ _rotation(x.shape[1]),
    "reflected": lambda x: x * [-1, 1, 1, 1, -1],
    "with dead dimensions": lambda x: np.concatenate([x, np.full((len(x), 3), 4.0)], axis=1),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_codes_that_differ_by_shift_scale_and_axes_alone_are_alike(change):
    x = _codes()
    y = change(x)
    assert kernel_alignment(x, y) == pytest.approx(1)
    assert procrustes_disparity(x, y) == pytest.approx(0, abs=1e-9)
    assert (shared_neighbours(nearest_neighbours(x, 7), nearest_neighbours(y, 7)) == 1).all()


def test_measures_are_symmetric():
    x, y = _codes(), _codes(latent=3, seed=1) + _codes()[:, :3]
    assert kernel_alignment(x, y) == pytest.approx(kernel_alignment(y, x))
    assert procrustes_disparity(x, y) == pytest.approx(procrustes_disparity(y, x))
    first, second = nearest_neighbours(x, 5), nearest_neighbours(y, 5)
    assert shared_neighbours(first, second).mean() == pytest.approx(shared_neighbours(second, first).mean())


def test_disparity_is_that_of_scipy():
    x, y = _codes(), _codes(seed=1) + _codes()
    assert procrustes_disparity(x, y) == pytest.approx(spatial.procrustes(x, y)[2])


def test_alignment_is_that_of_the_centred_kernels():
    x, y = _codes(100), _codes(100, latent=3, seed=1) + _codes(100)[:, :3]
    centre = np.eye(100) - 1 / 100
    k, l = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre  # noqa: E741
    assert kernel_alignment(x, y) == pytest.approx((k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum()))


def test_an_unequal_scaling_of_axes_changes_alignment_and_disparity():
    x = _codes()
    assert kernel_alignment(x, x * [1, 1, 1, 1, 10]) < 0.99
    assert procrustes_disparity(x, x * [1, 1, 1, 1, 10]) > 0.01


def test_codes_that_do_not_vary_are_like_no_other():
    x = _codes()
    assert kernel_alignment(x, np.ones((300, 2))) == 0
    assert procrustes_disparity(x, np.ones((300, 2))) == 1


def test_neighbours_are_those_of_all_distances_and_never_the_image_itself():
    x = _codes(2500)
    truth = np.argsort(spatial.distance.cdist(x, x), axis=1)
    np.testing.assert_array_equal(nearest_neighbours(x, 10), truth[:, 1:11])
    twice = np.repeat(_codes(50), 2, axis=0)
    assert nearest_neighbours(twice, 1)[:, 0].tolist() == [i ^ 1 for i in range(100)]


def test_shared_neighbours_are_counted_for_each_image():
    first = np.array([[1, 2], [0, 2], [0, 1], [0, 1]])
    second = np.array([[2, 1], [2, 3], [3, 1], [2, 1]])
    assert shared_neighbours(first, second).tolist() == [1, 0.5, 0.5, 0.5]
    assert shared_neighbours(first[:1], second[1:2] + 1).tolist() == [0]


def test_chance_is_what_unrelated_codes_give():
    x, y = _codes(1000), _codes(1000, seed=1)
    (pair,) = measure_pairs([x, y], SimilarityRequest(bootstrap=20))
    assert pair.intervals["cka"].value == pytest.approx(pair.chance.cka, abs=0.02)
    assert pair.intervals["procrustes"].value == pytest.approx(pair.chance.procrustes, abs=0.05)
    assert pair.intervals["neighbours"].value == pytest.approx(pair.chance.neighbours, abs=0.005)


@pytest.mark.slow
def test_intervals_contain_the_value_of_many_images_in_most_draws():
    def draw(n, seed):
        generator = np.random.default_rng(seed)
        x = generator.normal(size=(n, 4))
        return x, x + 0.7 * generator.normal(size=(n, 4))

    truth = {"cka": kernel_alignment(*draw(200_000, 0)), "procrustes": procrustes_disparity(*draw(200_000, 0))}
    hits = dict.fromkeys(truth, 0)
    for seed in range(1, 61):
        (pair,) = measure_pairs(draw(300, seed), SimilarityRequest(bootstrap=100))
        for name, value in truth.items():
            hits[name] += pair.intervals[name].low <= value <= pair.intervals[name].high
    assert all(51 <= n <= 60 for n in hits.values()), hits


def test_results_do_not_depend_on_threads():
    codes = [_codes(200, seed=seed) for seed in range(4)]
    assert measure_pairs(codes, SimilarityRequest(), jobs=1) == measure_pairs(codes, SimilarityRequest(), jobs=3)
