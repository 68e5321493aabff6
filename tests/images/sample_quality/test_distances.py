"""Distances of distributions: closed forms of Gaussians, equal distributions, and independent answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg
from sklearn.metrics.pairwise import polynomial_kernel

from aekit.images.sample_quality.distances import (
    N_GROUPS,
    GroupedMoments,
    frechet,
    frechet_distance,
    kernel_distance,
    unbiased_mmd,
)


def _covariance(n: int, seed: int) -> np.ndarray:
    factor = np.random.default_rng(seed).normal(size=(n, n))
    return factor @ factor.T / n


def test_gaussians_of_one_dimension_have_the_closed_form():
    distance = frechet_distance(np.array([1.0]), np.array([[4.0]]), np.array([3.0]), np.array([[9.0]]))
    assert distance == pytest.approx((1 - 3) ** 2 + (2 - 3) ** 2)


def test_commuting_covariances_have_the_closed_form_and_others_that_of_a_matrix_root():
    turn = linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    a, b = np.arange(1.0, 6), np.array([0.0, 2, 1, 7, 3])
    distance = frechet_distance(np.zeros(5), turn * a @ turn.T, np.ones(5), turn * b @ turn.T)
    assert distance == pytest.approx(5 + np.square(np.sqrt(a) - np.sqrt(b)).sum())
    first, second = _covariance(6, 1), _covariance(6, 2)
    root = linalg.sqrtm(first @ second).real
    expected = np.trace(first) + np.trace(second) - 2 * np.trace(root)
    assert frechet_distance(np.zeros(6), first, np.zeros(6), second) == pytest.approx(expected)
    assert frechet_distance(np.ones(6), first, np.ones(6), first) == pytest.approx(0, abs=1e-9)


def test_moments_without_a_group_are_those_of_the_others():
    features = np.random.default_rng(0).normal(5, 2, (203, 4))
    moments = GroupedMoments(features)
    assert moments.all()[1] == pytest.approx(np.cov(features.T))
    for group in (0, 7, N_GROUPS - 1):
        others = features[np.arange(len(features)) % N_GROUPS != group]
        mean, covariance = moments.without(group)
        assert mean == pytest.approx(others.mean(axis=0))
        assert covariance == pytest.approx(np.cov(others.T))


def test_the_bias_for_equal_gaussians_is_the_one_that_is_stated():
    n, d = 500, 10
    generator = np.random.default_rng(0)
    found = [frechet(*(GroupedMoments(generator.normal(size=(n, d))) for _ in range(2))).value for _ in range(40)]
    assert np.mean(found) == pytest.approx((d * (d + 1) / 2 + 2 * d) / n, rel=0.1)


def test_the_jackknife_has_the_spread_of_repeated_draws():
    generator = np.random.default_rng(1)
    found = [
        frechet(GroupedMoments(generator.normal(0.5, 1, (400, 3))), GroupedMoments(generator.normal(0, 1.4, (400, 3))))
        for _ in range(60)
    ]
    spread = np.std([each.value for each in found], ddof=1)
    assert np.mean([each.error for each in found]) == pytest.approx(spread, rel=0.2)
    truth = 3 * (0.5**2 + 0.4**2)
    assert np.mean([each.low < truth < each.high for each in found]) > 0.85


def test_the_kernel_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(30, 4)), generator.normal(1, 1, size=(40, 4))
    options = {"degree": 3, "gamma": 1 / 4, "coef0": 1}
    of_first, of_second = polynomial_kernel(first, **options), polynomial_kernel(second, **options)
    for each in (of_first, of_second):
        np.fill_diagonal(each, 0)
    expected = (
        of_first.sum() / (30 * 29)
        + of_second.sum() / (40 * 39)
        - 2 * polynomial_kernel(first, second, **options).mean()
    )
    assert unbiased_mmd(first, second) == pytest.approx(expected)


def test_the_kernel_distance_of_equal_distributions_is_zero_on_average_and_its_error_is_right():
    generator = np.random.default_rng(0)
    found = [kernel_distance(*generator.normal(size=(2, 200, 3))) for _ in range(100)]
    values = np.array([each.value for each in found])
    assert abs(values.mean()) < 3 * values.std() / 10
    assert np.mean([each.error for each in found]) == pytest.approx(values.std(), rel=0.25)
    assert np.mean([each.low <= 0 <= each.high for each in found]) > 0.88
    shifted = kernel_distance(generator.normal(size=(200, 3)), generator.normal(1, 1, size=(200, 3)))
    assert shifted.low > 0
