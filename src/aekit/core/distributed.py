"""The processes of one data-parallel run, and their communication.

Every process holds the whole set of images and the same weights, draws the same order of images and the same noise, and
works on its part of each batch; gradients are added before each step. A run therefore does not depend on the number of
processes, except for rounding, and an interrupted run can resume with any number of them.
"""

from __future__ import annotations

import contextlib
import datetime
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from aekit.core.environment import local_rank, n_processes, process_rank
from aekit.errors import AekitError

if TYPE_CHECKING:
    from torch.autograd.function import FunctionCtx

Result = TypeVar("Result")
# How long to wait for a process that does not answer: one of them may have to decode a large image set first.
PATIENCE = datetime.timedelta(hours=2)


class Group:
    """The processes of a run, or this one alone.

    Attributes:
        rank: Number of this process, from 0; only process 0 writes files and prints.
        size: Number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def part(self, n: int) -> slice:
        """Return this process's part of ``n`` consecutive items; if uneven, the first processes take one more."""
        quotient, remainder = divmod(n, self.size)
        start = self.rank * quotient + min(self.rank, remainder)
        return slice(start, start + quotient + (self.rank < remainder))

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes; all are on one device and of one type."""
        if self.size == 1:
            return
        # One message, not one per tensor: most of them are small, and each message has a fixed cost.
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _together():
            dist.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view(tensor.shape))

    def copy_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Give each tensor the values that it has in process 0."""
        if self.size > 1:
            with _together():
                for tensor in tensors:
                    plain = tensor.contiguous()  # channels of weights may come last in memory
                    dist.broadcast(plain, src=0)
                    tensor.copy_(plain)

    def largest(self, number: int) -> int:
        """Return the largest of the numbers that the processes have."""
        if self.size == 1:
            return number
        shared = torch.tensor(number)
        with _together():
            dist.all_reduce(shared, dist.ReduceOp.MAX)
        return int(shared)

    def in_first(self, function: Callable[[], Result]) -> Result:
        """Call ``function`` in process 0 only, and return its result in all of them.

        Raises:
            AekitError: It raised one, which is raised in all of them.
        """
        if self.size == 1:
            return function()
        message: list[Any] = [None]
        if self.is_first:
            message = [_outcome(function)]
        with _together():
            dist.broadcast_object_list(message, src=0)
        result, error = message[0]
        if error is not None:
            raise AekitError(error)
        return result  # type: ignore[no-any-return]

    def in_all(self, function: Callable[[], Result]) -> Result:
        """Return the result of ``function``, after it was called in every process.

        Raises:
            AekitError: It raised one in some process, which is raised in all of them.
        """
        if self.size == 1:
            return function()
        result, error = _outcome(function)
        errors: list[Any] = [None] * self.size
        with _together():
            dist.all_gather_object(errors, error)
        for rank, found in enumerate(errors):
            if found is not None:
                raise AekitError(found if rank == 0 else f"process {rank} of {self.size}: {found}")
        return result  # type: ignore[return-value]

    @contextlib.contextmanager
    def file_of_first(self, path: Path) -> Iterator[Path]:
        """Yield a path with the content of ``path`` in process 0, which may be on another machine."""
        content = self.in_first(path.read_bytes)
        if self.is_first:
            yield path
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            copy.write_bytes(content)
            yield copy


@contextlib.contextmanager
def process_group(device: str) -> Iterator[Group]:
    """Yield the group of processes that torchrun or ``--gpus`` started, or this process alone.

    Args:
        device: Value of ``--device``.

    Raises:
        AekitError: The other processes do not answer.
    """
    if n_processes() == 1:
        yield Group()
        return
    on_gpu = device != "cpu" and torch.cuda.is_available()
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    try:
        dist.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise AekitError(f"MASTER_ADDR, MASTER_PORT: the processes do not find each other ({reason})") from error
    try:
        group = Group(process_rank(), n_processes())
        yield group
        # No process leaves while another one is busy, such as the first one writing files: gloo's threads abort a
        # process whose peer disconnects while they communicate.
        group.largest(0)
    finally:
        dist.destroy_process_group()


def own_device(name: str) -> str:
    """Return the name of the device of this process: ``cuda`` and ``auto`` become one GPU each.

    Raises:
        AekitError: One GPU is named for several processes, or there are fewer GPUs than processes.
    """
    if n_processes() == 1 or name == "cpu":
        return name
    if name.startswith("cuda:"):
        raise AekitError(f"--device {name}: is one GPU for {n_processes()} processes; use cuda, and each takes its own")
    if name == "cuda" or torch.cuda.is_available():
        n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if local_rank() >= n_devices:
            raise AekitError(
                f"--device {name}: this machine has {n_devices} GPUs, fewer than processes; start one per GPU"
            )
        torch.cuda.set_device(local_rank())  # NCCL uses the current device
        return f"cuda:{local_rank()}"
    return "cpu" if name == "auto" else name


@contextlib.contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise AekitError(
            "another process of this run has ended, see its message; continue with the same command and --resume"
        ) from error


def _outcome(function: Callable[[], Result]) -> tuple[Result | None, str | None]:
    try:
        return function(), None
    except AekitError as error:
        return None, str(error)


def _summed(values: Tensor) -> Tensor:
    # A copy: a tensor from autograd may be shared.
    total = values.clone(memory_format=torch.contiguous_format)
    with _together():
        dist.all_reduce(total)
    return total


class _Sum(torch.autograd.Function):
    """The sum over the processes, through which gradients flow back to all of them."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        return _summed(gradient)


class SharedBatchNorm2d(torch.nn.BatchNorm2d):
    """Batch norm over the images of all processes; torch's own version needs GPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, C, H, W) normalised by the mean and variance of each channel over all processes."""
        if not self.training or dist.get_world_size() == 1:
            return super().forward(x)
        wide = x.float()
        n = _Sum.apply(torch.tensor([float(x.numel() // x.shape[1])], device=x.device))
        mean = _Sum.apply(wide.sum((0, 2, 3))) / n
        centred = wide - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3))) / n
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n / (n - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normed: Tensor = centred * scale[:, None, None] + self.bias[:, None, None]
        return normed.to(x.dtype)


def share_batch_norm(model: torch.nn.Module) -> None:
    """Replace the batch norms of a model by ones over the images of all processes, keeping their weights."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is torch.nn.BatchNorm2d:
                shared = SharedBatchNorm2d(child.num_features, child.eps, child.momentum)
                shared.load_state_dict(child.state_dict())
                setattr(parent, name, shared.to(child.weight.device))
