"""Tables for reading, and their form in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aekit.errors import shown

TableFormat = Literal["csv", "md", "tex"]

PLUS_MINUS = " \u00b1 "  # between a mean and its standard deviation


@dataclass(frozen=True)
class TextTable:
    """A table of texts.

    Attributes:
        columns: Headings, each with the group that it belongs to, which may be empty.
        rows: A text per column; ``mean ± sd`` is a pair of numbers.
        n_keys: The first columns, which say what a row is; the others are numbers.
        notes: What belongs below the table, a line each.
        bold: The row that stands out; None if none does.
    """

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str]]
    n_keys: int
    notes: Sequence[str] = ()
    bold: int | None = None

    def to_markdown(self) -> str:
        """Return the table with a line per row, its notes below."""
        heading = [" ".join(filter(None, column)) for column in self.columns]
        rule = ["---"] * self.n_keys + ["---:"] * (len(heading) - self.n_keys)
        rows = [
            [f"**{cell}**" if cell and number == self.bold else cell for cell in map(_plain, row)]
            for number, row in enumerate(self.rows)
        ]
        lines = [[_plain(name) for name in heading], rule, *rows]
        text = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
        return f"{text}\n{chr(10).join(map(shown, self.notes))}\n" if self.notes else text


def _plain(cell: str) -> str:
    return shown(" ".join(cell.split())).replace("|", "\\|")
