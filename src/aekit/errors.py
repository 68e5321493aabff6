"""The exceptions that leave aekit on purpose, and its warnings."""

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
    """A command line that cannot be understood, or a value outside its range: exit code 2."""


class GlyphWarning(UserWarning):
    """Letters that no installed font has; the command line says it in one line, once."""


class Stopped(Exception):
    """A run that was asked to stop by a signal, after it saved its state."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def nearest(word: str, choices: Iterable[str], advice: str = "") -> str:
    """Return the end of a message: ``"; did you mean 'x'? Choose one of x, y"``, or only the advice if none is similar.

    Args:
        word: What was given.
        choices: What could have been meant.
        advice: What to do, ``choose one of x, y``; empty for none.
    """
    # Ignore case: names of classes and attributes are capitalised, and users type them in lower case. Ignore the dashes
    # of options: they would make --beta and --data similar.
    spelled = {choice.lower().lstrip("-"): choice for choice in choices}
    matches = get_close_matches(word.lower().lstrip("-"), list(spelled), n=1)
    if not matches:
        return f"; {advice}" if advice else ""
    return f"; did you mean '{spelled[matches[0]]}'?" + (f" {advice[0].upper()}{advice[1:]}" if advice else "")


def count(n: int, singular: str, plural: str = "") -> str:
    """Return a number of things in words: ``1 image``, ``2,000 images``; ``plural`` is by default with an s."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def shown(text: object) -> str:
    """Return a name or path in printable form: control characters and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))
