"""Intervals contain the truth at their confidence level, and agree with scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aekit.core.intervals import bootstrap_interval, mean_interval, positive_interval, proportion_interval


def test_the_interval_of_a_mean_is_that_of_students_t():
    values = np.random.default_rng(0).normal(3, 2, 10)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    value, low, high = mean_interval(values, confidence=0.9)
    assert value == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_a_single_draw_has_no_interval():
    value, low, high = mean_interval(np.array([4.0]))
    assert value == 4
    assert np.isnan(low)
    assert np.isnan(high)


def test_the_bootstrap_agrees_with_scipy_and_with_itself():
    sample = np.random.default_rng(1).exponential(size=200)
    ours = bootstrap_interval(lambda rows: float(np.median(sample[rows])), 200, n_resamples=2000, seed=3)
    theirs = stats.bootstrap(
        (sample,), np.median, n_resamples=2000, method="percentile", rng=np.random.default_rng(4)
    ).confidence_interval
    assert ours.value == np.median(sample)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert ours == bootstrap_interval(lambda rows: float(np.median(sample[rows])), 200, n_resamples=2000, seed=3)


def test_ninety_five_percent_of_intervals_contain_the_mean():
    generator = np.random.default_rng(2)
    intervals = [mean_interval(generator.normal(5, 1, 6)) for _ in range(1000)]
    assert 0.93 < np.mean([low <= 5 <= high for _, low, high in intervals]) < 0.97


def test_the_interval_of_a_positive_value_is_that_of_its_logarithm():
    half = stats.t.ppf(0.975, 7) * 0.5 / 2.0
    assert positive_interval(2.0, 0.5, 8) == pytest.approx((2.0, 2 * np.exp(-half), 2 * np.exp(half)))
    assert positive_interval(2.0, 0.5, 8, shrinkage=0.5).high == pytest.approx(4 * np.exp(half))
    assert positive_interval(0.0, 0.0, 8) == (0, 0, 0)
    assert np.isnan(positive_interval(2.0, 0.5, 4)[1:]).all()


@pytest.mark.parametrize(("n_hits", "n"), [(0, 1), (1, 1), (0, 40), (3, 17), (40, 40), (9_700, 10_000)])
def test_the_interval_of_a_proportion_is_wilsons(n_hits, n):
    found = proportion_interval(n_hits, n, confidence=0.9)
    expected = stats.binomtest(n_hits, n).proportion_ci(0.9, method="wilson")
    assert found.value == n_hits / n
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1
