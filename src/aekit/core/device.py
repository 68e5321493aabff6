"""Choose the device, the threads and the precision of a run, and seed it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import torch.utils.deterministic
from torch.overrides import TorchFunctionMode

from aekit.core.settings import Precision
from aekit.errors import AekitError, UsageError, count, nearest

# What fills a tensor with random numbers, in torch.nn.init or as a method of the tensor.
_FILLS = frozenset(
    f"{name}_"
    for name in (
        *("normal", "uniform", "trunc_normal", "kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform"),
        *("orthogonal", "sparse", "bernoulli", "random", "exponential"),
    )
)

Part = TypeVar("Part")
Done = TypeVar("Done")


def choose_device(name: str = "auto") -> torch.device:
    """Return the device named ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; auto is the fastest available one.

    Raises:
        AekitError: There is no such device, or not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdecimal())):
        choices = ("auto", "cpu", "cuda", "cuda:0", "mps")
        hint = nearest(name, choices, f"give one of {', '.join(choices)}")
        raise UsageError(f"--device: unknown device {name!r}{hint}")
    if kind == "cuda":
        n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if n_devices == 0:
            raise AekitError(f"--device {name}: PyTorch sees no CUDA device here; use --device cpu or auto")
        if number and int(number) >= n_devices:
            raise AekitError(f"--device {name}: there are {n_devices} CUDA devices; use cuda:0 to cuda:{n_devices - 1}")
    if kind == "mps" and not _has_mps():
        raise AekitError("--device mps: PyTorch sees no Apple GPU here; use --device cpu or auto")
    return torch.device(name)


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def choose_precision(
    precision: Precision, device: torch.device, *, threads_per_operator: int = 1
) -> Literal["fp32", "bf16"]:
    """Return the precision of the network's arithmetic; ``auto`` is bf16 where the hardware multiplies in it.

    On processors that only emulate it, bf16 is several times slower than fp32, so the instruction set decides. Where
    several threads share an operator, oneDNN's bf16 convolutions wait for each other without ever sleeping: two such
    runs on the same cores nearly stop (more than twenty times slower), so ``auto`` is fp32 there.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    shares_no_operator = device.type == "cpu" and threads_per_operator == 1
    return "bf16" if shares_no_operator and _cpu_multiplies_bf16() else "fp32"


def _cpu_multiplies_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def free_memory() -> float:
    """Return the number of bytes of available memory; infinity if the system does not report it."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024.0 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:")))
    return float("inf")  # not Linux


def check_threads(threads: int | None) -> None:
    """Raise an AekitError if a number of CPU threads is below one or above the number of cores."""
    if threads is not None:
        n_cores = os.cpu_count() or 1
        if not 1 <= threads <= n_cores:
            raise UsageError(
                f"--threads: {threads} is not between 1 and the {count(n_cores, 'core')} of this machine; omit it to "
                "use all"
            )


def set_threads(threads: int | None) -> int:
    """Return the number of CPU threads that torch uses, after setting it if ``threads`` is given.

    Raises:
        AekitError: As :func:`check_threads`.
    """
    check_threads(threads)
    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one CPU thread while the block runs: a small training whose result may not depend on their number."""
    with use_threads(1):
        yield


@contextlib.contextmanager
def use_threads(threads: int | None) -> Iterator[None]:
    """Compute on a number of CPU threads while the block runs; None leaves them as they are.

    Raises:
        AekitError: As :func:`check_threads`.
    """
    before = torch.get_num_threads()
    set_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Unfilled(TorchFunctionMode):
    """Leaves tensors as they are that would be filled with initial weights."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in _FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def without_memory() -> Iterator[None]:
    """Build networks that have shapes and neither memory nor weights while the block runs.

    Filling a tensor without memory with random numbers loads torch's compiler, which takes longer than all else that
    encoding a few images needs: 2.5 s of the 5 s of one core (torch 2.14).
    """
    with torch.device("meta"), _Unfilled():
        yield


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """Build networks on the CPU whose weights are whatever the memory held, for their own to be written into them.

    No number is drawn from torch's global generator. ``to_empty`` of a network without memory is not as good: it loads
    torch's compiler.
    """
    with torch.device("cpu"), _Unfilled():
        yield


