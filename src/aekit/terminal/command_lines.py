"""What the command line knows of its own commands, for recipes that run them."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aekit.errors import AekitError, nearest
from aekit.terminal.console import OptionsPassed, checking_options

# Commands that do nothing but look at their options before they open the console.
_CHECKED = (
    *("train-ae", "train-vae", "sweep", "reconstruct", "sample", "interpolate", "encode", "evaluate", "pca-compare"),
    *("tsne", "probe", "decorrelation", "disentangle", "compare-codes", "outliers", "neighbours", "decode", "export"),
)
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
        """Check that words are a command line: its options exist, can be read, and go together. Nothing is run.

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
            context = self._commands[name].make_context(f"aekit {name}", arguments)
            if name in _CHECKED and not _waits(context.params):
                with checking_options(), context, contextlib.suppress(OptionsPassed):
                    self._commands[name].invoke(context)
        except Exception as error:
            if not hasattr(error, "format_message") and not isinstance(error, AekitError):
                raise
            said = error.format_message() if hasattr(error, "format_message") else str(error)
            text = " ".join(said.replace("Value error, ", "").split()).rstrip(".")
            raise AekitError(f"{place}: {text} ({shlex.join(['aekit', *words])}); correct the recipe") from error


def _waits(values: Mapping[str, Any]) -> bool:
    """Return whether options depend on a checkpoint that is not there yet, or begin other processes."""
    init = values.get("init")
    is_missing = init is not None and not all(Path(each).exists() for each in str(init).split(","))
    return is_missing or any(values.get(name) for name in ("gpus", "ray", "dry_run"))
