"""Training of brain networks: one loop for all stages, which a member goes through one after another."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aekit.brains.config import Augmentation, BrainConfig
from aekit.brains.data import BrainData
from aekit.brains.encoders import DEFAULT_EPOCHS, DEFAULT_LR, draw_dropout_from
from aekit.brains.networks import (
    AgeNet,
    BrainBatch,
    Chain,
    DirectNet,
    Normalisation,
    TissueNet,
    ridge_by_leave_one_out,
)
from aekit.brains.scanner import ScannerEffects
from aekit.core.adamw import PlainAdamW
from aekit.core.progress import SILENT, Progress
from aekit.core.schedule import ADAM_BETAS, learning_rate
from aekit.errors import AekitError, Stopped

Stage = Literal["volumes", "age", "chain", "direct"]
Rows = npt.NDArray[np.int64]

EVALUATION_BATCH = 4  # the deep network on 466 brains: 1.5 GB and 46 s in all, with 16 at a time 1.7 GB and 66 s
SHIFT_MM = 4.0
GAIN_SD = 0.05
NOISE_SD = 0.02  # of intensities that are about 1 in white matter
# The MLP from volumes to age: on 181 people in five folds, the mean absolute error is 5.6 years with 200 epochs at this
# rate, 5.7 with 50 epochs, 5.8 at a third of the rate, 5.8 with ten times the decay; 5.7 with a Gaussian process.
AGE_STEPS, AGE_BATCH, AGE_LR, AGE_DECAY = 2000, 32, 1e-2, 0.1
AGE_EPOCHS = (20, 200)


@dataclass(frozen=True)
class EpochRow:
    """One line of a history: the mean loss over a split; for ``train`` the running mean during the epoch."""

    stage: Stage
    fold: int
    seed: int
    epoch: int
    split: str
    loss: float


@dataclass(frozen=True)
class Member:
    """One set of networks, trained on the same participants from the same seed.

    Attributes:
        fold: Number of the fold that is held out, from 0; 0 without folds.
        seed: Of initial weights, order and augmentation.
        train: Rows of the train set.
        held_out: Rows of the participants on which its learning curve is measured; may be empty.
        held_out_split: Their split.
    """

    fold: int
    seed: int
    train: Rows
    held_out: Rows
    held_out_split: str


class Cancelled(Exception):
    """A training that ends because another member of the ensemble failed."""


class EpochCounter:
    """Counts the epochs of all members together, reports them as one percentage, and gives notice of each stage's loss.

    Args:
        n_members: How many members are trained.
        config: Of the training.
        done: The stages that were trained before.
        progress: What it reports to.
    """

    def __init__(self, n_members: int, config: BrainConfig, done: Sequence[Stage], progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()  # members train side by side
        weights: dict[Stage, float] = {"age": 0.05, "chain": 0.5}  # of the time that the other stages take
        self._weight = {stage: weights.get(stage, 1.0) for stage in stages_of(config)}
        self._total = n_members * sum(self._weight.values())
        self._done = sum(self._weight[stage] for stage in done)

    def count(self, stage: Stage, member: Member, n_epochs: int, row: EpochRow) -> None:
        """Count one epoch of a member, whose history ends with ``row``."""
        with self._lock:
            self._done += self._weight[stage] / n_epochs
            fraction = min(1.0, self._done / self._total)
        self._progress.update("training", round(1000 * fraction), 1000, detail=lambda: f"{100 * fraction:.0f} %")
        if row.epoch == n_epochs:
            where = f"fold {member.fold + 1}, " if member.held_out_split == "cv" else ""
            self._progress.notice(f"{where}seed {member.seed}: {stage}, {row.split} loss {row.loss:.4g}")


@dataclass(frozen=True)
class TrainingSetup:
    """What all members and stages of a training share.

    Attributes:
        config: What is trained.
        data: All participants.
        device: Where.
        precision: Of the forward pass.
        progress: Asked at every step whether to stop.
        counter: Counts the epochs; None for none.
        cancelled: Set to end all members.
        initial: The networks that a member, by fold and seed, begins with; weights are drawn for the others.
    """

    config: BrainConfig
    data: BrainData
    device: torch.device
    precision: Literal["fp32", "bf16"]
    progress: Progress = SILENT
    counter: EpochCounter | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    initial: Mapping[tuple[int, int], Mapping[Stage, nn.Module]] = field(default_factory=dict)

    def check_cancelled(self) -> None:
        """Raise Cancelled if another member failed, and Stopped if a signal asks to stop."""
        if self.cancelled.is_set():
            raise Cancelled
        check_stop(self.progress)


def check_stop(progress: Progress) -> None:
    """Raise Stopped if a signal asks to stop; every finished stage is saved already."""
    if (number := progress.should_stop()) is not None:
        raise Stopped("stopped; continue with the same command and --resume", number)


def fit_normalisation(data: BrainData, train: Rows, *, log_age: bool) -> Normalisation:
    """Return means and standard deviations of the train set alone.

    Raises:
        AekitError: All ages or all volumes are equal, so that nothing can be learned.
    """
    rows = torch.from_numpy(train)
    tissues, ages = data.tissues[rows], data.age_years[rows]
    ages = ages.log() if log_age else ages
    cumulative = data.cumulative_ml[rows]
    # torch would warn of too few values if there are no volumes.
    tissue_sd = tissues.std(0, correction=0) if tissues.shape[1] else tissues.new_empty(0)
    age_sd = ages.std(correction=0)
    if not bool((age_sd > 0).all()) or not bool((tissue_sd > 0).all()):
        raise AekitError("train: all participants are of one age, or have the same volumes; there is nothing to learn")
    spread = (cumulative - cumulative.mean(0)).square().mean().sqrt()
    age_range = torch.stack([ages.min(), ages.max()])
    return Normalisation(
        tissues.mean(0), tissue_sd, ages.mean(), age_sd, age_range, cumulative.mean(0), spread.clamp_min(1e-6)
    )


def stages_of(config: BrainConfig) -> tuple[Stage, ...]:
    """Return the stages of a member, in the order in which they must be trained."""
    chained: tuple[Stage, ...] = ("volumes", "age", "chain") if config.model.target else ()
    return (*chained, "direct") if config.model.direct else chained


def build_network(stage: Stage, config: BrainConfig, normalisation: Normalisation, n_bins: int) -> nn.Module:
    """Return the network of a stage with weights drawn from torch's generator."""
    n_bins = n_bins if config.model.histogram else 0
    if stage == "age":
        return AgeNet(config.model, normalisation)
    if stage == "direct":
        return DirectNet(config.model, config.data.size, normalisation, n_bins)
    tissues = TissueNet(config.model, config.data.size, normalisation, n_bins)
    return tissues if stage == "volumes" else Chain(tissues, AgeNet(config.model, normalisation))


