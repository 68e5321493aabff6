"""What a computation sets for the whole process: made for it, and afterwards as the caller had it."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

import numpy as np

from aekit.core.damage import ignore_harmless

P = ParamSpec("P")
T = TypeVar("T")

_ENVIRONMENT = ("CUBLAS_WORKSPACE_CONFIG", "GOMP_SPINCOUNT", "RAY_USAGE_STATS_ENABLED")  # what a run sets


@contextlib.contextmanager
def process_settings() -> Iterator[None]:
    """Compute with aekit's settings while the block runs; afterwards those of the caller are back.

    These are filters of warnings, the global random numbers of numpy and Python, and variables of the environment. They
    belong to the process: two computations in threads of one Python program would disturb each other.
    """
    environment = {name: os.environ.get(name) for name in _ENVIRONMENT}
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with warnings.catch_warnings():
            ignore_harmless()
            yield
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def keeping(settings: Callable[[], AbstractContextManager[Any]]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator for functions that compute with some settings and leave the caller's.

    If a function returns a generator, each of its steps does so: between two of them, the caller's settings hold.

    Args:
        settings: Returns a context with the settings of the computation, such as :func:`process_settings`.
    """

    def in_steps(steps: Generator[Any, None, None]) -> Generator[Any, None, None]:
        with contextlib.closing(steps):
            while True:
                with settings():
                    try:
                        value = next(steps)
                    except StopIteration:
                        return
                yield value

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            with settings():
                result: Any = function(*args, **kwargs)
            return in_steps(result) if isinstance(result, Generator) else result  # type: ignore[return-value]

        return call

    return decorate


keeps_settings = keeping(process_settings)
