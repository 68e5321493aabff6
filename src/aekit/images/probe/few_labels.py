"""The methods that learn from few labels, each measured on the same draws of labelled images."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from aekit.core.device import ThreadTeam
from aekit.errors import AekitError
from aekit.images.pca.components import ImageRows, fit_pca, max_components
from aekit.images.probe.classifiers import Scale, accuracy, fit_scale, logistic_accuracy
from aekit.images.probe.spreading import Spreading
from aekit.images.probe.transfer import (
    Classifier,
    encode_features,
    encode_variants,
    fine_tune,
    fit_heads,
    predict_heads,
    predict_images,
    train_from_scratch,
)

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]
# Called with what is being done, how much of it is done, and how much there is to do.
Progress = Callable[[str, int, int], object]

BLOCK = 1024  # images at a time, so that a memory-mapped set is never held whole as floats
# Each thing that is drawn has a seed of its own, made of the one of the task, one of these, and size and draw.
_NODES, _VERSIONS, _HEADS, _TUNING, _WEIGHTS, _SCRATCH = range(6)


@dataclass(frozen=True)
class Task:
    """What is to be learned, and from which labels: the same for all methods and encoders.

    Attributes:
        train: N training images.
        train_labels: Their classes, (N,).
        test: T test images.
        test_labels: Their classes, (T,); they serve for nothing but the accuracy.
        drawn: For each number of labels n the training images that are labelled in each draw, (R, n). A draw is part
            of the larger ones with the same number r, as
            :func:`aekit.images.probe.classifiers.balanced_draws` makes them.
        seed: Seed of all else that is drawn.
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
        """Return the accuracy of the best constant answer: the share of the most frequent class among test images."""
        return float(np.bincount(self.test_labels).max() / len(self.test_labels))

    def score(self, predict: Callable[[int], Iterable[IntArray]]) -> FloatArray:
        """Return the accuracies, (sizes, R), of the classes, R times (T,), that ``predict`` gives for each size."""
        return np.array([[accuracy(found, self.test_labels) for found in predict(size)] for size in self.sizes])


