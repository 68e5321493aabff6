"""One aekit command in a process of its own: what it says is passed on, and Ctrl-C and its parent's end reach it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from aekit.core.environment import PARENT
from aekit.core.launch import forwarding_signals

Say = Callable[[str], object]


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code; negative is the signal that killed it.
        stdout: The lines that it printed on stdout.
        message: The last line that it printed on stderr, which says why it failed if it did.
        signal_number: The signal that came meanwhile, and was forwarded to it; None if none came.
    """

    code: int
    stdout: tuple[str, ...]
    message: str
    signal_number: int | None


def run_aekit(arguments: Sequence[str], environment: Mapping[str, str], say: Say) -> Ended:
    """Run ``aekit`` with some arguments in a new process, and return how it ended.

    SIGINT and SIGTERM are forwarded to it: the first lets a training save its state, the second ends it at once. If
    this process is killed, the command is asked to stop and ends soon after (:func:`aekit.core.launch.follow_parent`).

    Args:
        arguments: The arguments after ``aekit`` on the command line.
        environment: Variables that the command has besides those of this process.
        say: Receives each line that it prints on stderr as soon as it is printed, in a thread.
    """
    running: list[subprocess.Popen[bytes]] = []
    with forwarding_signals(running) as received:
        process = subprocess.Popen(
            [sys.executable, "-m", "aekit", *arguments],
            env={**os.environ, **environment, PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches this process alone, which forwards it once
        )
        running.append(process)
        try:
            if received:  # between the start and the line above
                process.send_signal(received[0])
            stdout, message = _listen(process, say)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    return Ended(code, stdout, message, received[0] if received else None)


def _listen(process: subprocess.Popen[bytes], say: Say) -> tuple[tuple[str, ...], str]:
    """Return what a process prints on stdout, and its last line on stderr."""
    assert process.stdout is not None
    assert process.stderr is not None
    last = [""]
    listener = threading.Thread(target=_pass_on, args=(process.stderr, say, last), daemon=True)
    listener.start()
    with process.stdout as stream:
        stdout = os.fsdecode(stream.read())
    listener.join()
    return tuple(stdout.splitlines()), last[0]


def _pass_on(stream: IO[bytes], say: Say, last: list[str]) -> None:
    with stream:
        for line in stream:
            if text := line.decode(errors="replace").rstrip():
                last[0] = text.strip()
                say(text)
