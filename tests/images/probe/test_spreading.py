"""Label spreading over a graph of nearest neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.neighbors import kneighbors_graph
from sklearn.semi_supervised import LabelSpreading

from aekit.images.probe import spreading
from aekit.images.probe.classifiers import logistic_accuracy
from aekit.images.probe.spreading import Spreading, normalised_graph, spread_labels


def _neighbours(features, k):
    return kneighbors_graph(features, k).indices.reshape(len(features), k)


@pytest.fixture(scope="module")
def blobs():
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 3, 240)
    centres = np.array([[0, 0], [4, 0], [0, 4]])
    return (centres[targets] + generator.normal(size=(240, 2))).astype(np.float32), targets


@pytest.mark.parametrize("alpha", [0.2, 0.9, 0.99])
def test_spreading_is_that_of_scikit_learn_on_the_same_graph(blobs, alpha, monkeypatch):
    monkeypatch.setattr(spreading, "TOLERANCE", 1e-13)  # so that ratios of very small values are exact, too
    features, targets = blobs
    directed = kneighbors_graph(features, 5).toarray()
    labelled = np.array([np.flatnonzero(targets == kind)[i] for kind in range(3) for i in range(2)])
    known = np.full(len(targets), -1)
    known[labelled] = targets[labelled]
    reference = LabelSpreading(kernel=lambda a, b: directed + directed.T, alpha=alpha, max_iter=20_000, tol=1e-12)
    reference.fit(features, known)
    starts = np.zeros((len(targets), 3))
    starts[labelled, targets[labelled]] = 1
    found = spread_labels(normalised_graph(_neighbours(features, 5)), starts, alpha=alpha)
    reached = found.sum(axis=1) > 0
    fractions = found[reached] / found[reached].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fractions, reference.label_distributions_[reached], atol=1e-4)


def test_spreading_solves_the_equation(blobs):
    graph = normalised_graph(_neighbours(blobs[0], 4))
    np.testing.assert_allclose(graph.toarray(), graph.T.toarray())
    starts = np.random.default_rng(1).random((240, 7))
    expected = np.linalg.solve(np.eye(240) - 0.9 * graph.toarray(), starts)
    np.testing.assert_allclose(spread_labels(graph, starts, alpha=0.9), expected, rtol=1e-4)


def test_one_label_per_moon_is_enough_where_a_linear_classifier_fails():
    features, targets = make_moons(1000, noise=0.05, random_state=2)
    features = features.astype(np.float32)
    nodes, test = np.arange(800), np.arange(800, 1000)
    labelled = np.array([[np.flatnonzero(targets == kind)[0] for kind in (0, 1)]])
    graph = Spreading(features[nodes], features[test])
    assert np.mean(graph.predict(labelled, targets[labelled])[0] == targets[test]) == 1
    assert logistic_accuracy(features[labelled[0]], targets[labelled[0]], features[test], targets[test]) < 0.9


def test_draws_spread_together_are_what_they_are_alone(blobs):
    features, targets = blobs
    graph = Spreading(features[:200], features[200:])
    labelled = np.array([[np.flatnonzero(targets[:200] == kind)[i] for kind in range(3)] for i in range(4)])
    together = graph.predict(labelled, targets[labelled])
    assert together.shape == (4, 40)
    for draw in range(4):
        alone = graph.predict(labelled[draw : draw + 1], targets[labelled[draw : draw + 1]])
        np.testing.assert_array_equal(together[draw], alone[0])


def test_images_that_no_label_reaches_get_the_class_of_the_nearest_labelled_one():
    generator = np.random.default_rng(0)
    islands = [generator.normal(size=(30, 2)) + place for place in ([0, 0], [100, 0], [1000, 0])]
    features = np.concatenate(islands).astype(np.float32)
    graph = Spreading(features, np.array([[0, 0], [100, 0], [1000, 0]], np.float32))
    found = graph.predict(np.array([[0, 30]]), np.array([[2, 1]]))
    np.testing.assert_array_equal(found, [[2, 1, 1]])  # the third island has no label; the second is nearer


def test_a_graph_of_fewer_images_than_neighbours_works():
    features = np.array([[0.0], [1.0], [10.0]], np.float32)
    found = Spreading(features, features).predict(np.array([[0, 2]]), np.array([[0, 1]]))
    assert found.shape == (1, 3)
