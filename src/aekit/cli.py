"""The list of commands; what goes wrong becomes one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import io
import os
import re
import signal
import sys
from collections.abc import Iterator, MutableMapping
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from aekit import __version__
from aekit.core.environment import n_processes, spin_briefly
from aekit.core.launch import follow_parent
from aekit.errors import AekitError, Stopped, UsageError, nearest
from aekit.terminal.help_page import Command, as_flag, explain
from aekit.terminal.signals import terminate
from aekit.terminal.streams import StdoutError, open_streams, say


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn errors that a user can fix into one line on stderr and an exit code."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # while a failure can still be reported; at exit Python would print its own message
    except AekitError as error:
        say(f"aekit: {error}")
        raise typer.Exit(2 if isinstance(error, UsageError) else 1) from error
    except Stopped as stopped:
        say(f"aekit: {stopped}")
        raise typer.Exit(128 + stopped.signal_number) from stopped
    except KeyboardInterrupt as interrupt:
        say(f"aekit: {str(interrupt) or 'interrupted'}")
        raise typer.Exit(130) from interrupt
    except BrokenPipeError as error:
        _give_up_stdout()  # its reader has gone, as in `aekit ... | head -1`
        raise typer.Exit(0) from error
    except SystemExit as end:
        # This is how rich, which prints the help, reports that its reader has gone.
        if isinstance(end.__context__, BrokenPipeError):
            raise typer.Exit(0) from end
        if end.code == 128 + signal.SIGTERM:
            say("aekit: terminated")
        raise
    except StdoutError as error:
        _give_up_stdout()
        say(f"aekit: stdout: cannot be written ({error.strerror}); free some space; the result files are complete")
        raise typer.Exit(1) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        say(f"aekit: {error.filename}: is too long for a file name; choose a shorter one")
        raise typer.Exit(1) from error
    except Exception as error:
        if (code := _say_error(error)) is None:
            raise
        raise typer.Exit(code) from error


def _say_error(error: Exception) -> int | None:
    """Say in one line that memory is missing, or what is wrong with the words of a command; return the exit code.

    None, with nothing said, is another error.
    """
    if _is_out_of_memory(error):
        say(
            "aekit: out of memory; use fewer samples, components or images per step (--batch-size), smaller images or "
            "fewer of them (--limit)"
        )
        return 1
    if not hasattr(error, "format_message") or getattr(error, "exit_code", None) != 2:
        return None
    # A usage error. Typer has carried its own copy of click since 0.26, so the type cannot be named for all.
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "aekit")
    text = _usage_error(error, getattr(context, "command", None))
    say(f"{command}: {text}{' See' if text.endswith('?') else '; see'} {command} --help")
    return 2


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether memory could not be had: by Python, NumPy, torch on a CPU, or a GPU, without importing torch."""
    is_of_gpu = type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, MemoryError) or is_of_gpu or "can't allocate memory" in str(error)


def _give_up_stdout() -> None:
    """Redirect stdout to the null device, as Python would complain when it flushes it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage_error(error: Any, command: Any) -> str:
    """Return a usage error as one line that names the choice most like the one that is not there."""
    text = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    if match := re.search(r"'([^']*)' is not one of (.*)", text):
        text += nearest(match[1], re.findall(r"'([^']*)'", match[2]))
    elif match := re.match(r"No such option: (\S+)", text):
        options = [name for option in command.params for name in option.opts] if command else []
        text = match[0] + nearest(match[1], options)
    elif match := re.search(r"Input should be a valid (integer|number).*", text):
        cause: Any = error.__cause__  # pydantic's error, if there is one
        given = cause.errors()[0].get("input") if hasattr(cause, "errors") else None
        kind = "a whole number" if match[1] == "integer" else "a number"
        text = text.replace(match[0], f"{given!r} is not {kind}" if given is not None else f"not {kind}")
    return text


COMMANDS = (
    "train-ae",
    "train-vae",
    "sweep",
    "reconstruct",
    "sample",
    "samples-quality",
    "interpolate",
    "encode",
    "decode",
    "evaluate",
    "decorrelation",
    "disentangle",
    "compare-codes",
    "neighbours",
    "outliers",
    "pca-compare",
    "tsne",
    "explore",
    "probe",
    "compare",
    "export",
    "mri-eda",
    "mri-train",
    "mri-predict",
    "mri-associate",
    "mri-explain",
    "mri-phantom",
    "report",
    "reproduce",
    "info",
    "data",
)  # each is a function of the same name in aekit.commands, in the order of --help
SHARED = ("train-ae", "train-vae")  # what several processes can do together


@functools.cache
def _command(name: str) -> Any:
    """Return a command, made of the function of its name."""
    module = importlib.import_module(f"aekit.commands.{name.replace('-', '_')}")
    function = getattr(module, name.replace("-", "_"))
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    alone.command(name, cls=Command, help=explain(function))(function)
    return typer.main.get_command(alone)


class Commands(TyperGroup):
    """The group of all commands, with aekit's manner of failing.

    A command is imported when it is asked for: to import all and to read their signatures takes longer than most of
    what they refuse.
    """

    @property
    def commands(self) -> MutableMapping[str, Any]:
        """All commands by name."""
        return {name: _command(name) for name in COMMANDS}

    @commands.setter
    def commands(self, commands: Any) -> None:
        if commands:
            raise ValueError("commands are listed in COMMANDS")

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name, or None."""
        return _command(cmd_name) if cmd_name in COMMANDS else None

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_params(self, ctx: Any) -> Any:
        """Return the options of aekit itself."""
        return [as_flag(option) for option in super().get_params(ctx)]

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Return the context of the whole command line."""
        with _one_line_errors():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _one_line_errors():
            return super().invoke(ctx)


app = typer.Typer(
    name="aekit",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Single-purpose commands for representation learning with autoencoders. They read and write .safetensors "
    "checkpoints, PNG and CSV, print the paths of the files they write, and so chain in pipelines and Makefiles.",
    epilog="Exit codes: 0 success; 1 an error you can fix, in one line on stderr; 2 an invalid command line; 130 "
    "Ctrl-C and 143 SIGTERM, after the state of a training was saved.\n\n"
    "Environment: AEKIT_DATA is the folder of the known data sets, AEKIT_CACHE the folder of prepared images and "
    "volumes; NO_COLOR turns colours off.\n\n"
    "aekit COMMAND --help explains a command and all of its options.",
)


@app.callback(invoke_without_command=True)
def _aekit(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"aekit {__version__}")  # noqa: T201
        raise typer.Exit
    if n_processes() > 1 and ctx.invoked_subcommand not in SHARED:
        raise AekitError(
            f"{ctx.invoked_subcommand or 'aekit'}: runs in one process, but WORLD_SIZE is {n_processes()}; "
            f"torchrun is for {' and '.join(SHARED)}"
        )
    if ctx.invoked_subcommand not in SHARED:  # these do so themselves
        follow_parent()
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())  # noqa: T201
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    # Batch schedulers send SIGTERM: the stack must unwind, so that no temporary file stays behind.
    signal.signal(signal.SIGTERM, terminate)
    spin_briefly()  # for this process and those that it starts
    open_streams()
    for stream in (sys.stdin, sys.stdout):  # paths are bytes, of which not all are text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")
    try:
        app()
    except KeyboardInterrupt:  # another Ctrl-C while the first one was being reported
        sys.exit(130)
    finally:
        # The files are written and the message is printed. Only Python's own shutdown is left, which a signal would not
        # shorten but fill with tracebacks.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
