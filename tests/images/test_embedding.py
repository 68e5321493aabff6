"""Maps and their measures against scikit-learn, brute force and data whose neighbourhoods are known."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from recorded import Recorded
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from aekit.images import embedding
from aekit.images.embedding import (
    Neighbours,
    draw_rows,
    embed_pca,
    embed_tsne,
    find_neighbours,
    map_reach,
    nearest_in_blocks,
    outlier_scores,
    place_points,
    point_trustworthiness,
    possible_neighbours,
    possible_perplexity,
    same_label_votes,
    worst_outliers,
)


def _clusters(n_points=300, n_clusters=10, n_dimensions=12, seed=0):
    """Return points around corners of a simplex, which a projection to two dimensions cannot separate."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_points) % n_clusters
    points = 6.0 * np.eye(n_dimensions)[labels] + rng.standard_normal((n_points, n_dimensions)) * 0.7
    return points.astype(np.float32), labels


@pytest.mark.parametrize("n_dimensions", [2, 3, 7, 20])
def test_neighbours_are_exact_and_leave_out_the_point_itself(n_dimensions):
    points = np.random.default_rng(1).standard_normal((150, n_dimensions)).astype(np.float32)
    points[7] = points[8]  # an equal point is a neighbour, the point itself is not
    found = find_neighbours(points, 12)
    wide = points.astype(np.float64)
    distance = np.sqrt(np.square(wide[:, None] - wide[None]).sum(2))
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_allclose(found.distance, np.sort(distance, axis=1)[:, :12], atol=1e-6)
    rows = np.arange(len(points))[:, None]
    np.testing.assert_allclose(distance[rows, found.index], found.distance, atol=1e-6)
    assert found.index[7, 0] == 8
    assert not (found.index == rows).any()


def test_neighbours_of_some_points_are_those_that_they_have_among_all():
    for n_dimensions in (2, 6):
        points = np.random.default_rng(1).standard_normal((200, n_dimensions))
        points[20:30] = points[20]  # more equal points than neighbours
        rows = np.array([3, 25, 150, 199])
        some, every = find_neighbours(points, 7, rows=rows), find_neighbours(points, 7)
        np.testing.assert_allclose(some.distance, every.distance[rows], atol=1e-9)
        assert some.index[[0, 2, 3]].tolist() == every.index[[3, 150, 199]].tolist()
        assert not (some.index == rows[:, None]).any()
        assert set(some.index[1]) < set(range(20, 30))


@pytest.mark.parametrize("n_dimensions", [3, 8])
def test_neighbours_among_other_points_are_those_of_scikit_learn_in_blocks(monkeypatch, n_dimensions):
    monkeypatch.setattr(embedding, "_BLOCK_QUERIES", 32)
    rng = np.random.default_rng(11)
    points, codes = rng.standard_normal((90, n_dimensions)) + 40, rng.standard_normal((130, n_dimensions)) + 40
    rows = np.arange(130)[::-3]
    blocks = list(nearest_in_blocks(points, codes, rows, 6))
    assert [len(part) for part, _ in blocks] == [32, 12]
    assert np.concatenate([part for part, _ in blocks]).tolist() == rows.tolist()
    distance, index = NearestNeighbors(n_neighbors=6).fit(points).kneighbors(codes[rows])
    assert np.concatenate([near.index for _, near in blocks]).tolist() == index.tolist()
    np.testing.assert_allclose(np.concatenate([near.distance for _, near in blocks]), distance, atol=1e-7)
    assert list(nearest_in_blocks(points, codes, rows[:0], 6)) == []


def _placed(codes, embedded, others):
    """Return the map and the positions of other codes in it."""
    points = embed_tsne(embedded, find_neighbours(embedded, 90))
    ((_, near),) = nearest_in_blocks(embedded, codes, others, 10)
    return points, place_points(near, points, map_reach(points))


@pytest.mark.slow
def test_placed_points_lie_among_their_class():
    codes, labels = _clusters(900)
    others = np.arange(600, 900)
    points, places = _placed(codes, codes[:600], others)
    votes = KNeighborsClassifier(5).fit(points, labels[:600]).score(places, labels[others])
    in_codes = KNeighborsClassifier(5).fit(codes[:600], labels[:600]).score(codes[others], labels[others])
    assert in_codes > 0.99
    assert votes > in_codes - 0.02
    # They are spread out, and not stacked on the points of the map.
    assert len(np.unique(places, axis=0)) > 280


