"""Which rows of a table are meant: expressions such as ``diagnosis=control``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aekit.errors import UsageError


@dataclass(frozen=True)
class Expression:
    """Rows whose column has, or has not, one of some values.

    Attributes:
        column: Name of the column.
        values: As they are written in the table.
        negated: Whether the rows with other values are meant.
        text: The expression as it was given.
    """

    column: str
    values: tuple[str, ...]
    negated: bool
    text: str


def parse_expression(text: str, option: str) -> Expression:
    """Return an expression: ``column=value``, ``column=value,value`` or ``column!=value``.

    Args:
        text: As it was given.
        option: The option that it was given to, for messages.

    Raises:
        UsageError: It is something else.
    """
    match = re.fullmatch(r"\s*([^=!]+?)\s*(!?=)=?\s*(.+?)\s*", text)
    values = tuple(dict.fromkeys(value.strip() for value in match[3].split(",") if value.strip())) if match else ()
    if match is None or not values:
        raise UsageError(
            f"{option}: {text!r} is not column=value; write it as 'diagnosis=control', 'diagnosis=control,sibling' or "
            "'diagnosis!=patient', in quotes"
        )
    return Expression(match[1], values, match[2] == "!=", text.strip())
