"""Programs that tests start: none of them outlives its test, whether that passes, fails or is interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., "subprocess.Popen[Any]"]

_MARK = "AEKIT_TEST_CHILD"  # in the environment of a program and of all that it starts
# It dies with the tests even where these are killed: prctl(PR_SET_PDEATHSIG, SIGKILL), which survives the exec.
_FOLLOW = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execvp(sys.argv[1], sys.argv[1:])"


@contextlib.contextmanager
def children() -> Iterator[Start]:
    """Yield a function that starts programs as ``Popen`` does; at the end all are killed, with all that they started.

    Each has a session of its own, so that Ctrl-C reaches the tests alone, which then end it. What a program starts may
    have sessions of its own in turn, as the processes of ``--gpus`` do, and is found by its environment.
    """
    mark = uuid.uuid4().hex
    started: list[subprocess.Popen[Any]] = []

    def start(command: Sequence[object], *, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[Any]:
        words = [str(word) for word in command]
        if sys.platform == "linux":
            words = [sys.executable, "-I", "-S", "-c", _FOLLOW, *words]
        env = dict(os.environ if env is None else env) | {_MARK: mark}
        started.append(subprocess.Popen(words, env=env, start_new_session=True, **options))
        return started[-1]

    try:
        yield start
    finally:
        _kill(mark, [process.pid for process in started if process.poll() is None])
        for process in started:
            process.wait()
            for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts programs as ``Popen`` does, which end with the test."""
    with children() as starts:
        yield starts


def _kill(mark: str, running: list[int]) -> None:
    """Kill some processes, their descendants, and those with a mark, which may have lost their parents."""
    for _ in range(20):  # one may start another meanwhile
        left = _family(mark, running)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            return
        running = []


def _family(mark: str, running: list[int]) -> set[int]:
    wanted, found = f"{_MARK}={mark}".encode(), set(running)
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_bytes().rpartition(b") ")[2].split()[:2]
            if state == b"Z":  # it has ended, and whoever started it has not asked yet
                continue
            parents[int(folder.name)] = int(parent)
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
    # One that has just been started does not have an environment to read yet.
    while new := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= new
    return found
