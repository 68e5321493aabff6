"""Methods that need no encoder: logistic regression on pixels, and on PCA codes."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from aekit.images.principal_components import ImageRows, fit_pca, max_components
from aekit.images.probe.classifiers import Scale
from aekit.images.probe.task import FloatArray, IntArray, Task, logistic_accuracies

BLOCK = 1024  # images at a time, so that a memory-mapped set is never held whole as floats


class Baselines:
    """The accuracies of methods that need no encoder, measured once for all checkpoints.

    Args:
        task: The images and draws.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._pca: dict[int, FloatArray] = {}

    @cached_property
    def pixels(self) -> FloatArray:
        """Return the accuracies of logistic regression on pixels, (sizes, R)."""
        return pixel_accuracies(self._task)

    def pca(self, n_components: int) -> FloatArray:
        """Return the accuracies of logistic regression on PCA codes, (sizes, R)."""
        if n_components not in self._pca:
            self._pca[n_components] = pca_accuracies(self._task, n_components)
        return self._pca[n_components]


def pixel_accuracies(task: Task) -> FloatArray:
    """Return the accuracies of logistic regression on pixels, (sizes, R)."""
    scale = _pixel_scale(task.train)
    labelled, test = (
        np.concatenate([scale.apply(_pixels(images, block)) for block in _blocks(rows)])
        for images, rows in ((task.train, task.labelled), (task.test, np.arange(len(task.test))))
    )
    return logistic_accuracies(task, labelled, test)


def pca_accuracies(task: Task, n_components: int) -> FloatArray:
    """Return the accuracies of logistic regression on PCA codes, (sizes, R); PCA is fitted to all training images.

    Args:
        task: The images and draws.
        n_components: Number of components; fewer if the images have fewer.
    """
    n_components = min(n_components, max_components(task.train))
    pca = fit_pca(task.train, n_components)
    scale = Scale(np.zeros(n_components, np.float32), float(np.sqrt(pca.variance.mean())) or 1.0)
    labelled, test = (
        np.concatenate([scale.apply(pca.encode(images.take(block), n_components)) for block in _blocks(rows)])
        for images, rows in ((task.train, task.labelled), (task.test, np.arange(len(task.test))))
    )
    return logistic_accuracies(task, labelled, test)


def _pixel_scale(images: ImageRows) -> Scale:
    n_values = int(np.prod(images.image_shape))
    sums, squares = np.zeros(n_values), np.zeros(n_values)
    for block in _blocks(np.arange(len(images))):
        pixels = _pixels(images, block).astype(np.float64)
        sums += pixels.sum(axis=0)
        squares += np.square(pixels).sum(axis=0)
    mean = sums / len(images)
    variance = float((squares / len(images) - np.square(mean)).mean())
    return Scale(mean.astype(np.float32), float(np.sqrt(max(variance, 0.0))) or 1.0)


def _pixels(images: ImageRows, rows: IntArray) -> npt.NDArray[np.float32]:
    return images.take(rows).reshape(len(rows), -1).astype(np.float32) / np.float32(255)


def _blocks(rows: IntArray) -> list[IntArray]:
    return [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
