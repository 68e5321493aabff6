"""The methods that use an encoder, each measured on the same draws of labelled images."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from aekit.core.device import ThreadTeam
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError
from aekit.images.probe.classifiers import Scale, accuracy, fit_scale
from aekit.images.probe.spreading import Spreading
from aekit.images.probe.task import FloatArray, IntArray, Task, logistic_accuracies
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

# Everything random has a seed of its own, made of that of the task, one of these, and size and draw.
_NODES, _VERSIONS, _HEADS, _TUNING, _WEIGHTS, _SCRATCH = range(6)


class Probe:
    """One encoder on a task. Its features are computed once, when the first method needs them.

    Each method returns accuracies on the test images, (sizes, R).

    Args:
        task: The images and draws.
        encoder: Maps x (B, C, H, W) to features (B, F); it is left as it is.
        build_encoder: Returns the same network with random weights, drawn from torch's global generator.
        augment: Whether the networks are also trained on warped versions of the labelled images.
        n_unlabelled: Minimum number of images in the graph of label spreading; all if there are fewer.
        team: Threads.
        progress: Receives updates.
        name: What updates call the encoder; may be empty.
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
        progress: Progress = SILENT,
        name: str = "",
    ) -> None:
        self.task = task
        self._encoder, self._build = encoder, build_encoder
        self._augment, self._n_unlabelled = augment, n_unlabelled
        self._team, self._progress = team, progress
        self._prefix = f"{name}: " if name else ""
        self._lock = threading.Lock()

    @cached_property
    def features(self) -> tuple[FloatArray, FloatArray]:
        """Return the scaled features of all training images, (N, F), and of all test images, (T, F).

        Raises:
            AekitError: Some are not finite, or they are the same for all images.
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
                    f"the codes of {n_bad:,} of {len(images):,} images are not finite; train it again with a lower --lr"
                )
        return both[0], both[1]

    @cached_property
    def scale(self) -> Scale:
        """Return the scale of the training images' features.

        Raises:
            AekitError: They are the same for all images.
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
        """Return the images of the graph, ascending: those labelled in any draw, and others up to the minimum."""
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
        """Measure the same network with the encoder trained as well, starting from the head on the frozen encoder."""
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
            with self._lock:  # all threads share torch's global generator
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
        """Return the accuracies, (sizes, R), of one network per draw; a free thread takes the next draw."""
        task = self.task
        n_draws = len(task.drawn[task.sizes[0]])
        accuracies = np.full((len(task.sizes), n_draws), np.nan)
        # The long ones first, so that the threads finish at about the same time.
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
            stopped.set()  # Ctrl-C reaches one thread only
        return accuracies

    def _counter(self, what: str, total: int) -> Callable[[int], None]:
        """Return a function to call, from any thread, with how much more is done."""
        done = 0
        lock = threading.Lock()

        def count(n: int) -> None:
            nonlocal done
            with lock:
                done += n
                self._progress.update(self._prefix + what, done, max(total, done))

        return count
