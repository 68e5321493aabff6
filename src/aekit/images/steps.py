"""One step of training: a batch, its gradients, the optimiser; on a GPU recorded once and replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from aekit.core.device import Recording, ThreadTeam, on_own_stream
from aekit.core.distributed import Group
from aekit.core.schedule import learning_rate
from aekit.images.config import TrainConfig
from aekit.images.data.batches import ImageLoader, mirror
from aekit.images.models.base import Autoencoder, Output
from aekit.images.objectives import loss_terms

RECORDED_STEPS = 200  # a run of fewer steps is over before recording one pays
RECORDING_WARMUP = 3  # steps taken before one is recorded, in which libraries choose and allocate

Forward = Callable[[Tensor, Tensor | None], Output]


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
    group: Group = field(default_factory=Group)


def train_step(
    run: Run,
    forward: Forward,
    x: Tensor,
    *,
    epochs_done: float,
    n_images: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Take one step of the optimiser against a batch.

    Args:
        run: What is trained.
        forward: The model, or its compiled form.
        x: Images, (B, C, H, W) in [0, 1]: the part of this process, which may be empty.
        epochs_done: Epochs behind us, with a fraction, on which learning rate and KL weight depend.
        n_images: Images of the batch in all processes; None is B.

    Returns:
        The loss of the batch before the step, a scalar, and the mean of each of its terms, (3,).
    """
    _set_learning_rate(run, epochs_done)
    return _descend(run, forward, x, kl_weight=kl_weight(run.config, epochs_done), n_images=n_images or len(x))


def _set_learning_rate(run: Run, epochs_done: float) -> None:
    rate = learning_rate(run.config.lr or 0.0, run.config.schedule, epochs_done / run.config.epochs)
    for group in run.optimizer.param_groups:
        if isinstance(group["lr"], Tensor):  # on a GPU, where a recorded step reads it
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def kl_weight(config: TrainConfig, epochs_done: float) -> float:
    """Return the weight of the KL divergence: ``beta``, or on the way to it while it warms up."""
    return config.beta * min(1.0, epochs_done / config.beta_warmup) if config.beta_warmup else config.beta


def _descend(
    run: Run, forward: Forward, x: Tensor, *, kl_weight: float | Tensor, n_images: int
) -> tuple[Tensor, Tensor]:
    """Take one step of the optimiser at the learning rate that it has.

    Each process takes a part of the batch, and each thread of its team a part of that; the gradients of the parts are
    added in a fixed order.
    """
    noise = None
    if run.model.config.kind == "vae":
        # For the whole batch in every process, so that the noise of an image does not depend on who takes it.
        shape = n_images, run.model.config.latent
        noise = torch.randn(shape, generator=run.noise, device=x.device)[run.group.part(n_images)]
    x_parts = x.chunk(run.team.n_threads)
    noise_parts = [None] * len(x_parts) if noise is None else noise.chunk(run.team.n_threads)
    parameters = list(run.model.parameters())

    def work(part: tuple[Tensor, Tensor | None]) -> tuple[tuple[Tensor, ...], Tensor]:
        x_part, noise_part = part
        # Every weight is cast once a step, so a cache of casts, which threads would share, saves nothing.
        with torch.autocast(x.device.type, torch.bfloat16, enabled=run.precision == "bf16", cache_enabled=False):
            output = forward(x_part, noise_part)
        terms = loss_terms(x_part, *output, loss=run.model.config.loss, log_sigma=run.model.log_sigma)
        # The mean of no image is not a number; their sum is zero, and so are its gradients.
        means = torch.stack([term.mean() if len(term) else term.sum() for term in terms]) * (len(x_part) / n_images)
        return torch.autograd.grad(means[0] + kl_weight * means[1], parameters), means.detach()

    (gradients, means), *others = run.team.map(work, list(zip(x_parts, noise_parts, strict=True)))
    for more_gradients, more_means in others:
        torch._foreach_add_(gradients, more_gradients)
        means += more_means
    run.group.add([*gradients, means])
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    run.optimizer.step()
    return means[0] + kl_weight * means[1], means


