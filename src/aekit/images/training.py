"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice, repeat
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aekit.core.device import ThreadTeam
from aekit.core.distributed import Group
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, Stopped
from aekit.images.data.batches import ImageLoader, epoch_mirrored, epoch_order, split_batches
from aekit.images.latent import active_units, live_dimensions
from aekit.images.models.base import Autoencoder
from aekit.images.objectives.base import Codes, Objective
from aekit.images.steps import Run, Stepper, draw_noise
from aekit.images.term_names import USUAL

EVALUATION_BATCH = 500
SAVE_SECONDS = 60.0  # how often a long epoch is saved
GPU_ASK_STEPS = 20  # how often processes on GPUs ask each other whether one was asked to stop
CHECK_STEPS = 50  # how often the loss is checked on the CPU; elsewhere that would stall the device


@dataclass(frozen=True)
class Row:
    """One line of a history: means over the images of a split, for ``train`` over the epoch as it went.

    Attributes:
        epoch: Epochs that were complete, from 1.
        split: ``train``, ``val`` or ``test``.
        total: The objective with the weights of the end of training, also while they still warm up, so that epochs
            compare.
        terms: Its terms by name.
        seconds: Time that it took.
        images_per_second: Speed.
        active_units: Latent dimensions in use (see :func:`aekit.images.latent.active_units`); None for ``train``.
    """

    epoch: int
    split: str
    total: float
    terms: dict[str, float]
    seconds: float
    images_per_second: float
    active_units: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the row as histories are stored: a column per term, None for a usual one that there is not."""
        terms = {name: self.terms.get(name) for name in dict.fromkeys((*USUAL, *self.terms))}
        row = {"epoch": self.epoch, "split": self.split, "total": self.total, **terms}
        row |= {"seconds": self.seconds, "images_per_second": self.images_per_second}
        return {**row, "active_units": self.active_units}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Row:
        """Return the row that :meth:`to_dict` stored.

        Raises:
            TypeError: A value is missing.
        """
        known = {each.name for each in fields(cls)}
        terms = {name: value for name, value in row.items() if name not in known and value is not None}
        return cls(terms=terms, **{name: value for name, value in row.items() if name in known})


@dataclass
class State:
    """Where a run stands: with weights, optimiser and noise, all that it takes to continue as if it had not stopped."""

    epoch: int = 0  # whole epochs behind us
    step: int = 0  # steps behind us in this epoch
    seconds: float = 0.0  # spent in this epoch
    terms: Tensor = field(default_factory=lambda: torch.zeros(0, 0))  # mean terms of each step of this epoch, (S, T)
    history: list[Row] = field(default_factory=list)
    best_total: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    best_objective: dict[str, Tensor] = field(default_factory=dict)  # what the objective had learned by then


OnEpoch = Callable[[list[Row]], object]
Save = Callable[[State], object]


def fit(
    run: Run,
    state: State,
    *,
    progress: Progress = SILENT,
    on_epoch: OnEpoch = lambda rows: None,
    save: Save = lambda state: None,
) -> State:
    """Train from ``state`` on to the last epoch, or until patience runs out, and return the final state.

    Args:
        run: What is trained.
        state: Where it stands.
        progress: Receives an update after each step, and is asked whether to stop.
        on_epoch: Called with the rows of each epoch.
        save: Called with the state after each epoch, each minute, and before the run stops.

    Raises:
        AekitError: The loss stopped being finite; what was saved last stays.
        Stopped: A signal asked for it; the state was saved.
    """
    train_config = run.train_config
    if train_config.compile:
        torch.use_deterministic_algorithms(True, warn_only=True)  # which tells the compiler, too
        progress.notice("compiling the network during the first step, which takes a while")
    forward = torch.compile(run.model) if train_config.compile else run.model
    n_samples = run.samples_per_epoch
    n_left = (train_config.epochs - state.epoch) * run.steps_per_epoch - state.step
    take_step = Stepper(run, forward, n_left, progress)
    watch = _Watch(run, progress, save)
    while state.epoch < train_config.epochs and not has_run_out(state.history, train_config.patience):
        epoch = _draw_epoch(run, state.epoch, n_samples)
        if state.step == 0:
            state.terms = torch.zeros(len(epoch.batches), len(run.objective.names), device=run.images.device)
        run.model.train()
        started = time.perf_counter() - state.seconds
        todo = epoch.batches[state.step :]
        own = [batch[run.group.part(len(batch))] for batch in todo]
        # Of a set that lies on the device a step takes its images itself, since then it can be recorded.
        images = repeat(None) if run.images.resident is not None else run.images.batches(own)
        for batch, x in zip(todo, images, strict=False):
            done = (state.epoch * len(epoch.batches) + state.step) / len(epoch.batches)
            loss, state.terms[state.step] = take_step(batch, x, epoch.mirrored[state.step], done)
            state.step += 1
            state.seconds = time.perf_counter() - started
            watch.after_step(state, loss, n_samples)
        _refuse_infinite(state, run)
        on_epoch(_end_epoch(run, state, save, sizes=torch.tensor([len(batch) for batch in epoch.batches])))
        watch.saved = time.monotonic()
    if state.epoch < train_config.epochs:
        n_idle = epochs_since_best(state.history)
        progress.notice(
            f"stopped early after epoch {state.epoch} of {train_config.epochs}: no lower validation loss than that of "
            f"epoch {state.epoch - n_idle}"
        )
    return state


def epochs_since_best(history: Sequence[Row]) -> int:
    """Return how many epochs ago the validation total was lowest, at the first of equals; 0 without validation."""
    totals = [row.total for row in history if row.split == "val"]
    return len(totals) - 1 - totals.index(min(totals)) if totals else 0


def has_run_out(history: Sequence[Row], patience: int | None) -> bool:
    """Return whether the validation total has not improved for ``patience`` epochs; never if that is None.

    It depends on the history alone, which is in the state, so a run that was interrupted stops at the same epoch.
    """
    return patience is not None and epochs_since_best(history) >= patience


class _Epoch(NamedTuple):
    """The batches of an epoch, and which images of each are flipped horizontally; None for none."""

    batches: Sequence[Tensor]
    mirrored: Sequence[Tensor | None]


def _draw_epoch(run: Run, number: int, n_samples: int) -> _Epoch:
    train_config, device = run.train_config, run.images.device
    order = epoch_order(len(run.images), n_samples, train_config.seed, number, blocks=run.images.blocks).to(device)
    batches = split_batches(order, train_config.batch_size or n_samples)
    if not train_config.mirror:
        return _Epoch(batches, [None] * len(batches))
    mirrored = epoch_mirrored(n_samples, train_config.seed, number).to(device)
    return _Epoch(batches, torch.split(mirrored, [len(each) for each in batches]))


class _Watch:
    """Looks after each step whether the loss is finite, whether to save, and whether to stop."""

    def __init__(self, run: Run, progress: Progress, save: Save) -> None:
        self._run = run
        self._progress = progress
        self._save = save
        self.saved = time.monotonic()

    def after_step(self, state: State, loss: Tensor, n_samples: int) -> None:
        """Report a step, and save or stop if it is time."""
        train_config, n_steps = self._run.train_config, len(state.terms)

        def detail() -> str:
            rate = state.step * n_samples / n_steps / state.seconds
            return f"epoch {state.epoch + 1}/{train_config.epochs}  loss {loss.item():.4g}  {rate:,.0f} images/s"

        done, total = state.epoch * n_steps + state.step, train_config.epochs * n_steps
        self._progress.update("training", done, total, detail=detail)
        signal_number = self._signal(state)
        is_late = time.monotonic() - self.saved > SAVE_SECONDS
        is_cheap = self._run.images.device.type == "cpu" and state.step % CHECK_STEPS == 0
        if signal_number is not None or is_late or is_cheap:
            _refuse_infinite(state, self._run)
        if signal_number is not None or is_late:
            self._save(state)
            self.saved = time.monotonic()
        if signal_number is not None:
            where = f"epoch {state.epoch + 1} of {train_config.epochs}"
            raise Stopped(f"stopped in {where}; continue with the same command and --resume", signal_number)

    def _signal(self, state: State) -> int | None:
        """Return the signal that asks to stop, at the same step in every process."""
        run = self._run
        if run.group.size == 1:
            return self._progress.should_stop()
        if run.images.device.type != "cpu" and state.step % min(GPU_ASK_STEPS, len(state.terms)):
            return None
        return run.group.largest(self._progress.should_stop() or 0) or None


class Means(NamedTuple):
    """What a model reaches on an image set: mean terms by name, and how many latent dimensions it uses."""

    terms: dict[str, float]
    active_units: int | None = None


def evaluate(
    model: Autoencoder,
    images: ImageLoader,
    *,
    seed: int,
    objective: Objective,
    team: ThreadTeam | None = None,
    group: Group | None = None,
) -> Means:
    """Return the mean terms of the objective over all images, in fp32, with its samples of the posterior of each.

    Terms of a whole batch are those of blocks of 500 images. The noise depends on the seed alone, so that epochs and
    runs compare on the same draws. The processes of a group split the images among them, and all return the means over
    all images.
    """
    group = group or Group()
    noise_source = torch.Generator(images.device).manual_seed(seed)
    model.eval()

    def blocks() -> Iterator[tuple[slice, Tensor, Tensor | None, Tensor | None]]:
        spans = torch.split(torch.arange(len(images), device=images.device), EVALUATION_BATCH)
        own = images.batches(spans[group.rank :: group.size])
        for number, span in enumerate(spans):
            noise = None
            if model.config.has_prior:  # for every block, whichever process evaluates it
                noise = draw_noise(model, objective, len(span), noise_source)
            if number % group.size == group.rank:
                start = number * EVALUATION_BATCH
                yield slice(start, start + len(span)), next(own), noise, images.classes(span)

    def work(block: tuple[slice, Tensor, Tensor | None, Tensor | None]) -> tuple[slice, Tensor, Tensor]:
        rows, x, noise, label = block
        with torch.inference_mode():
            terms, codes = block_terms(model, objective, x, noise, n_images=len(images), label=label)
            sums = torch.stack([terms[name].sum() for name in objective.names])
            return rows, sums.cpu().double(), codes.mean.cpu()

    team = team or ThreadTeam(1)
    todo = blocks()
    sums = torch.zeros(len(objective.names), dtype=torch.float64)
    codes = torch.zeros(len(images), model.config.latent)
    while some := list(islice(todo, team.n_threads)):  # few at a time: the images must not all be floats at once
        for rows, block_sums, block_codes in team.map(work, some):
            sums += block_sums
            codes[rows] = block_codes
    group.add([sums])
    group.add([codes])
    is_active = active_units if model.config.has_prior else live_dimensions
    with np.errstate(invalid="ignore", over="ignore"):  # codes of a run that diverges
        n_active = int(is_active(codes.numpy()).sum())
    return Means(dict(zip(objective.names, (sums / len(images)).tolist(), strict=True)), n_active)


def block_terms(
    model: Autoencoder,
    objective: Objective,
    x: Tensor,
    noise: Tensor | None,
    *,
    n_images: int,
    label: Tensor | None = None,
) -> tuple[dict[str, Tensor], Codes]:
    """Return the terms of the objective for a block of images, (B,) each, and their codes.

    Args:
        model: The network, in evaluation mode and without gradients.
        objective: What it is trained on.
        x: Images, (B, C, H, W) in [0, 1].
        noise: As :func:`aekit.images.steps.draw_noise` draws it; None takes the posterior mean.
        n_images: Size of the set that the images are from.
        label: Number of each image's class, (B,), for a network that is told it.
    """
    n_each = max(1, EVALUATION_BATCH // objective.n_samples)  # the rows of many samples must not all be there at once
    parts: list[dict[str, Tensor]] = []
    codes: list[Codes] = []
    noises = [None] * len(x) if noise is None else torch.split(noise, n_each)
    labels = [None] * len(x) if label is None else torch.split(label, n_each)
    for part, own_noise, own_label in zip(torch.split(x, n_each), noises, labels, strict=False):
        output = model(part, own_noise, own_label)
        parts.append(objective.terms(part, output))
        mean = model.encode(part, own_label) if model.lower is not None else output.mean[:: objective.n_samples]
        logvar = mean if output.logvar is None else output.logvar[:: objective.n_samples]
        codes.append(Codes(mean.float(), logvar.float(), output.z[:: objective.n_samples].float()))
    terms = {name: torch.cat([each[name] for each in parts]) for name in parts[0]}
    all_codes = Codes(*(torch.cat(each) for each in zip(*codes, strict=True)))
    if objective.batch_names:
        of_batch = objective.batch_terms(all_codes, n_images)
        terms |= {name: term.expand(len(x)) for name, term in of_batch.items()}
    return terms, all_codes


def evaluation_row(run: Run, split: str, images: ImageLoader, epoch: int) -> Row:
    """Return the history line of a split that was not trained on; ``epoch`` counts from 1."""
    started = time.perf_counter()
    means = evaluate(
        run.model, images, seed=run.train_config.seed, objective=run.objective, team=run.team, group=run.group
    )
    return _row(run, epoch, split, means, time.perf_counter() - started, len(images))


def _row(run: Run, epoch: int, split: str, means: Means, seconds: float, n_images: int) -> Row:
    return Row(
        epoch=epoch,
        split=split,
        total=float(run.objective.total(means.terms)),
        terms=means.terms,
        seconds=seconds,
        images_per_second=n_images / seconds,
        active_units=means.active_units,
    )


def _end_epoch(run: Run, state: State, save: Save, *, sizes: Tensor) -> list[Row]:
    """Return the rows of an epoch whose steps are done, after the state was saved."""
    # Batches weigh by their size, so that a small last one does not count like a full one.
    weights = (sizes / sizes.sum()).double()
    terms = dict(zip(run.objective.names, (weights @ state.terms.double().cpu()).tolist(), strict=True))
    epoch = state.epoch + 1
    rows = [
        _row(run, epoch, "train", Means(terms), state.seconds, int(sizes.sum())),
        evaluation_row(run, run.held_out_split, run.held_out, epoch),
    ]
    if not math.isfinite(rows[1].total):
        raise AekitError(f"loss: not finite on {run.held_out_split} after epoch {epoch}; {_calmer(run)}")
    if infinite := [name for name, value in run.model.state_dict().items() if not value.isfinite().all()]:
        # Some weights do not change the loss, such as those of a dead unit, and no command would read the checkpoint.
        raise AekitError(f"weights: not finite after epoch {epoch} ({infinite[0]}); {_calmer(run)}")
    if run.train_config.keep == "best" and rows[1].total < state.best_total:
        state.best_total, state.best_epoch = rows[1].total, epoch
        state.best_weights = {name: value.cpu().clone() for name, value in run.model.state_dict().items()}
        state.best_objective = {name: value.cpu().clone() for name, value in run.objective.state().items()}
    state.history += rows
    state.epoch, state.step, state.seconds = epoch, 0, 0.0
    save(state)
    return rows


def _refuse_infinite(state: State, run: Run) -> None:
    finite = state.terms[: state.step].isfinite().all(1)
    if bool(finite.all()):
        return
    step = int(finite.logical_not().nonzero()[0]) + 1
    raise AekitError(f"loss: stopped being finite in epoch {state.epoch + 1}, step {step}; {_calmer(run)}")


def _calmer(run: Run) -> str:
    rate = f"lower --lr (now {run.train_config.lr:g})"
    if not run.model.config.has_prior or run.train_config.objective == "iwae":
        return rate
    warmup = "" if run.train_config.capacity is not None else ", or add --beta-warmup 1"
    return f"{rate} or --beta (now {run.train_config.beta:g}){warmup}"
