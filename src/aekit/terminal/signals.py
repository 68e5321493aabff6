"""SIGINT and SIGTERM: the first asks a training to save its state and stop, the second ends the program at once."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from aekit.terminal.streams import say

if TYPE_CHECKING:
    from types import FrameType


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Callable[[], int | None]]:
    """Yield a function that tells which of SIGINT and SIGTERM has come, if any; the second ends the command at once."""
    came: list[int] = []

    def stop_signal() -> int | None:
        return came[0] if came else None

    def note(signal_number: int, frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt if signal_number == signal.SIGINT else SystemExit(128 + signal_number)
        came.append(signal_number)
        say("stopping after this step and saving the state; a second signal stops at once")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop_signal
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def terminate(signal_number: int, frame: FrameType | None) -> None:
    """End on a signal as batch schedulers send it, with the exit code a shell expects; clean-up runs on the way."""
    raise SystemExit(128 + signal_number)
