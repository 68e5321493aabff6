"""Training of brain networks: one loop for every stage, and the stages of a member one after another."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aekit.brains.config import Augmentation, BrainConfig
from aekit.brains.networks import (
    DEFAULT_EPOCHS,
    DEFAULT_LR,
    AgeNet,
    Brains,
    Chain,
    DirectNet,
    Norms,
    TissueNet,
    least_squares_start,
)
from aekit.core.schedule import ADAM_BETAS, learning_rate
from aekit.errors import AekitError

Stage = Literal["volumes", "age", "chain", "direct"]
Rows = npt.NDArray[np.int64]

EVALUATION_BATCH = 4  # the deep network on 466 brains: 1.5 GB and 46 s in all, with 16 at a time 1.7 GB and 66 s
SHIFT_MM = 4.0
GAIN_SD = 0.05
NOISE_SD = 0.02  # of intensities that are about 1 in white matter
# The MLP from volumes to age: measured on 181 people in five folds, mean absolute error 5.6 years for 200 epochs at
# this rate, 5.7 for 50, 5.8 at a third of it, 5.8 with ten times the decay; a Gaussian process 5.7.
AGE_STEPS, AGE_BATCH, AGE_LR, AGE_DECAY = 2000, 32, 1e-2, 0.1
AGE_EPOCHS = (20, 200)


class Network(Protocol):
    """What the loop trains."""

    def loss(self, brains: Brains) -> Tensor:
        """Return the loss of some people, a scalar."""


@dataclass(frozen=True)
class BrainData:
    """All people of a training, in plain units.

    Attributes:
        images: Scaled intensities, float16 (N, X, Y, Z); mapped into memory.
        cumulative_ml: mL of brain darker than the end of each bin of intensity, float32 (N, N_BINS).
        tissues: True volumes in mL or proportions, float32 (N, 3), or (N, 0) if there are none.
        age_years: Ages, float32 (N,).
    """

    images: npt.NDArray[np.float16]
    cumulative_ml: Tensor
    tissues: Tensor
    age_years: Tensor

    def take(self, rows: Tensor, device: torch.device, *, with_images: bool = True) -> Brains:
        """Return some people, rows (B,), on a device; without images, which a stage may not need, they are empty."""
        images = (
            torch.from_numpy(self.images[rows.numpy()]).to(device).float()[:, None]
            if with_images
            else torch.empty(0, device=device)
        )
        others = (self.cumulative_ml[rows], self.tissues[rows], self.age_years[rows])
        return Brains(images, *(values.to(device) for values in others))


@dataclass(frozen=True)
class EpochRow:
    """One line of a history: the mean loss over the people of a split, for ``train`` over the epoch as it went."""

    stage: Stage
    fold: int
    seed: int
    epoch: int
    split: str
    loss: float


@dataclass(frozen=True)
class Member:
    """One set of networks, trained on the same people from the same seed.

    Attributes:
        fold: Number of the fold that is held out, from 0; 0 without folds.
        seed: Of starts, order and augmentation.
        train: Rows of the train people.
        held_out: Rows of the people on whom its learning curve is measured; may be empty.
        held_out_split: Their split.
    """

    fold: int
    seed: int
    train: Rows
    held_out: Rows
    held_out_split: str


@dataclass(frozen=True)
class Setting:
    """What all stages of a training share."""

    config: BrainConfig
    data: BrainData
    device: torch.device
    precision: Literal["fp32", "bf16"]
    on_epoch: Callable[[Stage, Member, int, int, float], object] = lambda stage, member, epoch, n_epochs, loss: None
    check_stop: Callable[[], object] = lambda: None


def measure_norms(data: BrainData, train: Rows, *, log_age: bool) -> Norms:
    """Return means and standard deviations of the train people alone.

    Raises:
        AekitError: They are all alike, so that nothing can be learned.
    """
    rows = torch.from_numpy(train)
    tissues, ages = data.tissues[rows], data.age_years[rows]
    ages = ages.log() if log_age else ages
    cumulative = data.cumulative_ml[rows]
    # Of no volumes at all torch would warn of too few people.
    tissue_sd = tissues.std(0, correction=0) if tissues.shape[1] else tissues.new_empty(0)
    age_sd = ages.std(correction=0)
    if not bool((age_sd > 0).all()) or not bool((tissue_sd > 0).all()):
        raise AekitError("train: all people are of one age, or have the same volumes; there is nothing to learn")
    spread = (cumulative - cumulative.mean(0)).square().mean().sqrt()
    return Norms(tissues.mean(0), tissue_sd, ages.mean(), age_sd, cumulative.mean(0), spread.clamp_min(1e-6))


def stages_of(config: BrainConfig) -> tuple[Stage, ...]:
    """Return the stages of a member, in the order in which they must be trained."""
    chained: tuple[Stage, ...] = ("volumes", "age", "chain") if config.model.target else ()
    return (*chained, "direct") if config.model.direct else chained


def build_network(stage: Stage, config: BrainConfig, norms: Norms, n_bins: int) -> nn.Module:
    """Return the network of a stage with weights drawn by torch's seed."""
    n_bins = n_bins if config.model.histogram else 0
    if stage == "age":
        return AgeNet(config.model, norms)
    if stage == "direct":
        return DirectNet(config.model, config.data.size, norms, n_bins)
    tissues = TissueNet(config.model, config.data.size, norms, n_bins)
    return tissues if stage == "volumes" else Chain(tissues, AgeNet(config.model, norms))


