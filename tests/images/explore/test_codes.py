"""Ranges, histograms, directions and maps of codes that were made for it."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.images.data.image_set import ImageSet
from aekit.images.explore.codes import N_BINS, find_directions, map_points, summarise
from aekit.images.prior import CodePrior

RNG = np.random.default_rng(0)


def _images(n: int, **more) -> ImageSet:
    return ImageSet(np.zeros((n, 1, 2, 2), np.uint8), "x", **more)


def test_dimensions_are_ordered_by_what_they_say():
    codes = RNG.standard_normal((4000, 3)) * [0.1, 3.0, 1.0]
    standard = CodePrior(np.ones(1), np.zeros((1, 3)), np.ones((1, 3)))
    assert summarise(codes, None, None).order.tolist() == [1, 2, 0]
    assert summarise(codes, np.array([0.5, 0.1, 2.0]), standard).order.tolist() == [2, 0, 1]


def test_a_slider_covers_the_middle_of_the_codes_and_its_histogram_counts_them():
    codes = RNG.uniform(-1, 1, (10_000, 1)) * 7
    found = summarise(codes, None, None)
    inside = (codes >= found.low) & (codes <= found.high)
    assert inside.mean() == pytest.approx(0.99, abs=0.001)
    assert found.counts.shape == (1, N_BINS)
    assert found.counts.sum() == inside.sum()
    edges = np.linspace(found.low[0], found.high[0], N_BINS + 1)
    assert np.array_equal(found.counts[0], np.histogram(codes, edges)[0])


def test_a_dead_dimension_covers_the_prior():
    codes = np.stack([RNG.standard_normal(2000), 1e-3 * RNG.standard_normal(2000)], 1)
    prior = CodePrior(np.ones(1), np.zeros((1, 2)), np.array([[1.0, 2.0]]))
    found = summarise(codes, np.array([1.0, 0.0]), prior)
    assert found.informative.tolist() == [True, False]
    assert (found.low[1], found.high[1]) == pytest.approx((-5.15, 5.15), abs=0.05)  # 2 x the 0.5 % quantile of N(0, 1)
    constant = summarise(np.full((10, 1), 3.0), None, None)
    assert (constant.low[0], constant.high[0]) == (2.5, 3.5)


def test_directions_are_differences_of_means_of_attributes_or_classes():
    codes, labels = RNG.standard_normal((90, 4)), np.arange(90) % 3
    has = np.stack([labels == 1, np.ones(90, bool)], 1)
    [found] = find_directions(codes, _images(90, attributes=has, attribute_names=("smiling", "all")))
    assert found.name == "smiling"
    np.testing.assert_allclose(found.vector, codes[1::3].mean(0) - codes[labels != 1].mean(0))
    along = (codes - codes.mean(0)) @ found.vector / (found.vector @ found.vector)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(along, [0.005, 0.995])))
    of_classes = find_directions(codes, _images(90, labels=labels, class_names=("a", "b", "c")))
    assert [each.name for each in of_classes] == ["class a", "class b", "class c"]
    assert find_directions(codes, _images(90)) == []


@pytest.mark.parametrize(
    ("latent", "n", "kind"), [(2, 9, "plane"), (1, 9, "line"), (3, 4, "pca"), (3, 1, "line"), (3, 40, "tsne")]
)
def test_a_map_is_the_codes_if_they_fit_in_a_plane(latent, n, kind):
    codes = RNG.standard_normal((n, latent)).astype(np.float32)
    found = map_points(codes, perplexity=30, seed=0)
    assert found.kind == kind
    assert found.points.shape == (n, 2)
    assert np.isfinite(found.points).all()
    if kind == "plane":
        assert np.array_equal(found.points, codes)
    if kind == "line":
        assert np.array_equal(found.points[:, 0], codes[:, 0])


def test_codes_that_are_all_the_same_have_a_map():
    found = map_points(np.zeros((20, 5), np.float32), perplexity=30, seed=0)
    assert np.isfinite(found.points).all()
