"""What a computation sets in torch for the whole process: made for it, and afterwards as the caller had it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
import torch.utils.deterministic

from aekit.core.device import set_deterministic
from aekit.core.process import keeping, process_settings

# The precisions of torch >= 2.9, the general ones first: those that are not set follow the one above.
_PRECISIONS = (
    "", "cuda.matmul", "cudnn", "cudnn.conv", "cudnn.rnn", "mkldnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn",
)  # fmt: skip


@contextlib.contextmanager
def torch_settings() -> Iterator[None]:
    """Compute with aekit's settings while the block runs; afterwards those of the caller are back.

    Besides those of :func:`aekit.core.process.process_settings`, these are the precision of products, deterministic
    kernels, the number of threads, and torch's global random numbers.
    """
    n_threads = torch.get_num_threads()
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    warns_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fills: bool = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    benchmark = torch.backends.cudnn.benchmark
    try:
        with process_settings(), exact_products(), _random_numbers():
            yield
    finally:
        torch.set_num_threads(n_threads)
        if (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()) != (
            is_deterministic,
            warns_only,
        ):
            set_deterministic(is_deterministic, warns_only=warns_only)
        torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = benchmark


@contextlib.contextmanager
def exact_products() -> Iterator[None]:
    """Multiply in full 32-bit floats while the block runs.

    By default fp32 convolutions round their factors to ten bits on a GPU, which would falsify losses and metrics.
    """
    if not hasattr(torch.backends, "fp32_precision"):  # torch < 2.9
        before = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32 = before
        return
    precisions = {name: _backend(name).fp32_precision for name in _PRECISIONS}
    _set_precisions(dict.fromkeys(_PRECISIONS, "ieee"))
    try:
        yield
    finally:
        _set_precisions(precisions)


def _set_precisions(precisions: dict[str, str]) -> None:
    for name, precision in precisions.items():
        if _backend(name).fp32_precision != precision:  # otherwise it goes on following the general one
            _backend(name).fp32_precision = precision


def _backend(name: str) -> Any:
    return functools.reduce(getattr, name.split(".") if name else (), torch.backends)


@contextlib.contextmanager
def _random_numbers() -> Iterator[None]:
    """Leave torch's global generators where they are."""
    seed, state = torch.initial_seed(), torch.get_rng_state()
    of_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if of_gpus is not None:
            torch.cuda.set_rng_state_all(of_gpus)
        else:
            torch.cuda.manual_seed_all(seed)  # with which the GPUs would have begun
        torch.set_rng_state(state)


keeps_torch_settings = keeping(torch_settings)