class Probe:
    """One encoder on a task. Its features are computed once, when the first method asks for them.

    Each method returns accuracies on the test images, (sizes, R).

    Args:
        task: The images and draws.
        encoder: Maps x (B, C, H, W) to features (B, F); it is left as it is.
        build_encoder: Returns the same network with random weights, drawn from torch's global generator.
        augment: Whether the networks see the labelled images also turned, stretched and moved.
        n_unlabelled: Images of the graph of label spreading, at least; all if there are fewer.
        team: Threads.
        on_progress: Told how far it is.
    """

    def __init__(
        self,
        task: Task,
        encoder: nn.Module,
        build_encoder: Callable[[], nn.Module],
        *,
        augment: bool = True,
        n_unlabelled: int = 20_000,
        team: ThreadTeam,
        on_progress: Progress = lambda what, done, total: None,
    ) -> None:
        self.task = task
        self._encoder, self._build = encoder, build_encoder
        self._augment, self._n_unlabelled = augment, n_unlabelled
        self._team, self._on_progress = team, on_progress
        self._lock = threading.Lock()

    @cached_property
    def features(self) -> tuple[FloatArray, FloatArray]:
        """Return the scaled features of all training images, (N, F), and of all test images, (T, F).

        Raises:
            AekitError: Some are not finite, or all images have the same.
        """
        train, test = self._raw_features
        return self.scale.apply(train), self.scale.apply(test)

    @cached_property
    def _raw_features(self) -> tuple[FloatArray, FloatArray]:
        both = []
        for images in (self.task.train, self.task.test):
            count = self._counter("encoding", len(images))
            both.append(encode_features(self._encoder, images, team=self._team, on_images=count))
            n_bad = int((~np.isfinite(both[-1])).any(axis=1).sum())
            if n_bad:
                raise AekitError(
                    f"the codes of {n_bad:,} of {len(images):,} images are not finite; train it again, with a lower "
                    "--lr"
                )
        return both[0], both[1]

    @cached_property
    def scale(self) -> Scale:
        """Return the scale of the training images' features.

        Raises:
            AekitError: All images have the same.
        """
        try:
            return fit_scale(self._raw_features[0])
        except ValueError as error:
            raise AekitError(
                "the code is the same for all images, so nothing can be learned from it; train it again"
            ) from error

    def logistic(self) -> FloatArray:
        """Measure logistic regression on the features."""
        train, test = self.features
        return logistic_accuracies(self.task, train[self.task.labelled], test)

    def spread(self) -> FloatArray:
        """Measure label spreading over the labelled and unlabelled training images."""
        train, test = self.features
        nodes = self._nodes()
        spreading = Spreading(train[nodes], test)
        count = self._counter("spreading labels", len(self.task.sizes))

        def predict(size: int) -> IntArray:
            rows = self.task.drawn[size]
            found = spreading.predict(np.searchsorted(nodes, rows), self.task.train_labels[rows])
            count(1)
            return found

        return self.task.score(predict)

    def _nodes(self) -> IntArray:
        """Return the images of the graph, ascending: those labelled in any draw, and others up to the number."""
        labelled, n_images = self.task.labelled, len(self.task.train)
        others = np.setdiff1d(np.arange(n_images), labelled)
        n_others = int(np.clip(self._n_unlabelled - len(labelled), 0, len(others)))
        drawn = np.random.default_rng([self.task.seed, _NODES]).choice(others, n_others, replace=False)
        return np.sort(np.concatenate([labelled, drawn]))

    def frozen(self) -> FloatArray:
        """Measure a small network on the frozen features."""
        test = self.features[1]
        return self.task.score(lambda size: predict_heads(self._heads[size], test))

    @cached_property
    def _heads(self) -> dict[int, list[nn.Sequential]]:
        """Return the trained head of each draw, by size."""
        task = self.task
        scale = self.scale
        if self._augment:
            raw = encode_variants(
                self._encoder,
                task.train,
                task.labelled,
                seed=(task.seed, _VERSIONS),
                team=self._team,
                on_images=self._counter("encoding warped images", 0),
            )
            variants = scale.apply(raw)
        else:
            variants = self.features[0][task.labelled][None]
        device = next(self._encoder.parameters()).device
        count = self._counter("training heads", len(task.sizes))
        heads = {}
        for size in task.sizes:
            rows = task.drawn[size]
            heads[size] = fit_heads(
                variants,
                np.searchsorted(task.labelled, rows),
                task.train_labels[rows],
                n_classes=task.n_classes,
                seed=(task.seed, _HEADS),
                device=device,
            )
            count(1)
        return heads

    def finetune(self) -> FloatArray:
        """Measure the same network with the encoder trained too, from the frozen one's head."""
        heads, scale = self._heads, self.scale

        def train(size: int, draw: int, images: npt.NDArray[np.uint8], targets: IntArray) -> Classifier:
            seed = (self.task.seed, _TUNING, size, draw)
            head = heads[size][draw]
            return fine_tune(self._encoder, scale, head, images, targets, augment=self._augment, seed=seed)

        return self._train_networks("fine-tuning", train)

    def scratch(self) -> FloatArray:
        """Measure the same network from random weights."""

        def train(size: int, draw: int, images: npt.NDArray[np.uint8], targets: IntArray) -> Classifier:
            seed = np.random.SeedSequence([self.task.seed, _WEIGHTS, size, draw]).generate_state(1)[0]
            with self._lock:  # torch's global generator is one for all threads
                torch.manual_seed(int(seed))
                encoder = self._build().to(next(self._encoder.parameters()).device)
            return train_from_scratch(
                encoder,
                images,
                targets,
                n_classes=self.task.n_classes,
                augment=self._augment,
                seed=(self.task.seed, _SCRATCH, size, draw),
            )

        return self._train_networks("training from random weights", train)

    def _train_networks(
        self, what: str, train: Callable[[int, int, npt.NDArray[np.uint8], IntArray], Classifier]
    ) -> FloatArray:
        """Return the accuracies, (sizes, R), of a network for each draw; the threads take one after another."""
        task = self.task
        n_draws = len(task.drawn[task.sizes[0]])
        accuracies = np.full((len(task.sizes), n_draws), np.nan)
        # The long ones first, so that no thread is left alone with one at the end.
        jobs = [(number, draw) for number in reversed(range(len(task.sizes))) for draw in range(n_draws)]
        waiting = iter(jobs)
        stopped = threading.Event()
        count = self._counter(what, len(jobs))

        def work(_: int) -> None:
            while not stopped.is_set():
                with self._lock:
                    job = next(waiting, None)
                if job is None:
                    return
                number, draw = job
                rows = task.drawn[task.sizes[number]][draw]
                classifier = train(task.sizes[number], draw, task.train.take(rows), task.train_labels[rows])
                accuracies[number, draw] = accuracy(predict_images(classifier, task.test), task.test_labels)
                count(1)

        try:
            self._team.map(work, range(self._team.n_threads))
        finally:
            stopped.set()  # Ctrl-C comes to one thread only
        return accuracies

    def _counter(self, what: str, total: int) -> Callable[[int], None]:
        """Return what to call, from any thread, with how much more is done."""
        done = 0
        lock = threading.Lock()

        def count(n: int) -> None:
            nonlocal done
            with lock:
                done += n
                self._on_progress(what, done, max(total, done))

        return count


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
        n_components: Components, fewer if the images have no more.
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
