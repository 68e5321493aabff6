"""The exceptions that leave aekit on purpose, and its warnings."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_MAX_SPELLED = 100  # letters of a word that someone may have typed
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
    given = word.lower().lstrip("-")
    matches = [one for one in get_close_matches(given, list(spelled), n=5) if _is_slip(given, one)]
    if not matches:
        return f"; {advice}" if advice else ""
    return f"; did you mean '{spelled[matches[0]]}'?" + (f" {advice[0].upper()}{advice[1:]}" if advice else "")


def _is_slip(word: str, other: str) -> bool:
    """Return whether two words are a few slips apart, or the longer one begins with the shorter.

    The ratio of equal letters alone finds another word among short ones: SES for sex, wmv for gmv, stage for age.
    """
    short, long = sorted((word, other), key=len)
    if len(short) > 3 and long.startswith(short):
        return True
    if len(long) > _MAX_SPELLED:
        return False
    # Of three letters, two swapped ones or the middle one may be wrong; more is another word.
    if len(short) <= 3 and len(short) == len(long) and sorted(word) != sorted(other):
        return word[:1] + word[-1:] == other[:1] + other[-1:]
    return _distance(word, other) <= 1 + (len(short) - 1) // 4


def _distance(word: str, other: str) -> int:
    """Return how many letters are to be added, left out, replaced or swapped with their neighbour."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for place, letter in enumerate(word):
        older, before = before, row
        row = [place + 1]
        for at, one in enumerate(other):
            row.append(min(before[at + 1] + 1, row[at] + 1, before[at] + (letter != one)))
            if place and at and letter == other[at - 1] and word[place - 1] == one:
                row[-1] = min(row[-1], older[at - 1] + 1)
    return row[-1]


def count(n: int, singular: str, plural: str = "") -> str:
    """Return a number of things in words: ``1 image``, ``2,000 images``; ``plural`` is by default with an s."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def shown(text: object) -> str:
    """Return a name or path in printable form: control characters and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))
