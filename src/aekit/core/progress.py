"""What a long computation says while it runs, and how it is asked to stop: one protocol for all of aekit.

The library calls :class:`Progress` and never prints. ``aekit.terminal.console.Console`` is the one that shows it; from
Python, :data:`SILENT` is the default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol


class Progress(Protocol):
    """What a computation tells the outside, and asks of it. All methods may be called from any thread."""

    def update(
        self, what: str, done: int, total: int, *, lane: str = "", detail: Callable[[], str] | None = None
    ) -> None:
        """Show how far something has come.

        Args:
            what: What is being done, such as ``decoding mnist``.
            done: How much of it is done.
            total: How much there is; 0 if unknown.
            lane: Several things that run at the same time, such as the cells of a grid, have a lane each; a new
                ``what`` in the same lane replaces the old one, and ``done == total`` ends a lane that has a name.
            detail: Called when it is shown, as to ask for a loss makes a GPU wait; None shows ``done`` of ``total``.
        """

    def notice(self, text: str) -> None:
        """Say one line that must not be missed; the same line is said once."""

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Show a table: a heading per column, floats with four significant digits, None as nothing."""

    def should_stop(self) -> int | None:
        """Return the number of the signal that asks to stop, if any; who asks promises to save its state."""


class Silent:
    """Progress that nobody watches and nobody stops."""

    def update(
        self, what: str, done: int, total: int, *, lane: str = "", detail: Callable[[], str] | None = None
    ) -> None:
        """Show nothing."""

    def notice(self, text: str) -> None:
        """Say nothing."""

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Show nothing."""

    def should_stop(self) -> int | None:
        """Return None: nobody asks."""
        return None


SILENT = Silent()


class Labelled:
    """Progress of one of several computations, in one program or several, whose lines start with its name.

    Args:
        progress: Progress of all of them.
        label: Name of this one, such as its checkpoint without the suffix.
    """

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._label = label

    def update(
        self, what: str, done: int, total: int, *, lane: str = "", detail: Callable[[], str] | None = None
    ) -> None:
        """Show how far it has come; a lane has a name of its own."""
        self._progress.update(what if lane else f"{self._label}: {what}", done, total, lane=lane, detail=detail)

    def notice(self, text: str) -> None:
        """Say one line that must not be missed, even if another computation said the same."""
        self._progress.notice(f"{self._label}: {text}")

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Show a table."""
        self._progress.table(f"{self._label}: {title}", columns, rows)

    def should_stop(self) -> int | None:
        """Return the number of the signal that asks to stop, if any."""
        return self._progress.should_stop()


class Named(Labelled):
    """Progress of a study: what takes long starts with the name of its result, notices and tables stay as they are."""

    @property
    def watched(self) -> Progress:
        """Return the progress without the name."""
        return self._progress

    def notice(self, text: str) -> None:
        """Say one line that must not be missed."""
        self._progress.notice(text)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Show a table."""
        self._progress.table(title, columns, rows)
