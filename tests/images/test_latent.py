"""Active, live and dead dimensions on codes made for it, and quantiles of the prior against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from aekit.images.latent import active_units, live_dimensions, mean_difference, prior_quantiles


def test_a_dimension_is_active_if_its_mean_code_varies_by_more_than_the_threshold():
    rng = np.random.default_rng(0)
    unit = rng.standard_normal((5000, 4))
    unit = (unit - unit.mean(0)) / unit.std(0)
    means = unit * np.sqrt([1.0, 0.0101, 0.0099, 0.0]) + np.array([0.0, 5.0, 100.0, 7.0])
    assert active_units(means).tolist() == [True, True, False, False]
    assert active_units(means, threshold=0.5).tolist() == [True, False, False, False]


def test_an_offset_does_not_make_a_dimension_active_in_single_precision():
    means = np.full((1000, 1), 1e4, np.float32) + np.linspace(0, 0.05, 1000, dtype=np.float32)[:, None]
    assert active_units(means).tolist() == [False]


def test_a_dimension_with_one_value_is_dead_whatever_the_scale_of_the_others():
    codes = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32) * np.float32([1e-3, 1, 1e3, 0]) + 2
    assert live_dimensions(codes[:, :2]).tolist() == [True, True]
    assert live_dimensions(codes[:, 1:]).tolist() == [True, True, False]
    assert live_dimensions(np.zeros((5, 2))).tolist() == [False, False]


def test_quantiles_of_the_prior_are_at_equal_steps_of_probability():
    np.testing.assert_allclose(norm.cdf(prior_quantiles(4)), [0.125, 0.375, 0.625, 0.875])


def test_a_direction_is_the_difference_of_means():
    codes, has = np.random.default_rng(0).standard_normal((50, 4)), np.arange(50) % 3 == 0
    np.testing.assert_allclose(mean_difference(codes, has), codes[::3].mean(0) - codes[~has].mean(0))
    for all_alike in (np.ones(50, bool), np.zeros(50, bool)):
        with pytest.raises(ValueError, match="with and without"):
            mean_difference(codes, all_alike)
