"""Help pages that are complete, uniform, and not clipped at 80 columns."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typer.core import TyperCommand

from aekit.core.output import refuse_stdout
from aekit.terminal import completion, options

WIDTH = 76  # columns for an example on a terminal of 80
LONGEST_RANGE = 8  # characters of a range such as [x>=1] next to it
LONGEST_CHOICES = 12  # characters of a|b|c next to an option; longer lists go into the help text
METAVARS = {bool: "flag", int: "N", float: "X", str: "TEXT", Path: "PATH"}


class Command(TyperCommand):
    """A command that writes files, whose --help stands with the options of output; arguments show their name alone."""

    def __init__(self, *args: Any, **extra: Any) -> None:
        super().__init__(*args, **extra)
        for param in self.params:
            completion.shell_words(param)
            if param.param_type_name == "argument":
                # Beside CHECKPOINT... Typer would write <list[str]>.
                setattr(param, "display_type_rich", lambda ctx: None)  # noqa: B010
            else:
                _make_narrow(param)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, unless its result is to go to stdout."""
        refuse_stdout(ctx.params.get("output"))
        return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page; the help of an option that can be turned off names how, not a column of its own."""
        secondary = [(param, param.secondary_opts) for param in self.params]
        try:
            for param in self.params:
                param.secondary_opts = []
            super().format_help(ctx, formatter)
        finally:
            for param, names in secondary:
                param.secondary_opts = names

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option --help."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.rich_help_panel = options.OUTPUT
        return as_flag(option)


def as_flag(option: Any) -> Any:
    """Return one of Typer's own options; if it takes no value, it is shown like ours."""
    if getattr(option, "is_flag", False):
        option.metavar = METAVARS[bool]
    return option


def _make_narrow(option: Any) -> None:
    """Put into the help of an option what would widen the columns next to it, for all options of the panel."""
    if option.secondary_opts:
        option.help = f"{option.help} {'/'.join(option.secondary_opts)} turns it off."
        option.show_default = "on" if option.default else "off"
    range_text = getattr(option, "_get_number_range_help_str", lambda: None)()  # Typer's; absent from older versions
    if range_text and len(f"[{range_text}]") > LONGEST_RANGE:
        option.help = f"{option.help} Range: {range_text.replace('<=x<=', ' to ').replace('x>=', 'at least ')}."
        setattr(option, "_get_number_range_help_str", lambda: None)  # noqa: B010


def explain(command: Callable[..., Any]) -> str:
    """Return the help text of a command; its options get metavars where they have none, and name their choices.

    An option of few and short choices shows them as ``a|b|c``, one of others as NAME, with the choices at the end of
    its help unless that names them already.
    """
    # Kept, because annotations are text until they are looked up, and would be made anew for Typer.
    command.__annotations__ = get_type_hints(command, include_extras=True)
    for hint in command.__annotations__.values():
        if not isinstance(hint, type) and hasattr(hint, "__metadata__"):
            _complete(hint.__metadata__[0], _value_type(hint.__origin__))
    return help_text(command.__doc__ or "")


def _value_type(kind: Any) -> Any:
    """Return the type of an option's value without None."""
    types = [arg for arg in get_args(kind) if arg is not type(None)]
    return types[0] if len(types) < len(get_args(kind)) else kind


def _complete(info: Any, kind: Any) -> None:
    """Give what Typer knows of an option or argument a metavar, and its help the choices."""
    if get_origin(kind) is Literal:
        _name_choices(info, get_args(kind))
    elif info.metavar is None:
        info.metavar = METAVARS.get(kind)
    elif get_origin(kind) is list:
        info.metavar = info.metavar.removesuffix("...")  # Typer adds dots of its own


def help_text(docstring: str) -> str:
    """Return a docstring with a line a paragraph, for the terminal to wrap as wide as it is, and examples to copy.

    An example that would not fit in 80 columns is broken before an option or behind a pipe, with a backslash, so that
    it works as it is copied.
    """
    paragraphs = [" ".join(paragraph.split()) for paragraph in inspect.cleandoc(docstring).split("\n\n")]
    shown = [_example(text) if text.startswith("Example:") else text for text in paragraphs]
    return "\n\n".join(shown)


def _example(text: str) -> str:
    lines = [""]
    for part in re.split(r" (?=--?[a-zA-Z])|(?<=\|) ", text.removeprefix("Example:").strip()):
        if not lines[-1]:
            lines[-1] = f"  {part}"
        elif len(f"{lines[-1]} {part} \\") <= WIDTH:
            lines[-1] += f" {part}"
        else:
            lines[-1] += " \\"
            lines.append(f"    {part}")
    return "\n".join(["Example:", *lines])


def _name_choices(info: Any, choices: tuple[str, ...]) -> None:
    joined = "|".join(choices)
    if info.metavar is None:
        info.metavar = joined if len(joined) <= LONGEST_CHOICES else "NAME"
    if info.metavar != joined:
        info.help = options.with_choices(info.help, choices)