def init_network(stage: Stage, member: Member, setup: TrainingSetup, before: dict[Stage, nn.Module]) -> nn.Module:
    """Return the network of a stage before its training, given those of the stages before."""
    config, data = setup.config, setup.data
    if stage == "chain":
        tissues, age = copy.deepcopy(before["volumes"]), copy.deepcopy(before["age"])
        assert isinstance(tissues, TissueNet)
        assert isinstance(age, AgeNet)
        return Chain(tissues, age)
    if initial := setup.initial.get((member.fold, member.seed)):
        # With their normalisation: weights are relative to it, and the new cohort may be too small for one of its own.
        return copy.deepcopy(initial[stage])
    normalisation = fit_normalisation(data, member.train, log_age=config.model.log_age)
    network = build_network(stage, config, normalisation, data.cumulative_ml.shape[1])
    rows = torch.from_numpy(member.train)
    histograms = _train_histograms(stage, member, setup) if config.model.histogram else data.cumulative_ml[rows]
    if isinstance(network, TissueNet) and network.net.histogram_head is not None:
        features = network.net.scale_histogram(histograms)
        network.net.init_from_histogram(*ridge_by_leave_one_out(features, network.to_outputs(data.tissues[rows])))
    if isinstance(network, DirectNet) and network.net.histogram_head is not None:
        network.init_from_histogram(histograms, data.age_years[rows])
    return network


