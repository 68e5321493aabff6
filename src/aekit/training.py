"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aekit.analysis.latent import active_units, live_dimensions
from aekit.config import Schedule, TrainConfig
from aekit.data.batches import ImageLoader, epoch_mirrored, epoch_order, mirror, split_batches
from aekit.device import ThreadTeam
from aekit.errors import AekitError, Stopped
from aekit.losses import loss_terms
from aekit.models.base import Autoencoder, Output

WARMUP = 0.1  # share of a one-cycle run in which the learning rate rises
ADAM_BETAS = (0.9, 0.99)
EVALUATION_BATCH = 500
SAVE_SECONDS = 60.0  # a long epoch is saved in between, so often
CHECK_STEPS = 50  # on the CPU the loss is looked at so often; elsewhere that would stall the device


@dataclass(frozen=True)
class Row:
    """One line of a history: means over the images of a split, for ``train`` over the epoch as it went.

    ``total`` is reconstruction + beta * kl with the final beta, also while beta still warms up, so that epochs
    compare. ``kl`` is None for a plain autoencoder. ``active_units`` counts the latent dimensions in use (see
    :func:`aekit.analysis.latent.active_units`); None for ``train``.
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
    save: Callable[[State], object] = lambda state: None
    stop_signal: Callable[[], int | None] = lambda: None


@dataclass(frozen=True)
class Run:
    """The parts of a training run: a model, what trains it and on what; every None of ``config`` is filled in."""

    model: Autoencoder
    optimizer: torch.optim.Optimizer
    noise: torch.Generator
    train: ImageLoader
    held_out: ImageLoader
    held_out_split: Literal["val", "test"]
    config: TrainConfig
    precision: Literal["fp32", "bf16"]
    team: ThreadTeam


def fit(run: Run, state: State, hooks: Hooks) -> State:
    """Train from ``state`` on to the last epoch and return the final state.

    Raises:
        AekitError: The loss stopped being finite; what was saved last stays.
        Stopped: A signal asked for it; the state was saved.
    """
    config, device = run.config, run.train.device
    n_samples = config.samples_per_epoch or len(run.train)
    forward = torch.compile(run.model) if config.compile else run.model
    saved = time.monotonic()

    while state.epoch < config.epochs:
        order = epoch_order(len(run.train), n_samples, config.seed, state.epoch, blocks=run.train.blocks).to(device)
        batches = split_batches(order, config.batch_size or n_samples)
        n_steps = len(batches)
        turned = epoch_mirrored(n_samples, config.seed, state.epoch).to(device)
        mirrored = torch.split(turned, [len(each) for each in batches])
        if state.step == 0:
            state.terms = torch.zeros(n_steps, 3, device=device)
        started = time.perf_counter() - state.seconds
        run.model.train()
        for x in run.train.batches(batches[state.step :]):
            done = (state.epoch * n_steps + state.step) / n_steps
            if config.mirror:
                x = mirror(x, mirrored[state.step])
            loss, state.terms[state.step] = train_step(run, forward, x, epochs_done=done)
            state.step += 1
            state.seconds = time.perf_counter() - started
            hooks.on_step(Step(state.epoch, config.epochs, state.step, n_steps, n_samples / n_steps, loss))
            signal_number = hooks.stop_signal()
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


def train_step(
    run: Run, forward: Callable[[Tensor, Tensor | None], Output], x: Tensor, *, epochs_done: float
) -> tuple[Tensor, Tensor]:
    """Take one step of the optimiser against a batch.

    Each thread of the team takes a part of the batch; the gradients of the parts are added in a fixed order.

    Args:
        run: What is trained.
        forward: The model, or its compiled form.
        x: Images, (B, C, H, W) in [0, 1].
        epochs_done: Epochs behind us, with a fraction, on which learning rate and KL weight depend.

    Returns:
        The loss of the batch before the step, a scalar, and the mean of each of its :class:`~aekit.losses.Terms`, (3,).
    """
    config, latent = run.config, run.model.config.latent
    noise = None
    if run.model.config.kind == "vae":
        noise = torch.randn(len(x), latent, generator=run.noise, device=x.device)
    kl_weight = config.beta * min(1.0, epochs_done / config.beta_warmup) if config.beta_warmup else config.beta
    x_parts = x.chunk(run.team.n_threads)
    noise_parts = [None] * len(x_parts) if noise is None else noise.chunk(run.team.n_threads)
    parameters = list(run.model.parameters())

    def work(part: tuple[Tensor, Tensor | None]) -> tuple[tuple[Tensor, ...], Tensor]:
        x_part, noise_part = part
        # Every weight is cast once a step, so a cache of casts, which threads would share, saves nothing.
        with torch.autocast(x.device.type, torch.bfloat16, enabled=run.precision == "bf16", cache_enabled=False):
            output = forward(x_part, noise_part)
        terms = loss_terms(x_part, *output, loss=run.model.config.loss, log_sigma=run.model.log_sigma)
        means = torch.stack([term.mean() for term in terms]) * (len(x_part) / len(x))
        return torch.autograd.grad(means[0] + kl_weight * means[1], parameters), means.detach()

    (gradients, means), *others = run.team.map(work, list(zip(x_parts, noise_parts, strict=True)))
    for more_gradients, more_means in others:
        torch._foreach_add_(gradients, more_gradients)
        means += more_means
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(config.lr or 0.0, config.schedule, epochs_done / config.epochs)
    run.optimizer.step()
    return means[0] + kl_weight * means[1], means


def learning_rate(peak: float, schedule: Schedule, progress: float) -> float:
    """Return the learning rate when a share ``progress`` in [0, 1) of the run is behind us.

    ``one-cycle`` rises linearly from a hundredth of the peak during the first tenth, then falls to zero along half a
    cosine.

    Source:
        Smith & Topin 2018, arXiv:1708.07120, with a cosine in place of the second line.
    """
    if schedule == "constant":
        return peak
    if progress < WARMUP:
        return peak * (0.01 + 0.99 * progress / WARMUP)
    return peak * 0.5 * (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP)))


class Means(NamedTuple):
    """What a model reaches on an image set: means over its images, and how many latent dimensions it uses."""

    reconstruction: float
    kl: float
    mse: float
    active_units: int | None = None


def evaluate(model: Autoencoder, images: ImageLoader, *, seed: int, team: ThreadTeam | None = None) -> Means:
    """Return the mean reconstruction, KL and squared error over all images, in fp32, with one posterior sample each.

    The noise depends on the seed alone, so that epochs and runs compare on the same draws.
    """
    noise_source = torch.Generator(images.device).manual_seed(seed)
    model.eval()

    def draw(x: Tensor) -> Tensor | None:
        if model.config.kind == "ae":
            return None
        return torch.randn(len(x), model.config.latent, generator=noise_source, device=x.device)

    def work(block: tuple[Tensor, Tensor | None]) -> tuple[Tensor, npt.NDArray[np.float32]]:
        x, noise = block
        with torch.inference_mode():
            output: Output = model(x, noise)
            terms = loss_terms(x, *output, loss=model.config.loss, log_sigma=model.log_sigma)
            return torch.stack([term.sum() for term in terms]).cpu().double(), output.mean.float().cpu().numpy()

    team = team or ThreadTeam(1)
    blocks = ((x, draw(x)) for x in images.in_order(EVALUATION_BATCH))
    sums = torch.zeros(3, dtype=torch.float64)
    codes = []
    while some := list(islice(blocks, team.n_threads)):  # few at a time: the images must not all be floats at once
        for block_sums, block_codes in team.map(work, some):
            sums += block_sums
            codes.append(block_codes)
    is_active = active_units if model.config.kind == "vae" else live_dimensions
    with np.errstate(invalid="ignore", over="ignore"):  # codes of a run that diverges
        n_active = int(is_active(np.concatenate(codes)).sum())
    reconstruction, kl, mse = (sums / len(images)).tolist()
    return Means(reconstruction, kl, mse, n_active)


def evaluation_row(run: Run, split: str, images: ImageLoader, epoch: int) -> Row:
    """Return the history line of a split that was not trained on; ``epoch`` counts from 1."""
    started = time.perf_counter()
    means = evaluate(run.model, images, seed=run.config.seed, team=run.team)
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
