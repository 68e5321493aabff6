"""Tables for reading, in Markdown and in LaTeX; standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

TableFormat = Literal["csv", "md", "tex"]

PLUS_MINUS = " \u00b1 "  # between a mean and its standard deviation
_MINUS = "\u2212"
_NUMBER = re.compile(rf"[+\-{_MINUS}]?\d[\d,]*(\.(?P<decimals>\d+))?(e[+-]?\d+)?")
_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': '{"}',
    "[": "{[}",  # after a line break these two would be its argument
    "*": "{*}",
    "\u00b1": r"$\pm$",
    _MINUS: "$-$",
    "\u00d7": r"$\times$",
}


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
        return f"{text}\n{chr(10).join(self.notes)}\n" if self.notes else text

    def to_latex(self) -> str:
        r"""Return a ``tabular`` that needs the package ``booktabs``; its notes are comments.

        Numbers are aligned at the decimal point, and a standard deviation has a column of its own.
        """
        cells = list(zip(*self.rows, strict=True)) if self.rows else [()] * len(self.columns)
        is_key = [place < self.n_keys for place in range(len(self.columns))]
        spans = [1 if key or not any(map(_is_pair, column)) else 2 for key, column in zip(is_key, cells, strict=True)]
        single = ["r" if all(map(_is_number, column)) else "l" for column in cells]
        kinds = ["r@{}l" if span == 2 else kind for span, kind in zip(spans, single, strict=True)]
        written = [list(_latex_cells(column, span)) for column, span in zip(cells, spans, strict=True)]
        lines = [r"% \usepackage{booktabs}", *(f"% {' '.join(note.split())}" for note in self.notes)]
        lines += [rf"\begin{{tabular}}{{{''.join(kinds)}}}", r"\toprule", *_latex_heading(self.columns, spans, kinds)]
        lines.append(r"\midrule")
        for number, row in enumerate(zip(*written, strict=True)):
            parts = [part for cell in row for part in cell]
            bold = [rf"\textbf{{{part}}}" if part else "" for part in parts]
            lines.append(rf"{' & '.join(bold if number == self.bold else parts)} \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def escape_latex(text: str) -> str:
    """Return a text as LaTeX prints it; line breaks are blanks."""
    return "".join(_SPECIAL.get(character, character) for character in " ".join(text.split()))


def _plain(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")


def _is_pair(cell: str) -> bool:
    return PLUS_MINUS in cell


def _is_number(cell: str) -> bool:
    return not cell or all(_NUMBER.fullmatch(part) for part in cell.split(PLUS_MINUS))


def _latex_heading(columns: Sequence[tuple[str, str]], spans: Sequence[int], kinds: Sequence[str]) -> Iterator[str]:
    """Yield the line of groups, if there are any, with a rule below each, and that of the columns."""
    groups, rules, place = list[str](), list[str](), 1
    for group, members in groupby(range(len(columns)), key=lambda number: columns[number][0]):
        n = sum(spans[member] for member in members)
        groups.append(rf"\multicolumn{{{n}}}{{c}}{{{escape_latex(group)}}}" if group else " & " * (n - 1))
        rules += [rf"\cmidrule(lr){{{place}-{place + n - 1}}}"] if group else []
        place += n
    if rules:
        yield rf"{' & '.join(groups)} \\"
        yield "".join(rules)
    names = [
        rf"\multicolumn{{{span}}}{{{'c' if span == 2 else kind}}}{{{escape_latex(name)}}}"
        for (_, name), span, kind in zip(columns, spans, kinds, strict=True)
    ]
    yield rf"{' & '.join(names)} \\"


def _latex_cells(column: Sequence[str], span: int) -> Iterator[list[str]]:
    """Yield what each cell of a column is: a text, or a mean and its standard deviation."""
    means = [cell.split(PLUS_MINUS)[0] for cell in column]
    most = max((_n_decimals(mean) for mean in means), default=0)
    for cell, mean in zip(column, means, strict=True):
        text = escape_latex(mean)
        if _NUMBER.fullmatch(mean) and "e" not in mean:
            text = text.replace("+", "$+$").replace("-", "$-$") if "$" not in text else text
            text += _padding(most - _n_decimals(mean), has_point="." in mean)
        spread = rf"${{}}\pm {cell.split(PLUS_MINUS)[1]}$" if _is_pair(cell) else ""
        yield [text, spread] if span == 2 else [text]


def _n_decimals(text: str) -> int:
    match = _NUMBER.fullmatch(text)
    return len(match["decimals"] or "") if match else 0


def _padding(n_missing: int, *, has_point: bool) -> str:
    """Return what is as wide as the digits that a number has less than the others of its column."""
    return rf"\phantom{{{'' if has_point else '.'}{'0' * n_missing}}}" if n_missing else ""