def start_network(stage: Stage, member: Member, setting: Setting, before: dict[Stage, nn.Module]) -> nn.Module:
    """Return the network of a stage where its training starts, given those of the stages before."""
    config, data = setting.config, setting.data
    if stage == "chain":
        tissues, age = copy.deepcopy(before["volumes"]), copy.deepcopy(before["age"])
        assert isinstance(tissues, TissueNet)
        assert isinstance(age, AgeNet)
        return Chain(tissues, age)
    norms = measure_norms(data, member.train, log_age=config.model.log_age)
    network = build_network(stage, config, norms, data.cumulative_ml.shape[1])
    rows = torch.from_numpy(member.train)
    if isinstance(network, TissueNet) and network.net.histogram_head is not None:
        features = network.net.scale_histogram(data.cumulative_ml[rows])
        network.net.start_at_histogram(*least_squares_start(features, network.to_outputs(data.tissues[rows])))
    if isinstance(network, DirectNet) and network.net.histogram_head is not None:
        features = network.net.scale_histogram(data.cumulative_ml[rows])
        network.net.start_at_histogram(*least_squares_start(features, network.age.to_z(data.age_years[rows])[:, None]))
    return network


def train_stage(network: nn.Module, stage: Stage, member: Member, setting: Setting) -> list[EpochRow]:
    """Train a network of a stage in place and return its history.

    Raises:
        AekitError: The loss stopped being finite.
    """
    config = setting.config.train
    has_images = stage != "age"
    n_batches, n_epochs, lr, decay = _schedule(stage, len(member.train), setting.config)
    network.to(setting.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=decay, betas=ADAM_BETAS)
    augmenter = Augmenter(config.augment, setting.config.data.spacing_mm)
    history: list[EpochRow] = []
    for epoch in range(n_epochs):
        # Seeded anew, so that an epoch does not depend on what was drawn before it.
        generator = torch.Generator().manual_seed(_seed_of(stage, member, epoch))
        network.train()
        losses = []
        order = torch.from_numpy(member.train)[torch.randperm(len(member.train), generator=generator)]
        for step, rows in enumerate(order.tensor_split(n_batches)):
            setting.check_stop()
            brains = setting.data.take(rows, setting.device, with_images=has_images)
            if has_images:
                brains = brains._replace(images=augmenter(brains.images, generator))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(lr, "one-cycle", (epoch + step / n_batches) / n_epochs)
            loss = _loss(network, brains, setting)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.detach() * len(rows))
        train_loss = float(torch.stack(losses).sum()) / len(order)
        if not math.isfinite(train_loss):
            raise AekitError(f"loss: stopped being finite in epoch {epoch + 1} of {stage}; lower --lr (now {lr:g})")
        history += _epoch_rows(network, stage, member, setting, epoch + 1, train_loss)
        setting.on_epoch(stage, member, epoch + 1, n_epochs, history[-1].loss)
    network.eval()
    return history


