"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice, repeat
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aekit.core.device import ThreadTeam
from aekit.core.distributed import Group
from aekit.errors import AekitError, Stopped
from aekit.images.data.batches import ImageLoader, epoch_mirrored, epoch_order, split_batches
from aekit.images.latent import active_units, live_dimensions
from aekit.images.models.base import Autoencoder, Output
from aekit.images.objectives import loss_terms
from aekit.images.steps import Run, Stepper

EVALUATION_BATCH = 500
SAVE_SECONDS = 60.0  # a long epoch is saved in between, so often
GPU_ASK_STEPS = 20  # so often processes on GPUs ask each other whether one was told to stop
CHECK_STEPS = 50  # on the CPU the loss is looked at so often; elsewhere that would stall the device


@dataclass(frozen=True)
class Row:
    """One line of a history: means over the images of a split, for ``train`` over the epoch as it went.

    ``total`` is reconstruction + beta * kl with the final beta, also while beta still warms up, so that epochs
    compare. ``kl`` is None for a plain autoencoder. ``active_units`` counts the latent dimensions in use (see
    :func:`aekit.images.latent.active_units`); None for ``train``.
    """

    epoch: int
    split: str
    total: float
    reconstruction: float
    kl: float | None
    mse: float
    seconds: float
    images_per_second: float
    active_units: int | None = None


@dataclass
class State:
    """Where a run stands: all that it takes, with weights, optimiser and noise, to go on as if it had never stopped."""

    epoch: int = 0  # whole epochs behind us
    step: int = 0  # steps behind us in this epoch
    seconds: float = 0.0  # spent in this epoch
    terms: Tensor = field(default_factory=lambda: torch.zeros(0, 3))  # mean Terms of each step of this epoch
    history: list[Row] = field(default_factory=list)
    best_total: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """What a progress bar may want to know after a step."""

    epoch: int
    n_epochs: int
    step: int
    n_steps: int
    images_per_step: float
    loss: Tensor


@dataclass(frozen=True)
class Hooks:
    """What the loop tells the outside, and asks of it."""

    on_step: Callable[[Step], object] = lambda step: None
    on_epoch: Callable[[list[Row]], object] = lambda rows: None
    on_message: Callable[[str], object] = lambda text: None
    save: Callable[[State], object] = lambda state: None
    stop_signal: Callable[[], int | None] = lambda: None


def fit(run: Run, state: State, hooks: Hooks) -> State:
    """Train from ``state`` on to the last epoch and return the final state.

    Raises:
        AekitError: The loss stopped being finite; what was saved last stays.
        Stopped: A signal asked for it; the state was saved.
    """
    config, device = run.config, run.train.device
    n_samples = config.samples_per_epoch or len(run.train)
    if config.compile:
        hooks.on_message("compiling the network during the first step, which takes a while")
    forward = torch.compile(run.model) if config.compile else run.model
    n_left = (config.epochs - state.epoch) * math.ceil(n_samples / (config.batch_size or n_samples)) - state.step
    take_step = Stepper(run, forward, n_left, hooks.on_message)
    saved = time.monotonic()

    while state.epoch < config.epochs:
        order = epoch_order(len(run.train), n_samples, config.seed, state.epoch, blocks=run.train.blocks).to(device)
        batches = split_batches(order, config.batch_size or n_samples)
        n_steps = len(batches)
        mirrored = torch.split(
            epoch_mirrored(n_samples, config.seed, state.epoch).to(device), [len(each) for each in batches]
        )
        if state.step == 0:
            state.terms = torch.zeros(n_steps, 3, device=device)
        started = time.perf_counter() - state.seconds
        run.model.train()
        todo = batches[state.step :]
        own = [batch[run.group.part(len(batch))] for batch in todo]
        # Of a set that lies on the device a step takes its images itself, since then it can be recorded.
        images = repeat(None) if run.train.resident is not None else run.train.batches(own)
        for batch, x in zip(todo, images, strict=False):
            done = (state.epoch * n_steps + state.step) / n_steps
            turned = mirrored[state.step] if config.mirror else None
            loss, state.terms[state.step] = take_step(batch, x, turned, done)
            state.step += 1
            state.seconds = time.perf_counter() - started
            hooks.on_step(Step(state.epoch, config.epochs, state.step, n_steps, n_samples / n_steps, loss))
            signal_number = _signal(run, state, hooks)
            is_late = time.monotonic() - saved > SAVE_SECONDS
            if signal_number is not None or is_late or (device.type == "cpu" and state.step % CHECK_STEPS == 0):
                _refuse_infinite(state, run)
            if signal_number is not None or is_late:
                hooks.save(state)
                saved = time.monotonic()
            if signal_number is not None:
                where = f"epoch {state.epoch + 1} of {config.epochs}"
                raise Stopped(f"stopped in {where}; go on with the same command and --resume", signal_number)
        _refuse_infinite(state, run)
        _end_epoch(run, state, hooks, sizes=torch.tensor([len(batch) for batch in batches]))
        saved = time.monotonic()
    return state


