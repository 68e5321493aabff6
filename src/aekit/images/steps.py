"""One step of training: a batch, its gradients, the optimiser; on a GPU recorded once and replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from aekit.core.adamw import Optimizer
from aekit.core.device import Recording, ThreadTeam, on_own_stream
from aekit.core.distributed import Group
from aekit.core.progress import SILENT, Progress
from aekit.core.schedule import learning_rate
from aekit.images.config import TrainConfig
from aekit.images.data.batches import ImageLoader, mirror, n_batches
from aekit.images.models.base import Autoencoder, Output
from aekit.images.objectives.base import Codes, Objective, Weights

RECORDED_STEPS = 200  # a run of fewer steps is over before recording one pays
RECORDING_WARMUP = 3  # steps taken before one is recorded, in which libraries choose and allocate

Forward = Callable[..., Output]  # of images, noise, and for a network that is told it the class of each image
Part = tuple[Tensor, Tensor | None, Tensor | None]  # these, of a part of a batch


@dataclass(frozen=True)
class Run:
    """The parts of a training run: a model, what trains it and on what; every None of ``config`` is filled in."""

    model: Autoencoder
    optimizer: Optimizer
    noise: torch.Generator
    images: ImageLoader
    held_out: ImageLoader
    held_out_split: Literal["val", "test"]
    train_config: TrainConfig
    precision: Literal["fp32", "bf16"]
    team: ThreadTeam
    objective: Objective
    group: Group = field(default_factory=Group)
    draws_pixels: bool = False  # black or white, anew in each step

    @property
    def samples_per_epoch(self) -> int:
        """Return the number of images of an epoch."""
        return self.train_config.samples_per_epoch or len(self.images)

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of steps of an epoch."""
        return n_batches(self.samples_per_epoch, self.train_config.batch_size or self.samples_per_epoch)


def train_step(
    run: Run,
    forward: Forward,
    x: Tensor,
    *,
    epochs_done: float,
    n_images: int | None = None,
    label: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Take one step of the optimiser against a batch.

    Args:
        run: What is trained.
        forward: The model, or its compiled form.
        x: Images, (B, C, H, W) in [0, 1]: the part of this process, which may be empty.
        epochs_done: Epochs behind us, with a fraction, on which learning rate and KL weight depend.
        n_images: Images of the batch in all processes; None is B.
        label: Number of each image's class, (B,); None for a network that is not told it.

    Returns:
        The loss of the batch before the step, a scalar, and the mean of each term of the objective, (T,).
    """
    _set_learning_rate(run, epochs_done)
    weights = run.objective.weights(epochs_done)
    return _descend(run, forward, x, weights=weights, n_images=n_images or len(x), label=label)


def _set_learning_rate(run: Run, epochs_done: float) -> None:
    train_config = run.train_config
    n_steps = train_config.epochs * run.steps_per_epoch
    schedule = train_config.schedule or "one-cycle"
    rate = learning_rate(train_config.lr or 0.0, schedule, epochs_done / train_config.epochs, n_steps)
    for group in run.optimizer.param_groups:
        if isinstance(group["lr"], Tensor):  # on a GPU, where a recorded step reads it
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _descend(
    run: Run, forward: Forward, x: Tensor, *, weights: Weights, n_images: int, label: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Take one step of the optimiser at its present learning rate.

    Each process takes a part of the batch, and each thread of its team a part of that; the gradients of the parts are
    added in a fixed order.
    """
    noise = None
    # For the whole batch in every process, so that the noise of an image does not depend on who takes it.
    if run.draws_pixels:
        shape = n_images, *x.shape[1:]
        uniform = torch.rand(shape, generator=run.noise, device=x.device)[run.group.part(n_images)]
        x = (uniform < x).to(x.dtype, memory_format=torch.channels_last)
    if run.model.config.has_prior:
        noise = draw_noise(run.model, run.objective, n_images, run.noise)[run.group.part(n_images)]
    x_parts = x.chunk(run.team.n_parts)
    noise_parts = [None] * len(x_parts) if noise is None else noise.chunk(run.team.n_parts)
    labels = [None] * len(x_parts) if label is None else label.chunk(run.team.n_parts)
    parts = list(zip(x_parts, noise_parts, labels, strict=True))
    differentiate = _gradients_of_batch if run.objective.batch_names else _summed_gradients
    gradients, means, codes = differentiate(run, forward, parts, weights, n_images)
    run.group.add([*gradients, means])
    for parameter, gradient in zip(run.model.parameters(), gradients, strict=True):
        parameter.grad = gradient
    run.optimizer.step()
    if codes is not None:
        run.objective.learn(codes, run.noise)
    loss = run.objective.combine(dict(zip(run.objective.names, means, strict=True)), weights)
    return loss, means


def draw_noise(model: Autoencoder, objective: Objective, n_images: int, source: torch.Generator) -> Tensor:
    """Return the standard normal draws for the latent variables of images: (B, N), or (B, K, N) for K samples each."""
    samples = (objective.n_samples,) if objective.n_samples > 1 else ()
    return torch.randn((n_images, *samples, model.n_noise), generator=source, device=source.device)


def _summed_gradients(
    run: Run, forward: Forward, parts: list[Part], weights: Weights, n_images: int
) -> tuple[list[Tensor], Tensor, None]:
    """Return the gradients of the loss and the mean terms, (T,): sums over the parts of a batch."""
    parameters = list(run.model.parameters())

    def work(part: Part) -> tuple[tuple[Tensor, ...], Tensor]:
        x = part[0]
        terms = run.objective.terms(x, _forward(run, forward, *part))
        means = {name: _mean_part(term, len(x) / n_images) for name, term in terms.items()}
        loss = run.objective.combine(means, weights)
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True, allow_unused=True)
        return gradients, torch.stack([means[name] for name in run.objective.names]).detach()

    return *_added(run.team.map(work, parts)), None


