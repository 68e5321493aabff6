"""Tables that fit the terminal: where there is no room for all columns side by side, they follow in blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from aekit.errors import shown

if TYPE_CHECKING:
    from rich.table import Table

_PROSE = 24  # characters; a column of texts that has longer ones is read from the left
_KEYS = 3  # leading columns that may be repeated in every block, to tell its rows apart


def build_tables(columns: Sequence[str], rows: Sequence[Sequence[object]], width: int) -> Iterator[Table]:
    """Yield tables that together have every column, each at most ``width`` characters wide, with no number cut short.

    One table has all columns if they fit; headings are broken between words where that helps. If they do not fit, the
    first columns, as many as tell the rows apart, are repeated in front of the others.

    Args:
        columns: Headings; the first column and those of sentences are aligned left, the others right.
        rows: A cell per column; floats are shown with four significant digits, None as nothing.
        width: Characters per line.
    """
    headings = [shown(column) for column in columns]
    cells = [[shown(_cell(value)) for value in row] for row in rows]
    full = [
        max(map(_length, [heading, *column]))
        for heading, column in zip(headings, _columns(cells, headings), strict=True)
    ]
    if _total(full) <= width:
        yield _build(headings, cells, range(len(headings)), full)
        return
    # A heading needs the room of its longest word only.
    narrow = [
        max(map(_length, [*heading.split(), *column, ""]))
        for heading, column in zip(headings, _columns(cells, headings), strict=True)
    ]
    if _total(narrow) <= width:
        yield _build(headings, cells, range(len(headings)), _widen(narrow, full, width))
        return
    least = [max(map(_length, [*_parts(heading), ""])) for heading in headings]
    for block, widths in _blocks(narrow, least, _n_keys(cells, narrow, width), width):
        yield _build(headings, cells, block, widths)


def _widen(narrow: list[int], full: Sequence[int], width: int) -> list[int]:
    """Return widths that take the room that is left, for headings of fewer lines."""
    widths = list(narrow)
    for _ in range(width - _total(narrow)):
        number = max(range(len(widths)), key=lambda each: full[each] / max(widths[each], 1))
        widths[number] += 1 if widths[number] < full[number] else 0
    return widths


def _columns(cells: Sequence[Sequence[str]], headings: Sequence[str]) -> list[list[str]]:
    return [[row[number] for row in cells] for number in range(len(headings))]


def _length(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _total(widths: Sequence[int]) -> int:
    """Return the width of a table: a column has a space on either side, and a character between it and the next."""
    return sum(widths) + 3 * len(widths) + 1


def _n_keys(cells: Sequence[Sequence[str]], widths: Sequence[int], width: int) -> int:
    """Return the number of leading columns that tell the rows apart, if they leave half of the line free."""
    for n in range(1, min(_KEYS, len(widths) - 1) + 1):
        if len({tuple(row[:n]) for row in cells}) == len(cells):
            return n if _total(widths[:n]) <= width // 2 else 1
    return 1


def _blocks(widths: list[int], least: Sequence[int], n_keys: int, width: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the columns of each block, and their widths, which are at least those of the words of their headings."""
    keys = list(range(n_keys))
    if _total(widths[:n_keys]) > width // 2:  # one long name: it is folded
        widths[0] = max(1, width // 2 - 4)
    missing = max(least[n_keys:], default=0) - (width - _total(widths[:n_keys]) - 3)
    widths[0] = max(least[0], widths[0] - max(0, missing))
    block = keys
    for number in range(n_keys, len(widths)):
        widths[number] = min(widths[number], max(1, width - _total(widths[:n_keys]) - 3))
        if block != keys and _total([widths[each] for each in [*block, number]]) > width:
            yield block, [widths[each] for each in block]
            block = keys
        block = [*block, number]
    yield block, [widths[each] for each in block]


def _build(
    headings: Sequence[str], cells: Sequence[Sequence[str]], block: Sequence[int], widths: Sequence[int]
) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for number, wide in zip(block, widths, strict=True):
        is_prose = any(_length(row[number]) > _PROSE for row in cells) and all(
            row[number][:1].isalpha() for row in cells if row[number]
        )
        justify = "left" if is_prose or not number else "right"
        heading = _broken(headings[number], wide)
        table.add_column(escape(heading), justify=justify, width=wide, overflow="fold")  # type: ignore[arg-type]
    for row in cells:
        table.add_row(*(escape(row[number]) for number in block))
    return table


def _parts(heading: str) -> list[str]:
    """Return what stays on one line of a heading: its words, and those with underscores in parts."""
    return re.findall(r"[^\s_]*_+|[^\s_]+", heading)


def _broken(heading: str, width: int) -> str:
    """Return a heading with a line break after underscores in words that are wider than the column."""
    lines: list[str] = []
    for word in heading.split(" "):
        line = ""
        for part in _parts(word) if _length(word) > width else [word]:
            if line and _length(line + part) > width:
                lines.append(line + "\n")
                line = ""
            line += part
        lines.append(line + " ")
    return "".join(lines).rstrip(" ")


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
