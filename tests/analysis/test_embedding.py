"""Maps and their measures against scikit-learn, brute force and data whose neighbourhoods are known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from aekit.analysis import embedding
from aekit.analysis.embedding import (
    embed_pca,
    embed_tsne,
    find_neighbours,
    outlier_scores,
    point_trustworthiness,
    possible_neighbours,
    possible_perplexity,
    same_label_votes,
    worst_outliers,
)


def _clusters(n_points=300, n_clusters=10, n_dimensions=12, seed=0):
    """Return points around corners of a simplex, which two dimensions cannot keep apart by projection."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_points) % n_clusters
    points = 6.0 * np.eye(n_dimensions)[labels] + rng.standard_normal((n_points, n_dimensions)) * 0.7
    return points.astype(np.float32), labels


@pytest.mark.parametrize("n_dimensions", [2, 3, 7, 20])
def test_neighbours_are_exact_and_leave_out_the_point_itself(n_dimensions):
    points = np.random.default_rng(1).standard_normal((150, n_dimensions)).astype(np.float32)
    points[7] = points[8]  # a twin is a neighbour, the point itself is not
    found = find_neighbours(points, 12)
    wide = points.astype(np.float64)
    distance = np.sqrt(np.square(wide[:, None] - wide[None]).sum(2))
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_allclose(found.distance, np.sort(distance, axis=1)[:, :12], atol=1e-6)
    rows = np.arange(len(points))[:, None]
    np.testing.assert_allclose(distance[rows, found.index], found.distance, atol=1e-6)
    assert found.index[7, 0] == 8
    assert not (found.index == rows).any()


@pytest.mark.parametrize("n_known", [5, 40])
@pytest.mark.parametrize("k", [1, 5])
def test_trustworthiness_is_that_of_scikit_learn(monkeypatch, n_known, k):
    monkeypatch.setattr(embedding, "_BLOCK_VALUES", 1000)  # so that there are many blocks
    codes = np.random.default_rng(2).standard_normal((200, 6)) + 50.0
    for points in (codes[:, :2], np.random.default_rng(3).standard_normal((200, 2))):
        found = point_trustworthiness(codes, find_neighbours(codes, n_known), find_neighbours(points, k), k)
        assert found.shape == (200,)
        assert found.mean() == pytest.approx(trustworthiness(codes, points, n_neighbors=k), abs=1e-12)


def test_a_map_that_is_the_code_itself_can_be_trusted_wholly():
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


def test_votes_of_neighbours_are_those_of_a_classifier_that_leaves_one_out(monkeypatch):
    monkeypatch.setattr(embedding, "_BLOCK_VALUES", 200)  # so that there are many blocks
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 4, 120)
    codes = rng.standard_normal((120, 5)) + labels[:, None] * 0.6
    for k in (1, 2, 4, 5):
        expected = cross_val_predict(KNeighborsClassifier(k), codes, labels, cv=LeaveOneOut()) == labels
        assert same_label_votes(find_neighbours(codes, k).index, labels).tolist() == expected.tolist()


def test_the_outlier_score_is_the_share_of_neighbours_with_another_label():
    codes, labels = _clusters()
    labels = labels.copy()
    labels[[4, 40]] = [5, 1]  # said to be of another cluster
    near = find_neighbours(codes, 5)
    scores = outlier_scores(near.index, labels)
    for point in (0, 4, 40, 77):
        distance = np.linalg.norm(codes - codes[point], axis=1)
        distance[point] = np.inf
        nearest = np.argsort(distance)[:5]
        assert scores[point] == np.mean(labels[nearest] != labels[point])
    assert set(worst_outliers(near, labels, 5, 2)) == {4, 40}
    assert len(worst_outliers(near, labels, 5, 300)) == (scores > 0).sum()


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
    assert caplog.text == ""  # nothing for openTSNE to mend


def test_equal_codes_and_a_single_dimension_can_be_mapped():
    codes = np.repeat(np.arange(10.0), 4)[:, None].astype(np.float32)
    points = embed_tsne(codes, find_neighbours(codes, 15), perplexity=5)
    assert np.isfinite(points).all()
    groups = points.reshape(10, 4, 2)
    spread = np.linalg.norm(groups - groups.mean(axis=1, keepdims=True), axis=2).max()
    assert np.linalg.norm(np.diff(groups.mean(axis=1), axis=0), axis=1).min() > 2 * spread
    points, shares = embed_pca(codes)
    assert shares.tolist() == [1.0, 0.0]
    assert not points[:, 1].any()


def test_progress_counts_the_steps_of_both_phases():
    codes, _ = _clusters(60)
    said = []
    embed_tsne(codes, find_neighbours(codes, 30), perplexity=10, on_progress=lambda *counts: said.append(counts))
    assert said[-1] == (750, 750)
    assert [done for done, _ in said] == list(range(50, 751, 50))


def test_principal_components_are_those_of_scikit_learn_but_for_their_sign():
    codes, _ = _clusters()
    points, shares = embed_pca(codes)
    pca = PCA(2).fit(codes.astype(np.float64))
    np.testing.assert_allclose(np.abs(points), np.abs(pca.transform(codes.astype(np.float64))), atol=1e-6)
    np.testing.assert_allclose(shares, pca.explained_variance_ratio_, atol=1e-9)
