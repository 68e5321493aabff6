"""Classifiers of given features: balanced draws, logistic regression, and differences between methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from aekit.core.intervals import mean_interval
from aekit.errors import AekitError, count

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]

# Inverse strength of the penalty on features of mean variance one. Chosen on validation images for codes, last hidden
# layers, PCA codes and pixels together: benchmarks/probe_settings.py.
INVERSE_PENALTY = 0.2
PER_CLASS = (1, 2, 4, 8, 10, 16, 50, 100)
DIFFERENCE_COLUMNS = ("method", "baseline", "labels", "difference", "low", "high", "draws")


@dataclass(frozen=True)
class Scale:
    """Shifts features to mean zero and divides all by one number, so that their mean variance is one.

    Dividing each dimension by its own standard deviation (whitening) would amplify those that carry little, which costs
    ten points of accuracy at a hundred labels.

    Attributes:
        mean: Mean of each feature, float32 (F,).
        spread: Square root of the mean variance of the features.
    """

    mean: npt.NDArray[np.float32]
    spread: float

    def apply(self, features: FloatArray) -> npt.NDArray[np.float32]:
        """Return features, (N, F), scaled."""
        return ((features - self.mean) / np.float32(self.spread)).astype(np.float32, copy=False)


def fit_scale(features: FloatArray) -> Scale:
    """Return the scale of features, (N, F).

    Raises:
        ValueError: All rows are the same.
    """
    spread = float(np.sqrt(features.var(axis=0, dtype=np.float64).mean()))
    if spread == 0:
        raise ValueError("features that are the same for all images have no scale")
    return Scale(features.mean(axis=0, dtype=np.float64).astype(np.float32), spread)


def default_labels(labels: IntArray) -> list[int]:
    """Return numbers of labels to draw: 1, 2, 4, 8, 10, 16, 50 and 100 per class, as far as the smallest class goes.

    Args:
        labels: Class of each image, (N,).
    """
    _, counts = np.unique(labels, return_counts=True)
    return [n * len(counts) for n in PER_CLASS if n <= counts.min()]


def balanced_draws(
    labels: IntArray, n_labels: Sequence[int], n_draws: int, *, seed: int, class_names: Sequence[str] = ()
) -> dict[int, IntArray]:
    """Return which images are labelled in each draw: equally many of every class, a smaller draw part of a larger one.

    Args:
        labels: Class of each image, (N,); every class that occurs is drawn from.
        n_labels: Sizes of the draws, multiples of the number of classes.
        n_draws: Draws of each size, R.
        seed: Seed; draw r is the same for any number of draws and sizes.
        class_names: Names of the classes, for errors.

    Returns:
        For each size n the rows of the labelled images, (R, n).

    Raises:
        AekitError: A size is not a multiple of the number of classes, a class has too few images, or there is only one.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise AekitError("--data: all training images are of one class; use images of several classes")
    for size in n_labels:
        _check_size(size, len(classes))
    least, most = int(counts.min()), max(n_labels) // len(classes)
    if least < most:
        kind = int(classes[counts.argmin()])
        name = class_names[kind] if kind < len(class_names) else str(kind)
        raise AekitError(
            f"--labels {max(n_labels)}: a draw needs {count(most, 'training image')} of each of "
            f"{count(len(classes), 'class', 'classes')}, and there are {least:,} of {name!r}; ask for at most "
            f"{least * len(classes):,}"
        )
    orders = []  # of each draw the images of every class in random order, (classes, most)
    for draw in range(n_draws):
        generator = np.random.default_rng([seed, draw])
        orders.append([generator.permutation(np.flatnonzero(labels == kind))[:most] for kind in classes])
    drawn = np.array(orders, np.int64)  # (R, classes, most)
    return {size: drawn[:, :, : size // len(classes)].reshape(n_draws, -1) for size in n_labels}


def _check_size(size: int, n_classes: int) -> None:
    below = size // n_classes * n_classes
    if size == below > 0:
        return
    near = f"{below} or {below + n_classes}" if below else f"{n_classes} or a multiple of it"
    raise AekitError(f"--labels {size}: must be a multiple of {n_classes}, the number of classes; give {near}")


def logistic_accuracy(
    features: FloatArray, targets: IntArray, test_features: FloatArray, test_targets: IntArray
) -> float:
    """Return the accuracy on test images of logistic regression on a few labelled ones.

    Args:
        features: Scaled features of the labelled images, (n, F).
        targets: Their classes, (n,).
        test_features: Scaled features of the test images, (N, F).
        test_targets: Their classes, (N,).
    """
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000).fit(features, targets)
    return accuracy(model.predict(test_features), test_targets)


def accuracy(predicted: npt.NDArray[np.integer], targets: IntArray) -> float:
    """Return the fraction of predicted classes, (N,), that are right."""
    return float(np.mean(predicted == targets))


def paired_differences(accuracies: dict[str, FloatArray], n_labels: Sequence[int]) -> list[dict[str, Any]]:
    """Return how much better each method is than each later one on the same draws, with a 95 % interval of the mean.

    The interval is Student's t over draws. As all draws share the training and test images, it applies to these images
    only.

    Args:
        accuracies: For each method the accuracy, (sizes, draws).
        n_labels: The sizes of the draws.

    Returns:
        Rows with ``method``, ``baseline``, ``labels``, ``difference`` (method less baseline), ``low``, ``high`` (NaN
        for a single draw) and ``draws``.
    """
    rows = []
    for method, baseline in combinations(accuracies, 2):
        for size, gains in zip(n_labels, accuracies[method] - accuracies[baseline], strict=True):
            difference, low, high = mean_interval(gains)
            values = (method, baseline, size, difference, low, high, len(gains))
            rows.append(dict(zip(DIFFERENCE_COLUMNS, values, strict=True)))
    return rows