class ThreadTeam:
    """Threads that each work on a part of a batch, with one thread for each of its operators.

    By default, torch lets all threads share each operator. They then synchronise about a hundred times per step, each
    time waiting for the slowest one: on two cores, parts are 12 % faster, and two simultaneous runs have the same total
    throughput as a single one, where shared operators drop to 65 %.

    Args:
        n_threads: Number of threads, including the calling one; 1 leaves torch's threads as they are, unless there are
            several parts.
        n_parts: Number of parts of a batch; None is one per thread.
    """

    def __init__(self, n_threads: int, n_parts: int | None = None) -> None:
        self.n_threads = n_threads
        self.n_parts = n_parts or n_threads
        self._before = torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> ThreadTeam:
        if self.n_parts > 1:
            # The number of threads per operator is a property of the thread that calls it.
            torch.set_num_threads(1)
        if self.n_threads > 1:
            self._pool = ThreadPoolExecutor(self.n_threads - 1, initializer=lambda: torch.set_num_threads(1))
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        if self.n_parts > 1:
            torch.set_num_threads(self._before)

    def map(self, function: Callable[[Part], Done], parts: Iterable[Part]) -> list[Done]:
        """Return the result of ``function`` for each part, in the order of the parts."""
        first, *others = parts
        if self._pool is None:
            return [function(part) for part in (first, *others)]
        waiting = [self._pool.submit(function, part) for part in others]
        return [function(first), *(future.result() for future in waiting)]


def torch_generator(*seed: int) -> torch.Generator:
    """Return a generator on the CPU, so that all devices draw the same, seeded by all numbers together."""
    state = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def seed_everything(seed: int, device: torch.device) -> torch.Generator:
    """Return a generator on ``device`` for sampling noise, after seeding torch, which draws the initial weights.

    Also selects kernels that add in a fixed order, so that a run can be repeated to the last bit. All of it is set for
    the process; :func:`aekit.core.torch_settings.torch_settings` gives it back.
    """
    # cuBLAS reads this when it creates its first handle; without it some products differ from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    set_deterministic(True, warns_only=True)
    # Nothing here reads memory before writing to it, and filling every new tensor costs 8 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.manual_seed(seed)
    return torch.Generator(device).manual_seed(seed)


def set_deterministic(is_on: bool, *, warns_only: bool) -> None:
    """Select kernels that add in a fixed order, or warn where there is none, without loading PyTorch's compiler.

    ``torch.use_deterministic_algorithms`` does the same and tells the compiler too, for which it loads it (2 s).
    """
    if "torch._inductor" in sys.modules:
        torch.use_deterministic_algorithms(is_on, warn_only=warns_only)
    else:
        torch._C._set_deterministic_algorithms(is_on, warn_only=warns_only)


class Recording:
    """A function of tensors at fixed addresses, recorded as a CUDA graph: a call replays all of its kernels.

    Small networks wait for Python to launch a few hundred kernels per step; a replay launches them at once.

    Args:
        function: Reads and writes tensors only on the device, and never waits for it. It must have been called a few
            times, on a stream of its own (:func:`on_own_stream`), so that everything it needs is allocated.
        generator: The generator from which the function draws random numbers.

    Raises:
        RuntimeError: The function cannot be recorded.
    """

    def __init__(self, function: Callable[[], None], generator: torch.Generator) -> None:
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(generator)  # otherwise each replay would draw the same numbers
        with torch.cuda.graph(self._graph):
            function()

    def replay(self) -> None:
        """Run the recorded kernels."""
        self._graph.replay()


def on_own_stream(function: Callable[[], None]) -> None:
    """Call a function on a separate CUDA stream, as for a recording, synchronised with all other work."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        function()
    torch.cuda.current_stream().wait_stream(stream)