def _signal(run: Run, state: State, hooks: Hooks) -> int | None:
    """Return the signal that asks to stop, at the same step in every process."""
    if run.group.size == 1:
        return hooks.stop_signal()
    if run.train.device.type != "cpu" and state.step % min(GPU_ASK_STEPS, len(state.terms)):
        return None
    return run.group.largest(hooks.stop_signal() or 0) or None


class Means(NamedTuple):
    """What a model reaches on an image set: means over its images, and how many latent dimensions it uses."""

    reconstruction: float
    kl: float
    mse: float
    active_units: int | None = None


def evaluate(
    model: Autoencoder, images: ImageLoader, *, seed: int, team: ThreadTeam | None = None, group: Group | None = None
) -> Means:
    """Return the mean reconstruction, KL and squared error over all images, in fp32, with one posterior sample each.

    The noise depends on the seed alone, so that epochs and runs compare on the same draws. The processes of a group
    share the images out, and all return the means over all of them.
    """
    group = group or Group()
    noise_source = torch.Generator(images.device).manual_seed(seed)
    model.eval()

    def blocks() -> Iterator[tuple[slice, Tensor, Tensor | None]]:
        spans = torch.split(torch.arange(len(images), device=images.device), EVALUATION_BATCH)
        own = images.batches(spans[group.rank :: group.size])
        for number, span in enumerate(spans):
            noise = None
            if model.config.kind == "vae":  # for every block, whoever takes it
                shape = len(span), model.config.latent
                noise = torch.randn(shape, generator=noise_source, device=images.device)
            if number % group.size == group.rank:
                start = number * EVALUATION_BATCH
                yield slice(start, start + len(span)), next(own), noise

    def work(block: tuple[slice, Tensor, Tensor | None]) -> tuple[slice, Tensor, Tensor]:
        rows, x, noise = block
        with torch.inference_mode():
            output: Output = model(x, noise)
            terms = loss_terms(x, *output, loss=model.config.loss, log_sigma=model.log_sigma)
            return rows, torch.stack([term.sum() for term in terms]).cpu().double(), output.mean.float().cpu()

    team = team or ThreadTeam(1)
    todo = blocks()
    sums = torch.zeros(3, dtype=torch.float64)
    codes = torch.zeros(len(images), model.config.latent)
    while some := list(islice(todo, team.n_threads)):  # few at a time: the images must not all be floats at once
        for rows, block_sums, block_codes in team.map(work, some):
            sums += block_sums
            codes[rows] = block_codes
    group.add([sums])
    group.add([codes])
    is_active = active_units if model.config.kind == "vae" else live_dimensions
    with np.errstate(invalid="ignore", over="ignore"):  # codes of a run that diverges
        n_active = int(is_active(codes.numpy()).sum())
    reconstruction, kl, mse = (sums / len(images)).tolist()
    return Means(reconstruction, kl, mse, n_active)


def evaluation_row(run: Run, split: str, images: ImageLoader, epoch: int) -> Row:
    """Return the history line of a split that was not trained on; ``epoch`` counts from 1."""
    started = time.perf_counter()
    means = evaluate(run.model, images, seed=run.config.seed, team=run.team, group=run.group)
    return _row(run, epoch, split, means, time.perf_counter() - started, len(images))


def _row(run: Run, epoch: int, split: str, means: Means, seconds: float, n_images: int) -> Row:
    return Row(
        epoch=epoch,
        split=split,
        total=means.reconstruction + run.config.beta * means.kl,
        reconstruction=means.reconstruction,
        kl=means.kl if run.model.config.kind == "vae" else None,
        mse=means.mse,
        seconds=seconds,
        images_per_second=n_images / seconds,
        active_units=means.active_units,
    )


def _end_epoch(run: Run, state: State, hooks: Hooks, *, sizes: Tensor) -> None:
    # Batches weigh by their size, so that a small last one does not count like a full one.
    weights = (sizes / sizes.sum()).double()
    reconstruction, kl, mse = (weights @ state.terms.double().cpu()).tolist()
    epoch = state.epoch + 1
    rows = [
        _row(run, epoch, "train", Means(reconstruction, kl, mse), state.seconds, int(sizes.sum())),
        evaluation_row(run, run.held_out_split, run.held_out, epoch),
    ]
    if not math.isfinite(rows[1].total):
        raise AekitError(f"loss: not finite on {run.held_out_split} after epoch {epoch}; {_calmer(run)}")
    if run.config.keep == "best" and rows[1].total < state.best_total:
        state.best_total, state.best_epoch = rows[1].total, epoch
        state.best_weights = {name: value.cpu().clone() for name, value in run.model.state_dict().items()}
    state.history += rows
    state.epoch, state.step, state.seconds = epoch, 0, 0.0
    hooks.save(state)
    hooks.on_epoch(rows)


def _refuse_infinite(state: State, run: Run) -> None:
    finite = state.terms[: state.step].isfinite().all(1)
    if bool(finite.all()):
        return
    step = int(finite.logical_not().nonzero()[0]) + 1
    raise AekitError(f"loss: stopped being finite in epoch {state.epoch + 1}, step {step}; {_calmer(run)}")


def _calmer(run: Run) -> str:
    rate = f"lower --lr (now {run.config.lr:g})"
    if run.model.config.kind == "ae":
        return rate
    return f"{rate} or --beta (now {run.config.beta:g}), or add --beta-warmup 1"
