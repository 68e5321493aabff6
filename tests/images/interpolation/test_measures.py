"""Paths between codes meet their ends, arcs keep their radius, and the measures agree with those of other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import geometric_slerp
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from aekit.images.interpolation.measures import (
    arc_angle,
    has_arc,
    lerp,
    nearest_distances,
    path_shape,
    roc_auc,
    slerp,
    step_lengths,
    typical_distance,
    walk,
)

RNG = np.random.default_rng(0)
ALPHAS = np.linspace(-0.5, 1.5, 9)


def _pair(n=7):
    return RNG.standard_normal((2, n)).astype(np.float32)


def test_a_line_and_an_arc_start_at_the_first_end_at_the_second_and_go_on_beyond():
    first, second = _pair()
    centre = RNG.standard_normal(7)
    for points in (
        lerp(first, second, ALPHAS),
        slerp(first, second, ALPHAS),
        slerp(first, second, ALPHAS, centre=centre),
    ):
        assert points.shape == (9, 7)
        np.testing.assert_allclose(points[[2, 6]], [first, second], rtol=1e-12, atol=1e-12)
        assert np.linalg.norm(points[8] - second) > 0.1
    np.testing.assert_allclose(
        np.diff(lerp(first, second, ALPHAS), axis=0), np.tile((second - first) / 4, (8, 1)), 1e-5
    )


def test_a_line_between_images_is_their_weighted_sum():
    first, second = RNG.random((2, 3, 4, 5))
    blend = lerp(first, second, np.array([0, 0.3, 1]))
    np.testing.assert_allclose(blend[1], 0.7 * first + 0.3 * second)


def test_arcs_of_unit_vectors_are_those_of_scipy():
    first, second = (v / np.linalg.norm(v) for v in _pair(5).astype(np.float64))
    alphas = np.linspace(0, 1, 11)
    np.testing.assert_allclose(slerp(first, second, alphas), geometric_slerp(first, second, alphas), atol=1e-12)


def test_an_arc_around_a_centre_keeps_its_distance_from_it():
    centre = RNG.standard_normal(5)
    first, second = (centre + 3 * v / np.linalg.norm(v) for v in RNG.standard_normal((2, 5)))
    points = slerp(first, second, ALPHAS, centre=centre)
    np.testing.assert_allclose(np.linalg.norm(points - centre, axis=1), 3)
    # Equal angles from step to step, and so equal chords.
    chords = np.linalg.norm(np.diff(points, axis=0), axis=1)
    np.testing.assert_allclose(chords, chords[0])


def test_an_arc_between_vectors_of_one_direction_is_a_line():
    first = np.array([1.0, 2.0, -1.0])
    np.testing.assert_allclose(slerp(first, 2 * first, ALPHAS), lerp(first, 2 * first, ALPHAS))
    # Just above and just below where the formula changes, the result hardly does.
    for tilt in (1e-7, 1e-5):
        second = 2 * first + [tilt, 0, 0]
        np.testing.assert_allclose(slerp(first, second, ALPHAS), lerp(first, second, ALPHAS), atol=1e-4)


@pytest.mark.parametrize("second", [[0.0, 0.0, 0.0], [-2.0, -4.0, 2.0], [-1.0, -2.0, 1.0 + 1e-9]])
def test_no_arc_leads_to_zero_or_to_the_opposite(second):
    first, second = np.array([1.0, 2.0, -1.0]), np.array(second)
    assert not has_arc(first, second)
    with pytest.raises(ValueError, match="no arc"):
        slerp(first, second, ALPHAS)
    with pytest.raises(ValueError, match="no arc"):
        slerp(second, first, ALPHAS)


def test_angles_are_exact_where_the_arc_cosine_is_not():
    for angle in (1e-9, 0.5, np.pi / 2, 3.0, np.pi - 1e-7):
        assert arc_angle(np.array([2.0, 0]), np.array([np.cos(angle), np.sin(angle)])) == pytest.approx(angle, rel=1e-7)


def test_a_walk_adds_multiples_of_its_direction():
    start, direction = RNG.standard_normal((2, 4))
    np.testing.assert_allclose(
        walk(start, direction, np.array([-2.0, 0, 1])), [start - 2 * direction, start, start + direction]
    )


def test_step_lengths_are_root_mean_squares_of_the_change():
    images = RNG.random((4, 3, 5, 6))
    expected = [np.sqrt(((images[i] - images[i - 1]) ** 2).mean()) for i in (1, 2, 3)]
    lengths = step_lengths(images)
    assert np.isnan(lengths[0])
    np.testing.assert_allclose(lengths[1:], expected)
    black_to_white = np.stack([np.zeros((1, 8, 8)), np.ones((1, 8, 8))])
    assert step_lengths(black_to_white)[1] == 1


def test_a_straight_even_path_has_ratio_one_and_a_detour_more():
    first, second = RNG.random((2, 1, 4, 4))
    shape = path_shape(lerp(first, second, np.linspace(0, 1, 6)))
    assert (shape.length_ratio, shape.unevenness) == (1, 0)
    # Three sides of a square in the plane of two pixels.
    corners = np.zeros((4, 1, 1, 2))
    corners[1:3, ..., 1] = 1
    corners[2:, ..., 0] = 1
    assert path_shape(corners).length_ratio == pytest.approx(3)
    # Steps of 1 and 3: mean 2, standard deviation 1.
    assert path_shape(np.array([0.0, 0.1, 0.4]).reshape(3, 1, 1, 1)).unevenness == pytest.approx(0.5)


def test_a_constant_path_has_no_shape():
    shape = path_shape(np.ones((3, 1, 2, 2)))
    assert shape.length == 0
    assert np.isnan([shape.length_ratio, shape.unevenness]).all()


def test_nearest_distances_are_those_of_scikit_learn_and_leave_codes_out():
    codes, z = RNG.standard_normal((300, 6)), RNG.standard_normal((250, 6))
    expected, _ = NearestNeighbors(n_neighbors=1).fit(codes).kneighbors(z)
    np.testing.assert_allclose(nearest_distances(z, codes), expected[:, 0])
    # Of a code itself the second neighbour, since the first is itself.
    expected, _ = NearestNeighbors(n_neighbors=2).fit(codes).kneighbors(codes)
    own = np.arange(300)[:, None]
    np.testing.assert_allclose(nearest_distances(codes, codes, own), expected[:, 1])
    assert typical_distance(codes) == pytest.approx(np.median(expected[:, 1]))
    assert typical_distance(codes, n_queries=150) == pytest.approx(np.median(expected[:, 1]), rel=0.15)


def test_without_any_other_code_there_is_no_distance():
    codes = np.zeros((2, 3))
    assert np.isnan(nearest_distances(codes[:1], codes, np.array([[0, 1]]))).all()


def test_the_area_under_the_curve_is_that_of_scikit_learn_with_ties():
    scores, has = RNG.integers(0, 9, 200) / 3, RNG.random(200) < 0.3
    assert roc_auc(scores, has) == pytest.approx(roc_auc_score(has, scores))
    assert np.isnan(roc_auc(scores, np.ones(200, bool)))
