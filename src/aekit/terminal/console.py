"""What a command prints: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aekit.core.artifacts import check_no_line_break
from aekit.core.environment import process_rank
from aekit.errors import GlyphWarning, shown
from aekit.terminal.progress_bars import Bars
from aekit.terminal.signals import stop_on_signals
from aekit.terminal.streams import say, stderr_console
from aekit.terminal.tables import build_tables

if TYPE_CHECKING:
    from aekit.core.output import Result

LOG_WIDTH = 240  # characters of a line in a file; a terminal reports its own width
PATIENCE_SECONDS = 10.0  # a download that cannot start fails sooner, and its error is then the only line


_is_checking: ContextVar[bool] = ContextVar("is_checking", default=False)


class OptionsPassed(Exception):
    """The options of a command were accepted, and nothing was run."""


@contextlib.contextmanager
def checking_options() -> Iterator[None]:
    """End every command inside with :class:`OptionsPassed` where it would begin to work: where it opens its console."""
    token = _is_checking.set(True)
    try:
        yield
    finally:
        _is_checking.reset(token)


class Console:
    """The output of a command, and the signals that ask it to stop; see :class:`aekit.core.progress.Progress`.

    Args:
        quiet: Print only errors to stderr.
        json: On stdout, one JSON object per line instead of a path.
    """

    def __init__(self, *, quiet: bool = False, json: bool = False) -> None:
        if _is_checking.get():
            raise OptionsPassed
        self.quiet = quiet
        self.json = json
        self._bars = Bars()
        self._lock = threading.RLock()
        self._since: dict[str, float] = {}
        self._said: set[str] = set()
        self._signals = contextlib.ExitStack()
        self._show_other: Callable[..., None] = warnings.showwarning
        self._stop_signal: Callable[[], int | None] | None = None

    def __enter__(self) -> Console:
        warnings.filterwarnings("always", category=GlyphWarning)
        self._signals.callback(setattr, warnings, "showwarning", warnings.showwarning)
        warnings.showwarning = self._show_warning
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._bars.clear()
        self._signals.close()

    def result(self, results: Result | Iterable[Result]) -> None:
        """Print the path of each main artifact on stdout, or with ``json`` an object of it and its values."""
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

    def _show_warning(self, message: Warning | str, category: type[Warning], *place: Any, **others: Any) -> None:
        """Say what is meant for users in one line, once per kind; leave other warnings to Python."""
        if not issubclass(category, GlyphWarning):
            self._show_other(message, category, *place, **others)
        elif category.__name__ not in self._said:
            self._said.add(category.__name__)
            self.notice(str(message))

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
            rows: A cell per column; floats are shown with four significant digits, None as nothing. A table that is
                wider than the terminal is printed in blocks of columns.
        """
        if self.quiet or process_rank() > 0:
            return
        console = stderr_console()
        console.width = self.width
        with self._lock:
            self._bars.clear()
            # A table's own title is as narrow as it.
            console.print(shown(title), style="bold", markup=False, highlight=False)
            for table in build_tables(columns, list(rows), self.width):
                console.print(table)

    def should_stop(self) -> int | None:
        """Return the signal that asks to stop, if one has come.

        Signals are handled from the first call on: a command that never asks has nothing to save, and ends at once.
        """
        with self._lock:
            if self._stop_signal is None:
                if threading.current_thread() is not threading.main_thread():  # the only one that may handle signals
                    return None
                self._stop_signal = self._signals.enter_context(stop_on_signals())
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
