"""Notices of a table of labels, of which only those are shown that were not said when a model was trained."""

from __future__ import annotations

from collections.abc import Callable

from aekit.core.progress import Labelled, Progress
from aekit.images.data.label_table import NOTICE, OPTION


class LabelNotices(Labelled):
    """Progress of reading images that keeps what is said of their table of labels.

    Args:
        progress: Receives everything else.
        option: What names the table on the command line.
    """

    def __init__(self, progress: Progress, option: str = OPTION) -> None:
        super().__init__(progress, "")
        self._kept: list[str] = []
        self._option = option

    def update(
        self, what: str, done: int, total: int, *, lane: str = "", detail: Callable[[], str] | None = None
    ) -> None:
        """Show how far it has come."""
        self._progress.update(what, done, total, lane=lane, detail=detail)

    def notice(self, text: str) -> None:
        """Say one line that must not be missed, or keep it if it is about the table."""
        if text.startswith(NOTICE):
            self._kept.append(f"{self._option}{text.removeprefix(OPTION)}")
        else:
            self._progress.notice(text)

    def say(self) -> None:
        """Say what was kept: it is new."""
        for text in self._kept:
            self._progress.notice(text)
        self._kept = []
