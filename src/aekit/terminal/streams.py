"""The standard streams: write errors of stdout, closed streams, and paths on stdin."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING

from aekit.core.environment import process_rank
from aekit.errors import AekitError, UsageError, shown

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer
    from rich.console import Console as RichConsole


def say(text: str) -> None:
    """Print one line on stderr, control characters escaped; a closed stderr is not an error.

    Of several processes that share a run, only the first one prints.
    """
    if process_rank() > 0:
        return
    # RuntimeError: a signal's handler speaks while the program itself is in the middle of a line.
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        print(shown(text), file=sys.stderr, flush=True)  # noqa: T201


def with_stdin(arguments: list[str], *, kind: str = "checkpoint") -> list[str]:
    """Return the paths that were given, with those on stdin, one per line, for each ``-``.

    Args:
        arguments: What the command line says.
        kind: What the paths are of, for messages.

    Raises:
        AekitError: There is none, or one cannot be a path: too long, or with a NUL byte, as in a file of bytes; or
            stdin is a table.
    """
    texts: list[str] = []
    for argument in arguments:
        texts += _lines_of_stdin() if argument == "-" else [argument]
    for text in texts:
        try:
            os.lstat(text)
        except (FileNotFoundError, NotADirectoryError):
            continue  # the readers of files report this
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise AekitError(f"{text}: is not a path that can be read ({reason}); give one path per line") from error
    if not texts:
        raise AekitError(f"-: no path came on stdin; the command before it wrote nothing, or give a {kind}'s path")
    return texts


def _lines_of_stdin() -> list[str]:
    """Return the lines on stdin that are not empty.

    Raises:
        AekitError: They are rows of a table: several lines with the same number of separators, the first no path.
    """
    lines = [line.strip() for line in sys.stdin if line.strip()]
    for separator in ",;\t":
        numbers = {line.count(separator) for line in lines[:2]}
        if len(lines) > 1 and len(numbers) == 1 and numbers != {0} and not os.path.lexists(lines[0][:4096]):
            raise AekitError("-: stdin looks like a table, and - reads paths, one per line; write it to a file")
    return lines


def one_from_stdin(**arguments: str) -> list[str]:
    """Return arguments that are one path each, of which one may be ``-``: then stdin has its path, on a line.

    Args:
        arguments: What the command line says, by the name of the argument in its help.

    Raises:
        UsageError: Several are ``-``.
        AekitError: There is no path on stdin, or there are several, or one cannot be a path.
    """
    piped = [name for name, text in arguments.items() if text == "-"]
    if len(piped) > 1:
        raise UsageError(f"-: {' and '.join(piped)} cannot both come from stdin; give one of them as a path")
    found = []
    for name, text in arguments.items():
        paths = with_stdin([text], kind=name)
        if len(paths) > 1:
            raise AekitError(
                f"-: {len(paths)} paths came on stdin, and {name} is one; run the command for each of them"
            )
        found += paths
    return found


class StdoutError(OSError):
    """A failure to write to stdout; if the reader of a pipe has gone, it is a BrokenPipeError instead."""


class _Stdout(io.FileIO):
    def write(self, content: Buffer) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StdoutError(error.errno, error.strerror) from error


def open_streams() -> None:
    """Make write errors of stdout distinguishable, and redirect closed streams (``2>&-``) to the null device.

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
