"""The terminal: paths on stdout, everything else on stderr. The only module that prints."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aekit.core.artifacts import refuse_line_break
from aekit.core.environment import process_rank
from aekit.errors import AekitError, shown

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from _typeshed import ReadableBuffer as Buffer
    from rich.console import Console as RichConsole

    from aekit.images.sweep.grid import Cell, Outcome, Progressed
    from aekit.images.training import Row, Step


LOG_WIDTH = 240  # characters of a line in a file; a terminal says how wide it is
SHOWN_S = 0.25  # a bar moves so often
PATIENCE_S = 10.0  # a download that cannot start fails sooner, and its error is then the only line


@dataclass(frozen=True)
class Console:
    """How a command speaks.

    Attributes:
        quiet: Say nothing on stderr but errors.
        json: On stdout, one JSON object a line instead of a path.
    """

    quiet: bool = False
    json: bool = False

    def result(self, path: Path, **values: Any) -> None:
        """Print the path of a main artifact on stdout, or with ``json`` an object of it and the values."""
        if process_rank() > 0:  # of several processes that share a run, the first one speaks
            return
        refuse_line_break(path)
        line = json.dumps({"path": str(path), **values}) if self.json else str(path)
        if sys.stdout.isatty():  # for the next command paths are bytes; a terminal would obey them, as ls knows
            line = shown(line)
        print(line, flush=True)  # noqa: T201 - flushed, so that the next command of a pipeline can start

    def message(self, text: str) -> None:
        """Say something on stderr, unless asked to be quiet."""
        if not self.quiet:
            say(text)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table on stderr, unless asked to be quiet.

        Args:
            title: Written above it.
            columns: Headings; the first column is aligned left, the others right.
            rows: A cell a column; floats are shown with four significant digits, None as nothing.
        """
        if self.quiet:
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
        if not console.is_terminal:
            console.width = LOG_WIDTH
        # A table's own title is as narrow as it.
        console.print(shown(title), style="bold", markup=False, highlight=False)
        console.print(table)

    @property
    def is_live(self) -> bool:
        """Whether a bar may move on stderr: a terminal that can, and nobody asked for quiet."""
        return process_rank() == 0 and not self.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def say(text: str) -> None:
    """Print one line on stderr, control characters shown escaped; a closed stderr is no reason to fail.

    Of several processes that share a run, only the first one speaks.
    """
    if process_rank() > 0:
        return
    # RuntimeError: a signal's handler speaks while the program itself is in the middle of a line.
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        print(shown(text), file=sys.stderr, flush=True)  # noqa: T201


def with_stdin(arguments: list[str]) -> list[str]:
    """Return the paths that were given, with those on stdin, one a line, for each ``-``.

    Raises:
        AekitError: One of them is no path that there could be: too long, or with a NUL byte, as in a file of bytes.
    """
    texts: list[str] = []
    for argument in arguments:
        texts += [line.strip() for line in sys.stdin if line.strip()] if argument == "-" else [argument]
    for text in texts:
        try:
            os.lstat(text)
        except (FileNotFoundError, NotADirectoryError):
            continue  # which is said by those who need it
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise AekitError(f"{text}: is no path that can be read ({reason}); give one path a line") from error
    return texts


class StdoutError(OSError):
    """A failure to write stdout, which is no file of ours; a reader that has gone is a BrokenPipeError instead."""


class _Stdout(io.FileIO):
    def write(self, content: Buffer) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StdoutError(error.errno, error.strerror) from error


def open_streams() -> None:
    """Have stdout tell its failures from those of files, and turn closed streams (``2>&-``) to nowhere.

    The next file to be opened would be one of those: a result would get what libraries write on stderr.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, and so that of the stream
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, "w" if number else "r", closefd=False))
    if isinstance(old := sys.stdout, io.TextIOWrapper):
        raw = _Stdout(old.fileno(), "wb", closefd=False)
        sys.stdout = io.TextIOWrapper(
            raw if isinstance(old.buffer, io.RawIOBase) else io.BufferedWriter(raw),
            encoding=old.encoding,
            errors=old.errors,
            line_buffering=old.line_buffering,
            write_through=old.write_through,
        )


def stderr_console() -> RichConsole:
    """Return rich's console on stderr, for tables and bars; it honours NO_COLOR and TERM=dumb."""
    from rich.console import Console as RichConsole

    return RichConsole(stderr=True)


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
        self._shown = 0.0

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
            if what not in self._said and (is_notice or time.monotonic() - since > PATIENCE_S):
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

    def on_step(self, step: Step) -> None:
        """Show epoch, loss, images/s and the time left of the whole run."""
        # Asking for the loss makes a GPU wait, so it is asked for as often as an eye can follow.
        now = time.monotonic()
        if self._bar is None or (now - self._shown < SHOWN_S and step.step != step.n_steps):
            return
        self._shown = now
        done = step.epoch * step.n_steps + step.step
        what = f"epoch {step.epoch + 1}/{step.n_epochs}"
        speed = self._bar.tasks[self._task].speed if self._task is not None else None
        rate = f"{speed * step.images_per_step:,.0f} images/s" if speed else ""
        self._show("training", done, step.n_epochs * step.n_steps, f"{what}  loss {step.loss.item():.4g}  {rate}")

    def on_epoch(self, rows: list[Row]) -> None:
        """Say what an epoch reached."""
        train, held_out = rows
        text = f"epoch {train.epoch}: train {train.total:.5g}, {held_out.split} {held_out.total:.5g}"
        if held_out.kl is not None:
            text += f" (reconstruction {held_out.reconstruction:.5g}, KL {held_out.kl:.4g})"
        text += f", MSE {held_out.mse:.4g}, {train.images_per_second:,.0f} images/s"
        self.say(text)

    def _show(self, what: str, done: int, total: int, detail: str) -> None:
        what = shown(what)
        if self._task is None or what != self._what:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._what = what
            self._task = self._bar.add_task(what, total=total, detail=detail, completed=done)
        else:
            self._bar.update(self._task, completed=done, total=total, detail=detail)


