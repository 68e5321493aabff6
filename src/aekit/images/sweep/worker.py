"""A cell of a grid in a process of its own: it reports to its parent, and stops when the parent asks or dies."""

from __future__ import annotations

import copy
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from aekit.core.progress import Silent
from aekit.errors import AekitError, Stopped
from aekit.images.runs import Machine, train_run
from aekit.images.sweep.plan import Cell

REPORT_SECONDS = 0.25  # a worker reports its progress this often
ORPHAN_SECONDS = 20.0  # for a worker to save its state and end when its parent has gone
Message = tuple[str, Any]  # its kind, and a value of plain types


class RemoteProgress(Silent):
    """Progress of a run that is sent elsewhere, now and then; a signal that has come stops the run.

    Args:
        send: Takes messages: ``progress`` with (steps done, steps in total, words), and ``notice`` or ``common``
            with a line.

    Attributes:
        signals: The signals that have come.
    """

    def __init__(self, send: Callable[[Message], object]) -> None:
        self.signals: list[int] = []
        self._send = send
        self._reported = 0.0
        self._kind = "notice"

    def common(self) -> RemoteProgress:
        """Return the same for lines that other cells of the grid repeat, and that are shown once."""
        shared = copy.copy(self)  # with the same list of signals
        shared._kind = "common"
        return shared

    def send(self, kind: str, value: Any) -> None:
        """Send a message, or stop the run if nobody listens any more."""
        try:
            self._send((kind, value))
        except OSError:  # the parent is gone: save and end
            self.signals.append(signal.SIGTERM)

    def update(
        self, what: str, done: int, total: int, *, lane: str = "", detail: Callable[[], str] | None = None
    ) -> None:
        """Report a step of training, unless the last report was a moment ago; reading is not reported."""
        now = time.monotonic()
        if detail is not None and now - self._reported > REPORT_SECONDS:
            self._reported = now
            self.send("progress", (done, total, detail()))

    def notice(self, text: str) -> None:
        """Report a line."""
        self.send(self._kind, text)

    def should_stop(self) -> int | None:
        """Return the signal that has come, if any."""
        return self.signals[0] if self.signals else None


def work(cell: Cell, machine: Machine, overwrite: bool, connection: Connection) -> None:
    """Train one cell and report to the parent, at last how it ended: ``done``, ``failed`` or ``stopped``."""
    progress = RemoteProgress(connection.send)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes, and the parent decides
    signal.signal(signal.SIGTERM, lambda number, frame: progress.signals.append(number))
    threading.Thread(target=_follow_parent, args=(progress,), daemon=True).start()
    try:
        done = train_run(
            cell.config,
            cell.path,
            machine,
            overwrite=overwrite,
            resume=not overwrite,
            progress=progress,
            common=progress.common(),
        )
    except AekitError as error:
        progress.send("failed", str(error))
    except Stopped:
        progress.send("stopped", None)
    else:
        progress.send("done", done.header)


def _follow_parent(progress: RemoteProgress) -> None:
    """Stop the run if the parent process is gone, as when it was killed; end it if it does not stop."""
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        progress.signals.append(signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)