def _mean_part(term: Tensor, fraction: float) -> Tensor:
    """Return what some images of a batch add to the mean over all of them."""
    # The mean of no image is not a number; their sum is zero, and so are its gradients.
    return (term.mean() if len(term) else term.sum()) * fraction


def _added(parts: list[tuple[tuple[Tensor, ...], Tensor]]) -> tuple[list[Tensor], Tensor]:
    """Return the sums of gradients and of mean terms over the parts of a batch, in their order."""
    (first, means), *others = parts
    gradients = list(first)
    for more_gradients, more_means in others:
        torch._foreach_add_(gradients, more_gradients)
        means = means + more_means
    return gradients, means


def _gradients_of_batch(
    run: Run, forward: Forward, parts: list[Part], weights: Weights, n_images: int
) -> tuple[list[Tensor], Tensor, Codes]:
    """Return gradients and mean terms of an objective with terms of the whole batch.

    The parts go forward apart. Every process has the codes of all images, computes the terms of the batch and their
    gradients by the codes, and each part goes back from those of its own codes and from its own terms. The parts are
    the same however many threads there are, and so are the bytes.

    Returns:
        What this process adds to the gradients, and to the mean terms, (T,), and the codes of the whole batch.
    """
    objective, parameters = run.objective, list(run.model.parameters())
    outputs = run.team.map(lambda part: _forward(run, forward, *part), parts)
    codes = _codes_of_all(run, outputs, n_images)
    leaves = Codes(*(value.requires_grad_() for value in codes))
    of_batch = {name: term.mean() for name, term in objective.batch_terms(leaves, len(run.images)).items()}
    by_codes = torch.autograd.grad(
        objective.combine(of_batch, weights), leaves, materialize_grads=True, allow_unused=True
    )
    own = run.group.part(n_images)
    sizes = [len(part[0]) for part in parts]
    shares = list(zip(*(torch.split(gradient[own], sizes) for gradient in by_codes), strict=True))

    def back(number: int) -> tuple[tuple[Tensor, ...], Tensor]:
        x, output = parts[number][0], outputs[number]
        assert output.logvar is not None  # objectives of whole batches are of VAEs
        # The terms go back to the output apart from the network: autograd adds what comes together at a code in the
        # order in which a thread made its nodes, and a part may go forward and back on different threads.
        ends = [output.x_hat_logits, output.mean, output.logvar, output.z]
        logits, mean, logvar, z = (end.detach().requires_grad_() for end in ends)
        cut = output._replace(x_hat_logits=logits, mean=mean, logvar=logvar, z=z)
        terms = objective.terms(x, cut)
        means = {name: _mean_part(term, len(x) / n_images) for name, term in terms.items()}
        loss = objective.combine(means, weights)
        first, *others = torch.autograd.grad(loss, [logits, mean, logvar, z, *parameters], allow_unused=True)
        flowing = [first]
        for share, end, own in zip(shares[number], ends[1:], others, strict=False):
            flowing.append(share.to(end.dtype) if own is None else share.to(end.dtype) + own)
        through = torch.autograd.grad(ends, parameters, flowing, materialize_grads=True, allow_unused=True)
        direct = others[len(ends) - 1 :]  # of the noise of pixels, which is not in the network
        gradients = [one if own is None else one + own for one, own in zip(through, direct, strict=True)]
        return tuple(gradients), _in_order(objective, means)

    gradients, means = _added(run.team.map(back, range(len(parts))))
    if run.group.is_first:  # every process has them
        means = means + _in_order(objective, of_batch)
    return gradients, means, Codes(*(value.detach() for value in leaves))


def _in_order(objective: Objective, means: dict[str, Tensor]) -> Tensor:
    """Return mean terms in the order of their names, (T,), zero for those that are not there."""
    some = next(iter(means.values()))
    return torch.stack([means.get(name, some.new_zeros(())) for name in objective.names]).detach()


