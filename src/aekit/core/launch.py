"""One command line in several processes on this machine, as torchrun would start them, but with aekit's messages.

torchrun prints a traceback whenever a process does not exit with code 0, and turns every code into 1; here messages and
exit code are those of the first process. For several machines, torchrun starts the same command line.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType

from aekit.core.environment import PARENT, count_cores
from aekit.errors import AekitError

PATIENCE_SECONDS = 20.0  # for the others to save their state and end once one has ended
POLL_SECONDS = 0.1
FEW_PROCESSES = 8  # that any machine can run, to try it out; each takes half a gigabyte


def launch(n_processes: int, arguments: Sequence[str]) -> int:
    """Run ``aekit`` with some arguments in several processes that share the work, and return its exit code.

    SIGINT and SIGTERM are forwarded to all of them.

    Args:
        n_processes: Number of processes, at least 2.
        arguments: The arguments after ``aekit`` on the command line.

    Raises:
        AekitError: There are many more processes than cores, or one was killed, for example when memory ran out.
    """
    if n_processes > (most := max(count_cores(), FEW_PROCESSES)):
        raise AekitError(f"--gpus: {n_processes:,} processes are too many for this machine; give {most} or fewer")
    port = _free_port()
    processes: list[subprocess.Popen[bytes]] = []
    with forwarding_signals(processes) as received:
        try:
            for rank in range(n_processes):
                # A session of its own: Ctrl-C reaches only this process, which forwards it once.
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "aekit", *arguments],
                        env=_environment(rank, n_processes, port),
                        start_new_session=True,
                    )
                )
            codes = _wait(processes)
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
    return _exit_code(codes, received)


def _environment(rank: int, n_processes: int, port: int) -> dict[str, str]:
    """Return the environment of one of the processes, as torchrun would set it."""
    threads = {"OMP_NUM_THREADS": str(max(1, count_cores() // n_processes))}  # unless the user has set it
    return (
        threads
        | os.environ
        | {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(n_processes),
            "LOCAL_WORLD_SIZE": str(n_processes),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            PARENT: str(os.getpid()),
        }
    )


@contextlib.contextmanager
def forwarding_signals(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Forward SIGINT and SIGTERM to all processes while the block runs, and yield a list that collects them.

    Only the main thread of a program can handle signals; in another one nothing is forwarded.
    """
    received: list[int] = []

    def forward(signal_number: int, frame: FrameType | None) -> None:
        received.append(signal_number)
        for process in processes:
            process.send_signal(signal_number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_code(codes: Sequence[int], received: Sequence[int]) -> int:
    """Return the exit code of the whole from those of the processes and the signals that were forwarded.

    Raises:
        AekitError: A process was killed by another signal.
    """
    if codes[0] == 0:
        # The first process succeeds only after all have done their part and the files are written: whatever libraries
        # of another process do as it ends is irrelevant.
        return 0
    for rank, code in enumerate(codes):
        if code < 0 and -code not in received:  # a forwarded signal may end a process before it can handle it
            why = ", possibly because memory ran out" if code == -signal.SIGKILL else ""
            raise AekitError(
                f"--gpus: process {rank} of {len(codes)} was killed by signal {-code}{why}; continue with the same "
                "command and --resume"
            )
    return codes[0] if codes[0] > 0 else 128 + received[0]


def is_orphan() -> bool:
    """Return whether the process that launched this one has ended, for example because it was killed."""
    parent = os.environ.get(PARENT)
    return parent is not None and parent != str(os.getppid())


def follow_parent() -> None:
    """End this process some time after the one that launched it has ended, unless it ends by itself.

    It is asked to stop first, so that a training saves its state. But it may never come to that: a process could wait
    for hours for another one that was never started.
    """
    if PARENT in os.environ:
        threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    while not is_orphan():
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Return the exit codes once all processes have ended, or one has failed and the others were given time to end."""
    failed_at = None
    while (codes := [process.poll() for process in processes]).count(None):
        if failed_at is None and any(codes):
            failed_at = time.monotonic()
            failed = codes
        if failed_at is not None and time.monotonic() - failed_at > PATIENCE_SECONDS:
            # The process that failed first has the reason, not those that are killed because of it.
            return [code if code is not None else 0 for code in failed]
        time.sleep(POLL_SECONDS)
    return [code for code in codes if code is not None]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