@pytest.mark.slow
def test_a_point_of_the_map_that_is_placed_again_stays_where_it_was():
    codes, _ = _clusters(400)
    points, places = _placed(codes, codes, np.arange(400))
    width = points.std()
    np.testing.assert_allclose(places, points, atol=1e-6 * width)
    _, close = _placed(codes + np.float32(0.05), codes, np.arange(400))
    assert np.median(np.linalg.norm(close - points, axis=1)) < 0.05 * width


def test_no_point_is_placed_between_two_groups():
    points = np.array([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [9.0, 9.0], [9.1, 9.0], [9.0, 9.1]])
    near = Neighbours(np.array([[0, 3, 4, 1, 5, 2]]), np.array([[1.0, 1.1, 1.2, 1.3, 1.4, 1.5]]))
    (place,) = place_points(near, points, np.full(6, 0.5))
    assert (place < 0.1).all()
    assert (place > 0).all()


def test_draws_are_nested_and_those_of_different_numbers_are_independent():
    small, large = draw_rows(5000, 100, seed=2), draw_rows(5000, 400, seed=2)
    other = draw_rows(5000, 400, seed=2, draw=1)
    assert set(small) < set(large)
    assert (np.diff(large) > 0).all()
    assert 10 < len(set(large) & set(other)) < 60  # 32 are expected
    assert draw_rows(7, 100, seed=0).tolist() == list(range(7))


def test_many_codes_are_placed_and_judged_without_a_matrix_of_their_distances(monkeypatch):
    monkeypatch.setattr(embedding, "_BLOCK_QUERIES", 2**11)
    monkeypatch.setattr(embedding, "_BLOCK_VALUES", 2**18)
    codes = np.random.default_rng(0).standard_normal((12_000, 6)).astype(np.float32)
    points, rows = codes[:, :2].astype(np.float64), np.arange(0, 12_000, 8)
    tracemalloc.start()
    try:
        for part, near in nearest_in_blocks(codes[:6_000], codes, np.arange(6_000, 12_000), 10):
            points[part] = place_points(near, points[:6_000], np.ones(6_000))
        near, in_map = (find_neighbours(places, 5, rows=rows) for places in (codes, points))
        point_trustworthiness(codes, near, in_map, 5, rows=rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6  # the distances of those to be placed take 288 MB, of those judged 144 MB


def test_trustworthiness_of_some_points_is_theirs_in_the_whole_map(monkeypatch):
    monkeypatch.setattr(embedding, "_BLOCK_VALUES", 2000)
    codes = np.random.default_rng(2).standard_normal((300, 6))
    points, rows = codes[:, :2], np.arange(0, 300, 7)
    every = point_trustworthiness(codes, find_neighbours(codes, 8), find_neighbours(points, 5), 5)
    near, in_map = find_neighbours(codes, 5, rows=rows), find_neighbours(points, 5, rows=rows)
    some = point_trustworthiness(codes, near, in_map, 5, rows=rows, n_threads=2)
    assert some.tolist() == every[rows].tolist()


@pytest.mark.parametrize("n_known", [5, 40])
@pytest.mark.parametrize("k", [1, 5])
def test_trustworthiness_is_that_of_scikit_learn(monkeypatch, n_known, k):
    monkeypatch.setattr(embedding, "_BLOCK_VALUES", 1000)  # so that there are many blocks
    codes = np.random.default_rng(2).standard_normal((200, 6)) + 50.0
    for points in (codes[:, :2], np.random.default_rng(3).standard_normal((200, 2))):
        found = point_trustworthiness(codes, find_neighbours(codes, n_known), find_neighbours(points, k), k)
        assert found.shape == (200,)
        assert found.mean() == pytest.approx(trustworthiness(codes, points, n_neighbors=k), abs=1e-12)


def test_a_map_that_is_the_code_itself_is_fully_trustworthy():
    codes = np.random.default_rng(4).standard_normal((50, 2))
    near = find_neighbours(codes, 5)
    assert point_trustworthiness(codes, near, near, 5).tolist() == [1.0] * 50


def test_trustworthiness_of_too_few_points_is_not_defined():
    codes = np.random.default_rng(5).standard_normal((10, 3))
    near = find_neighbours(codes, 5)
    with pytest.raises(ValueError, match="10 points is not defined for 5"):
        point_trustworthiness(codes, near, near, 5)
    assert possible_neighbours(5, 10) == 4
    assert possible_neighbours(5, 1000) == 5


@pytest.mark.slow
def test_votes_of_neighbours_are_those_of_a_leave_one_out_classifier(monkeypatch):
    monkeypatch.setattr(embedding, "_BLOCK_VALUES", 200)  # so that there are many blocks
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 4, 120)
    codes = rng.standard_normal((120, 5)) + labels[:, None] * 0.6
    for k in (1, 2, 4, 5):
        expected = cross_val_predict(KNeighborsClassifier(k), codes, labels, cv=LeaveOneOut()) == labels
        assert same_label_votes(find_neighbours(codes, k).index, labels).tolist() == expected.tolist()


