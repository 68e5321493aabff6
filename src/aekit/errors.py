"""The exceptions that leave aekit on purpose."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MAX_MESSAGE = 4000  # characters: a damaged table may have a header of megabytes


class AekitError(Exception):
    """An error that the user can fix, in one line.

    The message reads ``"<path or option>: <what is wrong>; <what to do>"``. The command line prints it to stderr and
    exits with code 1; any other exception that escapes is a bug and shows its traceback.

    The message is a single line that a terminal can display, whatever file content or names it quotes: control
    characters are escaped, and the middle of a very long message is left out.
    """

    def __init__(self, message: str) -> None:
        text = shown(message)
        if len(text) > MAX_MESSAGE:
            text = f"{text[: MAX_MESSAGE // 2]} ... {text[-MAX_MESSAGE // 4 :]}"
        super().__init__(text)


class UsageError(AekitError):
    """A command line that cannot be understood: exit code 2."""


class Stopped(Exception):
    """A run that was asked to stop by a signal, after it saved its state."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the choice most similar to ``word``, or an empty string if none is."""
    # Ignore case: names of classes and attributes are capitalised, and users type them in lower case.
    spelled = {choice.lower(): choice for choice in choices}
    matches = get_close_matches(word.lower(), list(spelled), n=1, cutoff=0.5)
    return f"; did you mean '{spelled[matches[0]]}'?" if matches else ""


def shown(text: object) -> str:
    """Return a name or path in printable form: control characters and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))