def _train_histograms(stage: Stage, member: Member, setup: TrainingSetup) -> Tensor:
    """Return the cumulative histograms that a network starts from, (N, N_BINS): as scanners show them, if asked for."""
    rows, data = torch.from_numpy(member.train), setup.data
    if "scanner" not in setup.config.train.augment or stage == "age":
        return data.cumulative_ml[rows]
    generator = torch.Generator().manual_seed(init_seed(stage, member))
    effects, cpu = ScannerEffects(), torch.device("cpu")
    found = []
    for part in torch.split(rows, EVALUATION_BATCH):
        setup.check_cancelled()
        batch = data.take(part, cpu)
        found.append(effects(batch.images, batch.cumulative_ml, generator)[1])
    return torch.cat(found)


def train_stage(network: nn.Module, stage: Stage, member: Member, setup: TrainingSetup) -> list[EpochRow]:
    """Train a network of a stage in place and return its history.

    Raises:
        AekitError: The loss stopped being finite.
        Stopped: A signal asked for it.
        Cancelled: Another member failed.
    """
    config = setup.config.train
    has_images = stage != "age"
    n_batches, n_epochs, lr, decay = _schedule(stage, len(member.train), setup.config)
    network.to(setup.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    optimizer = PlainAdamW(network.parameters(), weight_decay=decay, betas=ADAM_BETAS)
    augmenter = Augmenter(config.augment, setup.config.data.spacing_mm)
    history: list[EpochRow] = []
    for epoch in range(n_epochs):
        # Seeded for each epoch, so that it does not depend on what was drawn before it.
        generator = torch.Generator().manual_seed(_seed_of(stage, member, epoch))
        network.train()
        draw_dropout_from(network, generator)
        losses = []
        order = torch.from_numpy(member.train)[torch.randperm(len(member.train), generator=generator)]
        for step, rows in enumerate(order.tensor_split(n_batches)):
            setup.check_cancelled()
            batch = setup.data.take(rows, setup.device, with_images=has_images)
            if has_images:
                batch = augmenter.augment(batch, generator)
            loss = _loss(network, batch, setup)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            done = (epoch + step / n_batches) / n_epochs
            optimizer.step(learning_rate(lr, "one-cycle", done, n_epochs * n_batches))
            losses.append(loss.detach() * len(rows))
        train_loss = float(torch.stack(losses).sum()) / len(order)
        if not math.isfinite(train_loss):
            raise AekitError(f"loss: stopped being finite in epoch {epoch + 1} of {stage}; lower --lr (now {lr:g})")
        history += _epoch_rows(network, stage, member, setup, epoch + 1, train_loss)
        if setup.counter is not None:
            setup.counter.count(stage, member, n_epochs, history[-1])
    network.eval()
    draw_dropout_from(network, None)
    return history


def _schedule(stage: Stage, n_train: int, config: BrainConfig) -> tuple[int, int, float, float]:
    """Return batches per epoch, epochs, the peak of the learning rate, and the weight decay of a stage."""
    train = config.train
    if stage == "age":
        n_batches = max(1, n_train // AGE_BATCH)
        return n_batches, min(max(AGE_STEPS // n_batches, AGE_EPOCHS[0]), AGE_EPOCHS[1]), AGE_LR, AGE_DECAY
    arch = config.model.arch
    lr, n_epochs = train.lr or DEFAULT_LR[arch], train.epochs or DEFAULT_EPOCHS[arch]
    # Batches have at least the size that was asked for, as batch norm cannot work with a single brain.
    n_batches = max(1, n_train // train.batch_size)
    if stage == "chain":
        return n_batches, max(1, n_epochs // 2), lr / 3, train.weight_decay
    return n_batches, n_epochs, lr, train.weight_decay


def _loss(network: nn.Module, batch: BrainBatch, setup: TrainingSetup) -> Tensor:
    with torch.autocast(setup.device.type, torch.bfloat16, enabled=setup.precision == "bf16", cache_enabled=False):
        loss: Tensor = network.loss(batch)  # type: ignore[operator]
    return loss.float()


def _epoch_rows(
    network: nn.Module, stage: Stage, member: Member, setup: TrainingSetup, epoch: int, train_loss: float
) -> Iterator[EpochRow]:
    yield EpochRow(stage, member.fold, member.seed, epoch, "train", train_loss)
    if not len(member.held_out):
        return
    network.eval()
    total = 0.0
    with torch.inference_mode():
        for rows in torch.split(torch.from_numpy(member.held_out), EVALUATION_BATCH):
            batch = setup.data.take(rows, setup.device, with_images=stage != "age")
            total += float(network.loss(batch)) * len(rows)  # type: ignore[operator]
    yield EpochRow(stage, member.fold, member.seed, epoch, member.held_out_split, total / len(member.held_out))


def _seed_of(stage: Stage, member: Member, epoch: int) -> int:
    entropy = (member.seed, member.fold, ("volumes", "age", "chain", "direct").index(stage), epoch)
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def init_seed(stage: Stage, member: Member) -> int:
    """Return the seed of the initial weights of a stage of a member."""
    return _seed_of(stage, member, 1_000_000)


class Augmenter:
    """Augments training images at random: flips left and right, shifts, gain, noise, and effects of scanners.

    It never zooms, which would change the volumes that are to be predicted.

    Args:
        kinds: Which of them.
        spacing_mm: Voxel size, from which the range of ``shift`` follows.
    """

    def __init__(self, kinds: Sequence[Augmentation], spacing_mm: float) -> None:
        self._kinds = frozenset(kinds)
        self._reach = max(1, round(SHIFT_MM / spacing_mm))
        self._scanner = ScannerEffects() if "scanner" in kinds else None

    def augment(self, batch: BrainBatch, generator: torch.Generator) -> BrainBatch:
        """Return a batch with augmented images; scanner effects change the histograms in the same way."""
        images, cumulative_ml = self(batch.images, generator), batch.cumulative_ml
        if self._scanner is not None:
            images, cumulative_ml = self._scanner(images, cumulative_ml, generator)
        return batch._replace(images=images, cumulative_ml=cumulative_ml)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return augmented images, (B, 1, X, Y, Z), without scanner effects; random numbers are drawn on the CPU."""
        n = len(images)
        if "flip" in self._kinds:
            flips = torch.rand(n, generator=generator) < 0.5
            images = torch.where(flips.to(images.device).view(n, 1, 1, 1, 1), images.flip(2), images)
        if "shift" in self._kinds:
            steps = torch.randint(-self._reach, self._reach + 1, (n, 3), generator=generator).tolist()
            images = torch.stack([_shifted(image, step) for image, step in zip(images, steps, strict=True)])
        if "gain" in self._kinds:
            gains = 1 + GAIN_SD * torch.randn(n, 1, 1, 1, 1, generator=generator)
            images = images * gains.to(images.device)
        if "noise" in self._kinds:
            noise = NOISE_SD * torch.randn(images.shape, generator=generator)
            images = torch.where(images > 0, images + noise.to(images.device), images)
        return images


def _shifted(image: Tensor, steps: Sequence[int]) -> Tensor:
    """Return an image, (1, X, Y, Z), shifted by whole voxels and filled with background."""
    moved = torch.zeros_like(image)
    source, target = [slice(None)], [slice(None)]
    for step in steps:
        source.append(slice(max(0, -step), -step if step > 0 else None))
        target.append(slice(max(0, step), step if step < 0 else None))
    moved[tuple(target)] = image[tuple(source)]
    return moved
