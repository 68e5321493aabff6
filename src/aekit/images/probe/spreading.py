"""Label spreading from few labelled to many unlabelled images, over the graph of nearest neighbours of features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]

# Chosen on validation images: benchmarks/probe_settings.py.
N_NEIGHBOURS = 5  # of a node in the graph
ALPHA = 0.99  # how much of its label a node takes from its neighbours
N_VOTERS = 10  # nodes that vote for the class of a new image
TOLERANCE = 1e-6
MAX_STEPS = 1000


class Spreading:
    """A graph of images, labelled or not, that classifies other images; built once for all draws.

    Args:
        features: Scaled features of the images that are nodes, (N, F).
        test_features: Scaled features of the images to classify, (T, F), which are not part of the graph.
    """

    def __init__(self, features: FloatArray, test_features: FloatArray) -> None:
        self._features, self._test_features = features, test_features
        nearest = NearestNeighbors(algorithm="brute").fit(features)
        k = min(N_NEIGHBOURS, len(features) - 1)
        self.graph = normalised_graph(nearest.kneighbors(n_neighbors=k, return_distance=False))
        n_voters = min(N_VOTERS, len(features))
        self._voters = nearest.kneighbors(test_features, n_neighbors=n_voters, return_distance=False)

    def predict(self, labelled: IntArray, targets: IntArray) -> IntArray:
        """Return the class of each image to classify, (R, T), for R draws of labelled nodes at once.

        Args:
            labelled: Which nodes are labelled, (R, n).
            targets: Their classes, (R, n).
        """
        n_draws, n_classes = len(labelled), int(targets.max()) + 1
        starts = np.zeros((len(self._features), n_draws, n_classes))
        for draw in range(n_draws):
            starts[labelled[draw], draw, targets[draw]] = 1
        spread = spread_labels(self.graph, starts.reshape(len(starts), -1), alpha=ALPHA).reshape(starts.shape)
        return np.stack([self._vote(spread[:, draw], labelled[draw], targets[draw]) for draw in range(n_draws)])

    def _vote(self, spread: FloatArray, labelled: IntArray, targets: IntArray) -> IntArray:
        n_classes = spread.shape[1]
        # A node that no label reaches does not vote.
        ballots = np.eye(n_classes)[spread.argmax(axis=1)] * (spread.max(axis=1, keepdims=True) > 0)
        votes = ballots[self._voters].sum(axis=1)  # (T, classes)
        predicted: IntArray = votes.argmax(axis=1).astype(np.int64)
        silent = votes.max(axis=1) == 0
        if silent.any():
            nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(self._features[labelled])
            found = nearest.kneighbors(self._test_features[silent], return_distance=False)[:, 0]
            predicted[silent] = targets[found]
        return predicted


def normalised_graph(neighbours: npt.NDArray[np.integer]) -> sparse.csr_matrix:
    """Return S = D^-1/2 W D^-1/2, sparse (N, N), where W is the sum of the directed graph and its transpose.

    Args:
        neighbours: Indices of the nearest neighbours of each node, without itself, (N, k).
    """
    n_nodes, k = neighbours.shape
    entries = (np.ones(n_nodes * k), (np.repeat(np.arange(n_nodes), k), neighbours.ravel()))
    directed = sparse.csr_matrix(entries, shape=(n_nodes, n_nodes))
    weights = directed + directed.T
    scale = sparse.diags(1 / np.sqrt(np.asarray(weights.sum(axis=1)).ravel()))
    return sparse.csr_matrix(scale @ weights @ scale)


def spread_labels(graph: sparse.csr_matrix, starts: FloatArray, *, alpha: float) -> FloatArray:
    """Return F = (I - alpha S)^-1 Y, (N, K), the limit of F <- alpha S F + (1 - alpha) Y up to a factor.

    All columns are solved at once by conjugate gradients, which need a tenth of the steps of the iteration. They never
    leave the part of the graph that is connected to a label: elsewhere F is exactly zero.

    Args:
        graph: The symmetric normalised graph S, (N, N).
        starts: Y, 1 where a node has the label of a column, else 0, (N, K).
        alpha: In [0, 1): how much a node takes from its neighbours.

    Source:
        Zhou, Bousquet, Lal, Weston & Schoelkopf 2004, Learning with local and global consistency, NIPS 16.
    """
    solution = np.zeros_like(starts)
    residual = starts.copy()
    direction = starts.copy()
    squares = np.square(residual).sum(axis=0)
    enough = TOLERANCE**2 * squares
    for _ in range(MAX_STEPS):
        if (squares <= enough).all():
            break
        image = direction - alpha * (graph @ direction)
        curvature = (direction * image).sum(axis=0)
        # The curvature is 0 for a class without labels.
        step = np.divide(squares, curvature, out=np.zeros_like(squares), where=curvature > 0)
        solution += step * direction
        residual -= step * image
        before, squares = squares, np.square(residual).sum(axis=0)
        direction *= np.divide(squares, before, out=np.zeros_like(squares), where=before > 0)
        direction += residual
    return solution
