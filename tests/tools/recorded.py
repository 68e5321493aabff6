"""Progress that keeps what it is told, and asks to stop after some updates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence


class Recorded:
    """See :class:`aekit.core.progress.Progress`.

    Args:
        stop_after: Updates after which ``should_stop`` returns ``signal_number`` until the next update; None for never.
        signal_number: What it returns then.
        on_update: Called after each update with their number.
    """

    def __init__(
        self,
        stop_after: int | None = None,
        signal_number: int = 15,
        on_update: Callable[[int], object] = lambda n: None,
    ) -> None:
        self.updates: list[tuple[str, int, int]] = []
        self.notices: list[str] = []
        self.tables: list[tuple[str, Sequence[str], list[Sequence[object]]]] = []
        self._stop_after = stop_after
        self._signal_number = signal_number
        self._on_update = on_update

    def update(
        self, what: str, done: int, total: int, *, lane: str = "", detail: Callable[[], str] | None = None
    ) -> None:
        self.updates.append((what, done, total))
        if detail is not None:
            detail()
        self._on_update(len(self.updates))

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        self.tables.append((title, columns, list(rows)))

    def should_stop(self) -> int | None:
        return self._signal_number if len(self.updates) == self._stop_after else None