class FixedStep:
    """A step whose batch, KL weight and result lie in tensors that stay where they are, so that it can be recorded.

    Args:
        run: What is trained, with the images on the device.
        forward: The model.
        n_images: Images of each batch.
    """

    def __init__(self, run: Run, forward: Forward, n_images: int) -> None:
        device = run.train.device
        self._run = run
        self._forward = forward
        self._batch = torch.zeros(n_images, dtype=torch.int64, device=device)
        self._mirrored = torch.zeros(n_images, dtype=torch.bool, device=device)
        self._kl_weight = torch.zeros((), device=device)
        self.result = torch.zeros(4, device=device)  # the loss, and the mean of each term

    def load(self, batch: Tensor, mirrored: Tensor | None, epochs_done: float) -> None:
        """Say what the next step is: which images, which of them mirrored, and when."""
        self._batch.copy_(batch)
        if mirrored is not None:
            self._mirrored.copy_(mirrored)
        self._kl_weight.fill_(kl_weight(self._run.config, epochs_done))
        _set_learning_rate(self._run, epochs_done)

    def take(self) -> None:
        """Take the step."""
        x = self._run.train.take(self._batch)
        if self._run.config.mirror:
            x = mirror(x, self._mirrored)
        loss, means = _descend(self._run, self._forward, x, kl_weight=self._kl_weight, n_images=len(x))
        self.result[0] = loss.detach()
        self.result[1:] = means


class Stepper:
    """Takes the steps of a run: one by one, or on a GPU by replaying the recording of one.

    Args:
        run: What is trained.
        forward: The model, or its compiled form.
        n_steps: Steps that are still to come.
        on_message: Told if a step cannot be recorded.
    """

    def __init__(self, run: Run, forward: Forward, n_steps: int, on_message: Callable[[str], object]) -> None:
        self._run = run
        self._forward = forward
        self._on_message = on_message
        self._n_images = run.config.batch_size or len(run.train)
        self._n_taken = 0
        self._recording: Recording | None = None
        # Recording takes about as long as some tens of steps, and needs the images on the device. A compiled network
        # has recordings of its own, and what processes say to each other is better not recorded.
        pays = n_steps >= RECORDED_STEPS and run.train.resident is not None and run.group.size == 1
        is_recorded = run.train.device.type == "cuda" and pays and not run.config.compile
        self._fixed = FixedStep(run, forward, self._n_images) if is_recorded else None

    def __call__(
        self, batch: Tensor, x: Tensor | None, mirrored: Tensor | None, epochs_done: float
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and the mean terms of a batch, as :func:`train_step` does.

        Args:
            batch: Rows of the training images, (B,).
            x: This process's part of these images, if they were read ahead; None takes them from the device.
            mirrored: Which of them are turned left to right, (B,); None for none.
            epochs_done: Epochs behind us, with a fraction.
        """
        if self._fixed is not None and x is None and len(batch) == self._n_images:
            self._fixed.load(batch, mirrored, epochs_done)
            self._replay(self._fixed)
            return self._fixed.result[0], self._fixed.result[1:]
        mine = self._run.group.part(len(batch))
        if x is None:
            x = self._run.train.take(batch[mine])
        if mirrored is not None:
            x = mirror(x, mirrored[mine])
        return train_step(self._run, self._forward, x, epochs_done=epochs_done, n_images=len(batch))

    def _replay(self, fixed: FixedStep) -> None:
        self._n_taken += 1
        if self._n_taken <= RECORDING_WARMUP:
            on_own_stream(fixed.take)
            return
        if self._recording is None:
            try:
                self._recording = self._checked(fixed)
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[0]
                self._on_message(f"steps are taken one by one, as they cannot be recorded here ({reason})")
                self._fixed = None
                fixed.take()
                return
        self._recording.replay()

    def _checked(self, fixed: FixedStep) -> Recording:
        """Return a recording that was seen to do what the step does: a driver that gets it wrong must not go unseen."""
        run = self._run
        recording = Recording(fixed.take, run.noise)
        kept = _state_of(run)
        before, noise = [tensor.clone() for tensor in kept], run.noise.get_state()

        def restore() -> None:
            with torch.no_grad():
                for tensor, value in zip(kept, before, strict=True):
                    tensor.copy_(value)
            run.noise.set_state(noise)

        recording.replay()
        replayed = [fixed.result.clone(), *(tensor.clone() for tensor in kept)]
        restore()
        fixed.take()
        taken = [fixed.result.clone(), *(tensor.clone() for tensor in kept)]
        restore()
        for one, other in zip(replayed, taken, strict=True):
            if not torch.allclose(one.float(), other.float(), rtol=1e-2, atol=1e-3, equal_nan=True):
                raise RuntimeError("a replayed step does not do what the step does")
        return recording


def _state_of(run: Run) -> list[Tensor]:
    """Return the tensors that a step changes."""
    moments = [value for values in run.optimizer.state.values() for value in values.values()]
    return [*run.model.parameters(), *run.model.buffers(), *moments]