def _schedule(stage: Stage, n_people: int, config: BrainConfig) -> tuple[int, int, float, float]:
    """Return batches an epoch, epochs, the peak of the learning rate, and the weight decay of a stage."""
    train = config.train
    if stage == "age":
        n_batches = max(1, n_people // AGE_BATCH)
        return n_batches, min(max(AGE_STEPS // n_batches, AGE_EPOCHS[0]), AGE_EPOCHS[1]), AGE_LR, AGE_DECAY
    arch = config.model.arch
    lr, n_epochs = train.lr or DEFAULT_LR[arch], train.epochs or DEFAULT_EPOCHS[arch]
    # At least a batch's worth of people in each, as batch norm cannot work with one.
    n_batches = max(1, n_people // train.batch_size)
    if stage == "chain":
        return n_batches, max(1, n_epochs // 2), lr / 3, train.weight_decay
    return n_batches, n_epochs, lr, train.weight_decay


def _loss(network: nn.Module, brains: Brains, setting: Setting) -> Tensor:
    with torch.autocast(setting.device.type, torch.bfloat16, enabled=setting.precision == "bf16", cache_enabled=False):
        loss: Tensor = network.loss(brains)  # type: ignore[operator]
    return loss.float()


def _epoch_rows(
    network: nn.Module, stage: Stage, member: Member, setting: Setting, epoch: int, train_loss: float
) -> Iterator[EpochRow]:
    yield EpochRow(stage, member.fold, member.seed, epoch, "train", train_loss)
    if not len(member.held_out):
        return
    network.eval()
    total = 0.0
    with torch.inference_mode():
        for rows in torch.split(torch.from_numpy(member.held_out), EVALUATION_BATCH):
            brains = setting.data.take(rows, setting.device, with_images=stage != "age")
            total += float(network.loss(brains)) * len(rows)  # type: ignore[operator]
    yield EpochRow(stage, member.fold, member.seed, epoch, member.held_out_split, total / len(member.held_out))


def _seed_of(stage: Stage, member: Member, epoch: int) -> int:
    entropy = (member.seed, member.fold, ("volumes", "age", "chain", "direct").index(stage), epoch)
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def start_seed(stage: Stage, member: Member) -> int:
    """Return the seed of the weights that a stage of a member starts from."""
    return _seed_of(stage, member, 1_000_000)


class Augmenter:
    """Changes train images at random: mirrors left and right, moves, brightens, adds noise.

    It never zooms, which would change the volumes that are to be read off.

    Args:
        kinds: What is done.
        spacing_mm: Edge of a voxel, which says how far ``shift`` goes.
    """

    def __init__(self, kinds: Sequence[Augmentation], spacing_mm: float) -> None:
        self._kinds = frozenset(kinds)
        self._reach = max(1, round(SHIFT_MM / spacing_mm))

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed images, (B, 1, X, Y, Z); draws are made on the CPU."""
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
    """Return an image, (1, X, Y, Z), moved by whole voxels; what comes in is background."""
    moved = torch.zeros_like(image)
    source, target = [slice(None)], [slice(None)]
    for step in steps:
        source.append(slice(max(0, -step), -step if step > 0 else None))
        target.append(slice(max(0, step), step if step < 0 else None))
    moved[tuple(target)] = image[tuple(source)]
    return moved
