"""What the command line knows of its own commands, for recipes that run them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from aekit.errors import AekitError, nearest

_ENDS = ("--help", "-h", "--version", "--install-completion", "--show-completion")


class CommandLines:
    """The commands of aekit and their options.

    Args:
        context: Context of a command, as Typer gives it.
    """

    def __init__(self, context: Any) -> None:
        self._commands: dict[str, Any] = context.parent.command.commands

    def knows(self, command: str, option: str) -> bool:
        """Return whether a command has an option."""
        params = self._commands[command].params if command in self._commands else ()
        return any(option in param.opts for param in params)

    def check(self, words: Sequence[str], place: str) -> None:
        """Check that words are a command line: its options exist, and their values can be read. Nothing is run.

        Args:
            words: The words after ``aekit``.
            place: Where they are from, for the message.

        Raises:
            AekitError: They are not.
        """
        name, *arguments = words
        if name not in self._commands:
            advice = "the commands are in aekit --help"
            raise AekitError(f"{place}: aekit has no command {name!r}{nearest(name, self._commands, advice)}")
        if ends := [word for word in arguments if word in _ENDS]:
            raise AekitError(f"{place}: {ends[0]} runs nothing; leave it out")
        try:
            self._commands[name].make_context(f"aekit {name}", arguments)
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            text = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
            raise AekitError(f"{place}: {text} ({shlex.join(['aekit', *words])}); correct the recipe") from error
