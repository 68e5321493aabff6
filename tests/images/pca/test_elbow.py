"""The elbow is where calculus and geometry put it."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.images.pca.elbow import kneedle


@pytest.mark.parametrize(("n", "expected"), [(16, 4), (100, 10), (400, 20)])
def test_the_elbow_of_a_hyperbola_is_at_the_root_of_its_end(n, expected):
    # 1/x has the slope of its chord, -1/n, at x = sqrt(n).
    x = np.arange(1, n + 1)
    assert kneedle(x, 1 / x).x == expected


@pytest.mark.parametrize("rate", [0.1, 0.3, 1.0])
def test_the_elbow_of_an_exponential_is_where_its_slope_is_that_of_the_chord(rate):
    x = np.linspace(0, 20, 20001)
    expected = np.log(rate * 20 / (1 - np.exp(-rate * 20))) / rate
    assert kneedle(x, np.exp(-rate * x)).x == pytest.approx(expected, abs=2e-3)


def test_the_elbow_is_the_point_farthest_from_the_chord():
    generator = np.random.default_rng(0)
    for _ in range(20):
        x = np.sort(generator.choice(np.arange(1, 100), 15, replace=False)).astype(float)
        y = generator.uniform(1, 3) * np.exp(-generator.uniform(0.1, 0.3) * x) + 1
        points = np.stack([(x - x[0]) / (x[-1] - x[0]), (y - y[-1]) / (y[0] - y[-1])], axis=1)
        along = points[-1] - points[0]
        distance = -(along[0] * (points[:, 1] - points[0, 1]) - along[1] * (points[:, 0] - points[0, 0]))
        found = kneedle(x, y)
        assert found.x == x[distance.argmax()]
        # In the unit square the distance along y is the distance at a right angle times the root of two.
        assert found.sharpness == pytest.approx(distance.max())


def test_a_corner_is_found_whatever_units_and_order():
    x = np.array([2, 4, 6, 8, 10, 20, 30])
    y = np.where(x < 8, 100 - 12.0 * x, 4 - 0.1 * (x - 8))
    assert kneedle(x, y).x == 8
    assert kneedle(x * 1000, y / 7 + 3).x == 8000
    order = np.random.default_rng(0).permutation(len(x))
    assert kneedle(x[order], y[order]) == kneedle(x, y)
    assert kneedle(x, y).y == 4


@pytest.mark.parametrize(
    "y",
    [
        [3.0, 1.0],
        [1.0],
        [],
        [5.0, 4.0, 3.0, 2.0, 1.0],
        [1.0, 1.0, 1.0, 1.0],
        [1.0, 2.0, 3.0, 3.5],
        [3.5, 3.4, 3.0, 1.0],
        [3.0, 2.0, 3.5],
    ],
    ids=["two", "one", "none", "straight", "flat", "rising", "concave", "rises in the end"],
)
def test_other_curves_have_no_elbow(y):
    assert kneedle(np.arange(len(y)), np.array(y)) is None


def test_noise_on_a_straight_line_is_no_elbow():
    generator = np.random.default_rng(0)
    x = np.arange(2, 21)
    found = [kneedle(x, 1 - 0.04 * x + generator.normal(0, 0.005, len(x))) for _ in range(50)]
    assert sum(elbow is not None for elbow in found) <= 2


def test_a_curve_with_gaps_in_it_is_refused():
    with pytest.raises(ValueError, match="finite"):
        kneedle(np.arange(4), np.array([3.0, np.nan, 1.0, 0.5]))
    with pytest.raises(ValueError, match="distinct x"):
        kneedle(np.array([1, 1, 2]), np.array([3.0, 2.0, 1.0]))
