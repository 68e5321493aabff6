"""What is to be learned: sizes, labelled images, and chance."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.images.data.image_set import ImageSet
from aekit.images.probe.classifiers import balanced_draws
from aekit.images.probe.task import Task, logistic_accuracies

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def task():
    labels, test_labels = np.arange(60) % 3, np.array([0, 0, 1, 2, 2, 2])
    images = ImageSet(RNG.integers(0, 256, (60, 1, 8, 8), np.uint8), "x", labels=labels)
    return Task(images, labels, images.subset(np.arange(6)), test_labels, balanced_draws(labels, [9, 3], 2, seed=0))


def test_a_task_knows_its_sizes_classes_and_labelled_images(task):
    assert task.sizes == [3, 9]
    assert task.n_classes == 3
    assert set(task.labelled) == set(task.drawn[9].ravel())
    assert (np.diff(task.labelled) > 0).all()
    assert task.chance == 0.5


def test_a_score_is_the_accuracy_of_each_draw(task):
    right, wrong = task.test_labels, (task.test_labels + 1) % 3
    assert task.score(lambda size: [right, wrong if size == 3 else right]).tolist() == [[1, 0], [1, 1]]


def test_logistic_regression_uses_the_features_of_its_own_draw(task):
    features = np.eye(3, dtype=np.float32)[task.train_labels[task.labelled]]
    test = np.eye(3, dtype=np.float32)[task.test_labels]
    assert (logistic_accuracies(task, features, test) == 1).all()
