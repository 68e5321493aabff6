"""Progress on a terminal: live bars, one per lane."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aekit.errors import shown
from aekit.terminal.streams import stderr_console

if TYPE_CHECKING:
    from collections.abc import Callable

SHOWN_SECONDS = 0.25  # a bar moves this often


class Bars:
    """Live bars on stderr: one for each lane, and one without a lane for what is done one after another."""

    def __init__(self) -> None:
        self._bars: Any = None
        self._tasks: dict[str, tuple[str, Any]] = {}  # by lane: what is shown, and its task
        self._shown: dict[str, float] = {}

    def update(self, what: str, done: int, total: int, lane: str, detail: Callable[[], str] | None) -> None:
        """Move the bar of a lane; see :meth:`aekit.core.progress.Progress.update`."""
        is_end = bool(lane) and done >= total
        now = time.monotonic()
        is_known = lane in self._tasks and self._tasks[lane][0] == what
        # Asking for a detail, such as the loss, makes a GPU wait, so it is asked for as often as an eye can follow.
        if is_known and not is_end and detail is not None and now - self._shown.get(lane, 0.0) < SHOWN_SECONDS:
            return
        if self._bars is None:
            self._start()
        if lane in self._tasks and (is_end or not is_known):
            self._bars.remove_task(self._tasks.pop(lane)[1])
        if is_end:
            return
        self._shown[lane] = now
        text = shown(detail()) if detail is not None else f"{done:,} of {total:,}" if total else f"{done:,}"
        if lane in self._tasks:
            self._bars.update(self._tasks[lane][1], completed=done, total=total or None, detail=text)
        else:
            task = self._bars.add_task(self._fitting(shown(what)), total=total or None, completed=done, detail=text)
            self._tasks[lane] = what, task

    def _fitting(self, text: str) -> str:
        """Return the end of a text that is too long for a third of the terminal: its last words say what is done."""
        room = max(20, self._bars.console.width // 3)
        return text if len(text) <= room else f"...{text[3 - room :]}"

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(shown(text), highlight=False, markup=False)

    @property
    def is_shown(self) -> bool:
        """Whether there are bars on the terminal now."""
        return self._bars is not None

    def clear(self) -> None:
        """Remove all bars from the terminal; the next update brings them back."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = None
        self._tasks.clear()

    def _start(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=stderr_console(),
            transient=True,
            redirect_stdout=False,  # stdout carries paths for the next command
        )
        self._bars.start()
