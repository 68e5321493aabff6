"""The exceptions that leave aekit on purpose."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class AekitError(Exception):
    """A failure that the user can mend, said in one line.

    The message reads ``"<path or option>: <what is wrong>; <what to do>"``. The command line prints it on stderr and
    ends with exit code 1; anything else that escapes is a bug and shows its traceback.
    """


class Stopped(Exception):
    """A run that was asked to stop by a signal, after it saved its state."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the choice most like ``word``, or an empty string if none is like it."""
    # Names of classes and attributes have capitals, which must not count against a word in small letters.
    spelled = {choice.lower(): choice for choice in choices}
    matches = get_close_matches(word.lower(), list(spelled), n=1, cutoff=0.5)
    return f"; did you mean '{spelled[matches[0]]}'?" if matches else ""
