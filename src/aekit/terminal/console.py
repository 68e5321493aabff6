"""What a command prints: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aekit.core.artifacts import check_no_line_break
from aekit.core.environment import process_rank
from aekit.errors import shown
from aekit.terminal.progress_bars import Bars
from aekit.terminal.signals import stop_on_signals
from aekit.terminal.streams import say, stderr_console

if TYPE_CHECKING:
    from aekit.core.output import Result

LOG_WIDTH = 240  # characters of a line in a file; a terminal reports its own width
PATIENCE_SECONDS = 10.0  # a download that cannot start fails sooner, and its error is then the only line


class Console:
    """The output of a command, and the signals that ask it to stop; see :class:`aekit.core.progress.Progress`.

    Args:
        quiet: Print only errors to stderr.
        json: On stdout, one JSON object per line instead of a path.
    """

    def __init__(self, *, quiet: bool = False, json: bool = False) -> None:
        self.quiet = quiet
        self.json = json
        self._bars = Bars()
        self._lock = threading.RLock()
        self._since: dict[str, float] = {}
        self._said: set[str] = set()
        self._signals = contextlib.ExitStack()
        self._stop_signal: Callable[[], int | None] = lambda: None

    def __enter__(self) -> Console:
        if threading.current_thread() is threading.main_thread():  # the only one that may handle signals
            self._stop_signal = self._signals.enter_context(stop_on_signals())
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._bars.clear()
        self._signals.close()

    def result(self, results: Result | Iterable[Result] | Path, /, **values: Any) -> None:
        """Print the path of each main artifact on stdout, or with ``json`` an object of it and its values."""
        if isinstance(results, Path):
            self._print(results, values)
            return
        for result in results if isinstance(results, Iterable) else [results]:
            self._print(result.path, result.values)

    def _print(self, path: Path, values: Any) -> None:
        if process_rank() > 0:  # of several processes that share a run, only the first one prints
            return
        check_no_line_break(path)
        line = json.dumps({"path": str(path), **values}) if self.json else str(path)
        if sys.stdout.isatty():  # for the next command paths are bytes; a terminal would obey them, as ls knows
            line = shown(line)
        with self._lock:
            self._bars.clear()
            print(line, flush=True)  # noqa: T201 - flushed, so that the next command of a pipeline can start

    def update(
        self, what: str, done: int, total: int, *, lane: str = "", detail: Callable[[], str] | None = None
    ) -> None:
        """Move a bar on a terminal; elsewhere name what takes long, unless it has details and so its own notices."""
        with self._lock:
            if self.is_live:
                self._bars.update(what, done, total, lane, detail)
            elif (
                detail is None and time.monotonic() - self._since.setdefault(what, time.monotonic()) > PATIENCE_SECONDS
            ):
                self.notice(what)

    def notice(self, text: str) -> None:
        """Print a line on stderr once, unless asked to be quiet."""
        with self._lock:
            if text not in self._said:
                self._said.add(text)
                self.message(text)

    def message(self, text: str) -> None:
        """Print a line on stderr, unless asked to be quiet."""
        if self.quiet:
            return
        with self._lock:
            if self._bars.is_shown:
                self._bars.say(text)
            else:
                say(text)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table on stderr, unless asked to be quiet.

        Args:
            title: Written above it.
            columns: Headings; the first column is aligned left, the others right.
            rows: A cell per column; floats are shown with four significant digits, None as nothing.
        """
        if self.quiet or process_rank() > 0:
            return
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD)
        for number, column in enumerate(columns):
            table.add_column(escape(shown(column)), justify="right" if number else "left")
        for row in rows:
            table.add_row(*(escape(shown(_cell(value))) for value in row))
        console = stderr_console()
        console.width = self.width
        with self._lock:
            self._bars.clear()
            # A table's own title is as narrow as it.
            console.print(shown(title), style="bold", markup=False, highlight=False)
            console.print(table)

    def should_stop(self) -> int | None:
        """Return the signal that asks to stop, if one has come."""
        return self._stop_signal()

    @property
    def width(self) -> int:
        """Number of characters that a line on stderr has room for."""
        console = stderr_console()
        return console.width if console.is_terminal else LOG_WIDTH

    @property
    def is_live(self) -> bool:
        """Whether a bar may move on stderr: a terminal that can, and nobody asked for quiet."""
        return process_rank() == 0 and not self.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class TrainingProgress:
    """The progress of a run: a live bar on a terminal, else one line an epoch.

    Args:
        console: How the command speaks.
        lifts_stdout: Show what is printed on stdout above the bar while there is one.
    """

    def __init__(self, console: Console, *, lifts_stdout: bool = True) -> None:
        self._console = console
        self._lifts_stdout = lifts_stdout
        self._bar: Any = None
        self._task: Any = None
        self._what = ""
        self._since: dict[str, float] = {}
        self._said: set[str] = set()

    def __enter__(self) -> TrainingProgress:
        if self._console.is_live:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[detail]}", markup=False),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=stderr_console(),
                transient=True,
                redirect_stdout=self._lifts_stdout,
            )
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_data(self, what: str, done: int, total: int) -> None:
        """Show how far reading has come; without a bar, only what takes long, and what must not be missed."""
        if self._bar is None:
            since = self._since.setdefault(what, time.monotonic())
            is_notice = what.startswith(("left out", "decoding into memory", "going on", "waiting for"))
            if what not in self._said and (is_notice or time.monotonic() - since > PATIENCE_SECONDS):
                self._said.add(what)
                self._console.message(what)
            return
        self._show(what, done, total, detail=f"{done:,} of {total:,}")

    def on_share(self, what: str, share: float) -> None:
        """Show how far something long has come, a share in [0, 1]; without a bar, its parts are said as they end."""
        if self._bar is not None:
            self._show(what, round(1000 * share), 1000, detail=f"{100 * share:.0f} %")

    def say(self, text: str) -> None:
        """Say something while a bar may be there."""
        if self._bar is None:
            self._console.message(text)
        else:
            self._bar.console.print(shown(text), highlight=False, markup=False)

    def _show(self, what: str, done: int, total: int, detail: str) -> None:
        what = shown(what)
        if self._task is None or what != self._what:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._what = what
            self._task = self._bar.add_task(what, total=total, detail=detail, completed=done)
        else:
            self._bar.update(self._task, completed=done, total=total, detail=detail)