class GridProgress:
    """The progress of a grid of runs: one live table on a terminal, else a line a cell as it ends."""

    def __init__(self, console: Console, n_cells: int) -> None:
        self._console = console
        self._n_cells = n_cells
        # A grid on Ray turns stdout away for its time; a bar or table that put it back would undo that.
        self._reading = TrainingProgress(console, lifts_stdout=False)
        self._running: dict[str, Progressed] = {}
        self._ended: list[Outcome] = []
        self._started = time.monotonic()
        self._live: Any = None

    def __enter__(self) -> GridProgress:
        self._reading.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._reading.__exit__()
        if self._live is not None:
            self._live.stop()

    def on_data(self, what: str, done: int, total: int) -> None:
        """Show how far reading has come."""
        self._reading.on_data(what, done, total)

    def on_progress(self, cell: Cell, progressed: Progressed) -> None:
        """Show how far a running cell has come."""
        self._running[cell.label] = progressed
        self._show()

    def on_message(self, text: str) -> None:
        """Say what a worker says."""
        self._say(text)

    def on_outcome(self, outcome: Outcome) -> None:
        """Say how a cell ended."""
        self._running.pop(outcome.cell.label, None)
        self._ended.append(outcome)
        if outcome.error:
            end = f"failed: {outcome.error}"
        elif outcome.header is not None:
            last = [row for row in outcome.header.result["history"] if row["split"] != "train"]
            row = next((row for row in reversed(last) if row["split"] == "val"), last[-1])
            kl = "" if row["kl"] is None else f" (reconstruction {row['reconstruction']:.5g}, KL {row['kl']:.4g})"
            end = f"{row['split']} {row['total']:.5g}{kl}, MSE {row['mse']:.4g}"
        if not outcome.is_old:
            self._say(f"{len(self._ended)}/{self._n_cells}  {outcome.cell.label}: {end}")
        self._show()

    def _say(self, text: str) -> None:
        if self._live is None:
            self._console.message(text)
        else:
            self._live.console.print(shown(text), highlight=False, markup=False)

    def _show(self) -> None:
        if not self._console.is_live:
            return
        if self._live is None:
            from rich.live import Live

            self._reading.__exit__()
            self._live = Live(console=stderr_console(), transient=True, auto_refresh=False, redirect_stdout=False)
            self._live.start()
        self._live.update(self._table(), refresh=True)

    def _table(self) -> Any:
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        n_failed = sum(bool(outcome.error) for outcome in self._ended)
        seconds = time.monotonic() - self._started
        title = f"{len(self._ended)} of {self._n_cells} cells"
        title += f", {n_failed} failed" if n_failed else ""
        n_new = sum(not outcome.is_old for outcome in self._ended)
        if n_new:
            left = seconds / n_new * (self._n_cells - len(self._ended))
            title += f", {seconds:.0f} s, about {left:.0f} s left"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for column, side in (("cell", "left"), ("epoch", "right"), ("loss", "right"), ("time left", "right")):
            table.add_column(column, justify=side)  # type: ignore[arg-type]
        for label, at in self._running.items():
            cells = f"{at.epoch}/{at.n_epochs}", f"{at.loss:.5g}", f"{at.seconds_left:.0f} s"
            table.add_row(escape(shown(label)), *cells)
        return table


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Callable[[], int | None]]:
    """Yield a function that tells which of SIGINT and SIGTERM has come, if any.

    A signal ends the command at once until the function is first asked, that is while data are read, when there is
    nothing to save; and at once if it is the second.
    """
    came: list[int] = []
    asked: list[bool] = []

    def stop_signal() -> int | None:
        asked[:] = [True]
        return came[0] if came else None

    def note(signal_number: int, frame: FrameType | None) -> None:
        if came or not asked:
            raise KeyboardInterrupt if signal_number == signal.SIGINT else SystemExit(128 + signal_number)
        came.append(signal_number)
        say("stopping after this step, the state is saved; once more ends at once")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop_signal
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def terminate(signal_number: int, frame: FrameType | None) -> None:
    """End on a signal as batch schedulers send it, with the exit code a shell expects; clean-up runs on the way."""
    raise SystemExit(128 + signal_number)
