"""Active units and the order of latent dimensions, on codes that were made for it."""

from __future__ import annotations

import numpy as np

from aekit.images.latent import active_units, dimension_order


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


def test_dimensions_come_from_the_largest_divergence_to_the_smallest():
    assert dimension_order(np.array([0.1, 3.0, 0.0, 3.0, 2.0])).tolist() == [1, 3, 4, 0, 2]