def test_the_outlier_score_is_the_fraction_of_neighbours_with_another_label():
    codes, labels = _clusters()
    labels = labels.copy()
    labels[[4, 40]] = [5, 1]  # labelled as another cluster
    near = find_neighbours(codes, 5)
    scores = outlier_scores(near.index, labels)
    for point in (0, 4, 40, 77):
        distance = np.linalg.norm(codes - codes[point], axis=1)
        distance[point] = np.inf
        nearest = np.argsort(distance)[:5]
        assert scores[point] == np.mean(labels[nearest] != labels[point])
    distances = near.distance.mean(axis=1)
    assert set(worst_outliers(scores, distances, 2)) == {4, 40}
    assert len(worst_outliers(scores, distances, 300)) == (scores > 0).sum()


@pytest.mark.slow
def test_nearest_neighbours_fail_in_two_principal_components_and_succeed_in_t_sne():
    codes, labels = _clusters()
    near = find_neighbours(codes, 90)
    maps = {"pca": embed_pca(codes)[0], "tsne": embed_tsne(codes, near)}
    accuracy = {name: same_label_votes(find_neighbours(map, 5).index, labels).mean() for name, map in maps.items()}
    assert accuracy["pca"] < 0.75
    assert accuracy["tsne"] > 0.99


def test_a_seed_and_the_codes_decide_the_map():
    codes, _ = _clusters(100)
    near = find_neighbours(codes, 30)
    first, again, other = (embed_tsne(codes, near, perplexity=10, seed=seed) for seed in (0, 0, 1))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert first.shape == (100, 2)


@pytest.mark.parametrize("n_points", [6, 7, 31])
def test_few_points_get_the_perplexity_that_they_allow(n_points, caplog):
    codes = np.random.default_rng(7).standard_normal((n_points, 4)).astype(np.float32)
    perplexity = possible_perplexity(30, n_points)
    assert perplexity == pytest.approx((n_points - 1) / 3)
    points = embed_tsne(codes, find_neighbours(codes, n_points - 1), perplexity=perplexity)
    assert np.isfinite(points).all()
    assert caplog.text == ""  # openTSNE had nothing to warn of


def test_equal_codes_and_a_single_dimension_can_be_mapped():
    codes = np.repeat(np.arange(10.0), 4)[:, None].astype(np.float32)
    points = embed_tsne(codes, find_neighbours(codes, 15), perplexity=5)
    assert np.isfinite(points).all()
    groups = points.reshape(10, 4, 2)
    spread = np.linalg.norm(groups - groups.mean(axis=1, keepdims=True), axis=2).max()
    assert np.linalg.norm(np.diff(groups.mean(axis=1), axis=0), axis=1).min() > 2 * spread
    points, fractions = embed_pca(codes)
    assert fractions.tolist() == [1.0, 0.0]
    assert not points[:, 1].any()


def test_progress_counts_the_steps_of_both_phases():
    codes, _ = _clusters(60)
    progress = Recorded()
    embed_tsne(codes, find_neighbours(codes, 30), perplexity=10, progress=progress, what="x")
    assert progress.updates == [("x", done, 750) for done in range(50, 751, 50)]


def test_principal_components_are_those_of_scikit_learn_but_for_their_sign():
    codes, _ = _clusters()
    points, fractions = embed_pca(codes)
    pca = PCA(2).fit(codes.astype(np.float64))
    np.testing.assert_allclose(np.abs(points), np.abs(pca.transform(codes.astype(np.float64))), atol=1e-6)
    np.testing.assert_allclose(fractions, pca.explained_variance_ratio_, atol=1e-9)