def _codes_of_all(run: Run, outputs: list[Output], n_images: int) -> Codes:
    """Return the codes of the images of a batch, in all processes, without their past."""
    joined = []
    for name in Codes._fields:
        own = torch.cat([getattr(output, name).detach().float() for output in outputs])
        everywhere = own.new_zeros(n_images, own.shape[1])
        everywhere[run.group.part(n_images)] = own
        joined.append(everywhere)
    run.group.add(joined)
    return Codes(*joined)


def _forward(run: Run, forward: Forward, x: Tensor, noise: Tensor | None, label: Tensor | None) -> Output:
    # Every weight is cast once per step, so a cache of casts, shared by threads, would save nothing.
    with torch.autocast(x.device.type, torch.bfloat16, enabled=run.precision == "bf16", cache_enabled=False):
        return forward(x, noise) if label is None else forward(x, noise, label)


class FixedStep:
    """A step whose batch, weights and result lie in tensors that stay where they are, so that it can be recorded.

    Args:
        run: What is trained, with the images on the device.
        forward: The model.
        n_images: Images of each batch.
    """

    def __init__(self, run: Run, forward: Forward, n_images: int) -> None:
        device = run.images.device
        self._run = run
        self._forward = forward
        self._batch = torch.zeros(n_images, dtype=torch.int64, device=device)
        self._mirrored = torch.zeros(n_images, dtype=torch.bool, device=device)
        # A weight that is 1 stays out of the recording; the others are filled in before each step.
        self._weights: dict[str, float | Tensor] = {
            name: 1.0 if self._is_one(name) else torch.zeros((), device=device) for name in run.objective.weights(0.0)
        }
        self.result = torch.zeros(1 + len(run.objective.names), device=device)  # the loss, and the mean of each term

    def _is_one(self, name: str) -> bool:
        train_config = self._run.train_config
        return all(
            self._run.objective.weights(done)[name] == 1.0
            for done in (0.0, train_config.epochs / 2, train_config.epochs)
        )

    def load(self, batch: Tensor, mirrored: Tensor | None, epochs_done: float) -> None:
        """Say what the next step is: which images, which of them mirrored, and when."""
        self._batch.copy_(batch)
        if mirrored is not None:
            self._mirrored.copy_(mirrored)
        for name, weight in self._run.objective.weights(epochs_done).items():
            if isinstance(own := self._weights[name], Tensor):
                own.fill_(weight)
        _set_learning_rate(self._run, epochs_done)

    def take(self) -> None:
        """Take the step."""
        x = self._run.images.take(self._batch)
        if self._run.train_config.mirror:
            x = mirror(x, self._mirrored)
        label = self._run.images.classes(self._batch)
        loss, means = _descend(self._run, self._forward, x, weights=self._weights, n_images=len(x), label=label)
        self.result[0] = loss.detach()
        self.result[1:] = means


class Stepper:
    """Takes the steps of a run: one by one, or on a GPU by replaying the recording of one.

    Args:
        run: What is trained.
        forward: The model, or its compiled form.
        n_steps: Steps that are still to come.
        progress: Told if a step cannot be recorded.
    """

    def __init__(self, run: Run, forward: Forward, n_steps: int, progress: Progress = SILENT) -> None:
        self._run = run
        self._forward = forward
        self._progress = progress
        self._n_images = run.train_config.batch_size or len(run.images)
        self._n_taken = 0
        self._recording: Recording | None = None
        # Recording takes about as long as some tens of steps, and needs the images on the device. A compiled network
        # has recordings of its own, and what processes say to each other is better not recorded.
        pays = n_steps >= RECORDED_STEPS and run.images.resident is not None and run.group.size == 1
        is_recorded = run.images.device.type == "cuda" and pays and not run.train_config.compile
        self._fixed = FixedStep(run, forward, self._n_images) if is_recorded else None

    def __call__(
        self, batch: Tensor, x: Tensor | None, mirrored: Tensor | None, epochs_done: float
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and the mean terms of a batch, as :func:`train_step` does.

        Args:
            batch: Rows of the training images, (B,).
            x: This process's part of these images, if they were read ahead; None takes them from the device.
            mirrored: Which of them are flipped horizontally, (B,); None for none.
            epochs_done: Epochs behind us, with a fraction.
        """
        if self._fixed is not None and x is None and len(batch) == self._n_images:
            self._fixed.load(batch, mirrored, epochs_done)
            self._replay(self._fixed)
            return self._fixed.result[0], self._fixed.result[1:]
        mine = self._run.group.part(len(batch))
        if x is None:
            x = self._run.images.take(batch[mine])
        if mirrored is not None:
            x = mirror(x, mirrored[mine])
        label = self._run.images.classes(batch[mine])
        return train_step(self._run, self._forward, x, epochs_done=epochs_done, n_images=len(batch), label=label)

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
                self._progress.notice(f"steps are taken one by one, as they cannot be recorded here ({reason})")
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
    return [*run.model.parameters(), *run.model.buffers(), *moments, *run.objective.state().values()]
