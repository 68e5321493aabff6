"""One command line in several processes on this machine, as torchrun would start them, with aekit's manners.

torchrun itself prints a traceback for whatever ends with another exit code than 0, and turns every code into 1; here
messages and exit codes are those of the first process. Across machines, torchrun starts the same command line.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

from aekit.core.environment import PARENT, count_cores
from aekit.errors import AekitError

PATIENCE_SECONDS = 20.0  # for the others to save and end once one has ended
POLL_SECONDS = 0.1
FEW_PROCESSES = 8  # that any machine stands, to try it out; each takes half a gigabyte


def launch(n_processes: int, arguments: Sequence[str]) -> int:
    """Run ``aekit`` with some arguments in several processes that share the work, and return its exit code.

    SIGINT and SIGTERM are passed on to all of them.

    Args:
        n_processes: How many, 2 or more.
        arguments: What follows ``aekit`` on the command line.

    Raises:
        AekitError: There are far more than cores, or one of them was killed, as when memory runs out.
    """
    if n_processes > (most := max(count_cores(), FEW_PROCESSES)):
        raise AekitError(f"--gpus: {n_processes:,} processes are too many for this machine; give {most} or fewer")
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(n_processes),
        "LOCAL_WORLD_SIZE": str(n_processes),
        PARENT: str(os.getpid()),
    }
    threads = {"OMP_NUM_THREADS": str(max(1, count_cores() // n_processes))}
    processes: list[subprocess.Popen[bytes]] = []
    came: list[int] = []

    def pass_on(signal_number: int, frame: FrameType | None) -> None:
        came.append(signal_number)
        for process in processes:
            process.send_signal(signal_number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for rank in range(n_processes):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            # A session of its own: Ctrl-C reaches this process alone, which passes it on once.
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "aekit", *arguments],
                    env=threads | os.environ | shared | own,
                    start_new_session=True,
                )
            )
        codes = _wait(processes)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    if codes[0] == 0:
        # The first process ends well only after all have done their part and the files are written: what libraries of
        # another do while it ends changes nothing.
        return 0
    for rank, code in enumerate(codes):
        if code < 0 and -code not in came:  # nor did it end by a signal before it could take notice of it
            why = ", as when memory runs out" if code == -signal.SIGKILL else ""
            raise AekitError(
                f"--gpus: process {rank} of {n_processes} was killed by signal {-code}{why}; continue with the same "
                "command and --resume"
            )
    return codes[0] if codes[0] > 0 else 128 + came[0]


def is_orphan() -> bool:
    """Return whether the process that launched this one has gone, as when it was killed."""
    parent = os.environ.get(PARENT)
    return parent is not None and parent != str(os.getppid())


def follow_parent() -> None:
    """End this process some time after the one that launched it has gone, if it does not by itself.

    A step looks for that and has the state saved. But there may be no step: a process that waits for another, which the
    one that was killed did not start any more, would do so for hours.
    """
    if PARENT in os.environ:
        threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    while not is_orphan():
        time.sleep(POLL_SECONDS)
    time.sleep(PATIENCE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Return the exit codes, once all have ended; those that do not end after another has failed are killed."""
    failed_at = None
    while (codes := [process.poll() for process in processes]).count(None):
        if failed_at is None and any(codes):
            failed_at = time.monotonic()
            failed = codes
        if failed_at is not None and time.monotonic() - failed_at > PATIENCE_SECONDS:
            # What ended first says why, not those that were killed for it.
            return [code if code is not None else 0 for code in failed]
        time.sleep(POLL_SECONDS)
    return [code for code in codes if code is not None]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
