"""What is to be learned from few labels: the same images and draws for all methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aekit.images.principal_components import ImageRows
from aekit.images.probe.classifiers import accuracy, logistic_accuracy

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """What to learn, and from which labels: the same for all methods and encoders.

    Attributes:
        train: N training images.
        train_labels: Their classes, (N,).
        test: T test images.
        test_labels: Their classes, (T,), used for nothing but the accuracy.
        drawn: For each number of labels n the training images that are labelled in each draw, (R, n). A draw is part
            of the larger draws with the same number r, as made by
            :func:`aekit.images.probe.classifiers.balanced_draws`.
        seed: Seed of everything else random.
    """

    train: ImageRows
    train_labels: IntArray
    test: ImageRows
    test_labels: IntArray
    drawn: dict[int, IntArray]
    seed: int = 0

    @property
    def sizes(self) -> list[int]:
        """Return the numbers of labels, ascending."""
        return sorted(self.drawn)

    @property
    def labelled(self) -> IntArray:
        """Return the training images that are labelled in any draw, ascending, (M,)."""
        return np.unique(self.drawn[self.sizes[-1]])

    @property
    def n_classes(self) -> int:
        """Return one more than the largest class."""
        return int(self.train_labels.max()) + 1

    @property
    def chance(self) -> float:
        """Return the accuracy of the best constant answer: the fraction of test images of the most frequent class."""
        return float(np.bincount(self.test_labels).max() / len(self.test_labels))

    def score(self, predict: Callable[[int], Iterable[IntArray]]) -> FloatArray:
        """Return the accuracies, (sizes, R), of the classes, R times (T,), that ``predict`` gives for each size."""
        return np.array([[accuracy(found, self.test_labels) for found in predict(size)] for size in self.sizes])


def logistic_accuracies(task: Task, labelled: FloatArray, test: FloatArray) -> FloatArray:
    """Return the accuracies of logistic regression, (sizes, R).

    Args:
        task: The images and draws.
        labelled: Scaled features of the images that are labelled in any draw, (M, F).
        test: Scaled features of the test images, (T, F).
    """
    positions = {size: np.searchsorted(task.labelled, rows) for size, rows in task.drawn.items()}
    return np.array(
        [
            [
                logistic_accuracy(labelled[own], task.train_labels[rows], test, task.test_labels)
                for own, rows in zip(positions[size], task.drawn[size], strict=True)
            ]
            for size in task.sizes
        ]
    )
