"""Balanced draws, the scale of features, logistic regression, and paired differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aekit.errors import AekitError
from aekit.images.probe.classifiers import (
    balanced_draws,
    default_labels,
    fit_scale,
    logistic_accuracy,
    paired_differences,
)

LABELS = np.random.default_rng(0).integers(0, 5, 400)


def test_draws_have_equally_many_of_every_class_and_no_image_twice():
    for size, rows in balanced_draws(LABELS, [5, 20, 100], 7, seed=0).items():
        assert rows.shape == (7, size)
        for draw in rows:
            assert np.bincount(LABELS[draw]).tolist() == [size // 5] * 5
            assert len(set(draw)) == size


def test_a_draw_is_part_of_the_larger_ones():
    drawn = balanced_draws(LABELS, [5, 20, 100], 4, seed=0)
    for draw in range(4):
        assert set(drawn[5][draw]) < set(drawn[20][draw]) < set(drawn[100][draw])


def test_a_draw_depends_on_the_seed_and_not_on_the_number_of_draws():
    few, many = (balanced_draws(LABELS, sizes, n, seed=1) for sizes, n in (([10], 2), ([10, 50], 6)))
    np.testing.assert_array_equal(few[10], many[10][:2])
    assert not np.array_equal(many[10][0], many[10][1])
    assert not np.array_equal(balanced_draws(LABELS, [10], 2, seed=2)[10], few[10])


def test_all_images_are_equally_likely_to_be_drawn():
    labels = np.repeat([0, 1], 10)
    drawn = balanced_draws(labels, [6], 4000, seed=0)[6]
    counts = np.bincount(drawn.ravel(), minlength=20)
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (12, "--labels 12: must be a multiple of 5, the number of classes; give 10 or 15"),
        (3, "give 5 or a multiple of it"),
        (5000, r"needs 1,000 training images of each of 5 classes, and there are \d+ of 'c\d'; ask for at most \d+"),
    ],
)
def test_a_size_that_cannot_be_balanced_is_refused(size, message):
    with pytest.raises(AekitError, match=message):
        balanced_draws(LABELS, [size], 2, seed=0, class_names=[f"c{i}" for i in range(5)])


def test_a_single_class_is_refused():
    with pytest.raises(AekitError, match="one class"):
        balanced_draws(np.zeros(10, int), [1], 2, seed=0)


def test_the_default_goes_as_far_as_the_smallest_class():
    assert default_labels(np.repeat([0, 1], [500, 100])) == [2, 4, 8, 16, 20, 32, 100, 200]
    assert default_labels(np.repeat([0, 1], [500, 9])) == [2, 4, 8, 16]


def test_all_features_are_divided_by_one_number():
    features = np.random.default_rng(0).normal(size=(500, 3)) * [0.1, 1, 5] + [4, -2, 9]
    scaled = fit_scale(features).apply(features)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    assert scaled.var(axis=0).mean() == pytest.approx(1, rel=1e-5)
    factors = features.std(axis=0) / scaled.std(axis=0)
    np.testing.assert_allclose(factors, factors[0], rtol=1e-4)
    with pytest.raises(ValueError, match="the same for all images"):
        fit_scale(np.ones((4, 2)))


def test_logistic_regression_is_nearly_optimal_on_two_gaussians():
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, 6000)
    features = generator.normal(size=(6000, 4)).astype(np.float32)
    features[:, 0] += 2.0 * targets
    best = stats.norm.cdf(1.0)
    found = logistic_accuracy(features[:1000], targets[:1000], features[1000:], targets[1000:])
    assert found == pytest.approx(best, abs=0.015)


def test_paired_differences_are_those_of_a_paired_t_test():
    generator = np.random.default_rng(0)
    accuracies = {name: generator.random((2, 6)) for name in ("a", "b", "c")}
    rows = paired_differences(accuracies, [10, 20])
    assert [(row["method"], row["baseline"], row["labels"]) for row in rows] == [
        (first, second, size) for first, second in (("a", "b"), ("a", "c"), ("b", "c")) for size in (10, 20)
    ]
    row = rows[3]  # a less c at 20 labels
    expected = stats.ttest_rel(accuracies["a"][1], accuracies["c"][1]).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row["difference"] == pytest.approx(np.mean(accuracies["a"][1] - accuracies["c"][1]))
    assert row["draws"] == 6


def test_a_single_draw_has_a_difference_and_no_interval():
    (row,) = paired_differences({"a": np.array([[0.9]]), "b": np.array([[0.8]])}, [10])
    assert row["difference"] == pytest.approx(0.1)
    assert np.isnan([row["low"], row["high"]]).all()
