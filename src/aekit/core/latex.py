r"""Tables for reading as LaTeX.

A table that is wider than the text of ``article`` is written as several, side by side in the data and one below the
other on the page, each with the columns that say what a row is; one that is longer than a page is a ``longtable``. The
widths are estimated from those of Computer Modern at 10 pt, rounded up.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from aekit.core.text_tables import PLUS_MINUS, TextTable
from aekit.errors import shown

_MINUS = "\u2212"
_NUMBER = re.compile(rf"[+\-{_MINUS}]?\d[\d,]*(\.(?P<decimals>\d+))?(e[+-]?\d+)?")

# Of LaTeX's article at 10 pt.
_TEXT_WIDTH = 345.0
_TEXT_HEIGHT = 480.0  # of 550, as a caption needs some
_LINE = 12.0
_GAP = 12.0  # between two columns
_BOLD = 1.17
_WIDTHS = {
    **dict.fromkeys("ijl.,:;!|'()[]{}` ", 4.0), **dict.fromkeys("mw%", 8.4), **dict.fromkeys("MWQ@&<>+=\u2212", 10.3),
    **dict.fromkeys("0123456789", 5.01), **dict.fromkeys("abcdeghknopqsuvxyz", 5.6), **dict.fromkeys("frt-/", 4.0),
}  # fmt: skip
_SPREAD_SIGN = 12.3  # of the sign between a mean and its standard deviation
_NARROWEST = 24.0  # column with lines that wrap

_GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu"),
    *("xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
    *("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"),
)
_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': '{"}',
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after a line break these two would be its argument
    "*": "{*}",
    "\u00b1": r"$\pm$",
    _MINUS: "$-$",
    "\u00d7": r"$\times$",
    **dict(zip("\u2264\u2265\u2260\u2248\u221e\u223c", (r"$\leq$", r"$\geq$", r"$\neq$", r"$\approx$", r"$\infty$",
                                                        r"$\sim$"), strict=True)),
    **{
        unicodedata.lookup(f"GREEK {'SMALL' if name.islower() else 'CAPITAL'} LETTER {name.replace('mbd', 'md')}"): (
            f"$\\{name}$"
        )
        for name in _GREEK
    },
}  # fmt: skip
# What pdflatex prints besides ASCII: with its own fonts, and with those of the encoding T1.
_NEEDS_T1 = frozenset("«»ÐÞðþĄąĐđĘęĮįŊŋŲų\u201a\u201e\u2039\u203a")
_PRINTED = frozenset(map(chr, range(0xA0, 0x180))) - frozenset("ĦħĸĿŀŉŦŧſ") | frozenset(
    "ȘșȚțǍǎǏǐǑǒǓǔǦǧǨǩ\u2010\u2011\u2012\u2013\u2014\u2015\u2018\u2019\u201c\u201d†‡•…‰€™№←↑→↓\ufffd"
)


@dataclass(frozen=True)
class _Column:
    """A column as LaTeX has it.

    Attributes:
        group: The heading above those of several columns, as text; may be empty.
        name: Its heading, as text.
        kind: Its declaration.
        span: Columns of the ``tabular`` that it is: 2 with standard deviations.
        cells: Of each row, as many as ``span``.
        width: In points, with the gap to the next.
        least: The same if its lines wrap.
        height: Lines of each row.
    """

    group: str
    name: str
    kind: str
    span: int
    cells: Sequence[Sequence[str]]
    width: float
    least: float
    height: Sequence[int]


def to_latex(table: TextTable) -> str:
    r"""Return a table, or several if it is too wide for one, that need the package ``booktabs``; notes are comments.

    Numbers are aligned at the decimal point, and a standard deviation has a column of its own. The first lines are
    comments with what the preamble needs.
    """
    texts = list(zip(*table.rows, strict=True)) if table.rows else [()] * len(table.columns)
    columns = [
        _column(heading, text, is_key=place < table.n_keys, bold=table.bold)
        for place, (heading, text) in enumerate(zip(table.columns, texts, strict=True))
    ]
    blocks = _blocks(columns, table.n_keys)
    heights = [max(lines) for lines in zip(*(column.height for column in blocks[0]), strict=True)]
    is_long = _LINE * (sum(heights) + 3) > _TEXT_HEIGHT
    lines = [r"% \usepackage{booktabs}"]
    if is_long:
        lines += [r"% \usepackage{longtable}", "% Longer than a page: not inside a table environment; compile twice."]
    if _NEEDS_T1 & set(_characters(table)):
        lines.append(r"% \usepackage[T1]{fontenc}")
    if note := font_note(table):
        lines.append(f"% {note}")
    lines += [f"% {_printable(note)}" for note in table.notes]
    for number, block in enumerate(blocks):
        lines += ["", r"\bigskip", ""] if number else []
        lines += _tabular(block, len(table.rows), table.bold, is_long=is_long)
    return "\n".join([*lines, ""])


def font_note(table: TextTable) -> str:
    """Return a line about the characters that pdflatex cannot print; empty if there are none."""
    lacking = sorted(set(_characters(table)) - _PRINTED - set(_SPECIAL) - set(map(chr, range(128))))
    if not lacking:
        return ""
    shown = " ".join(lacking[:8]) + (" and others" if len(lacking) > 8 else "")
    return f"pdflatex cannot print {shown}; compile with lualatex or xelatex and a font that has them"


def escape_latex(text: str) -> str:
    """Return a text as LaTeX prints it; line breaks are blanks."""
    escaped = "".join(_SPECIAL.get(character, character) for character in _printable(text))
    return re.sub(r"([-,])(?=\1)", r"\1{}", escaped)  # otherwise two are one dash, or one quotation mark


def _printable(text: str) -> str:
    """Return a text on one line, accents as part of their letters, and what no font has escaped."""
    return shown(" ".join(unicodedata.normalize("NFC", text).split()))


def _characters(table: TextTable) -> str:
    return _printable(" ".join([*(" ".join(column) for column in table.columns), *map(" ".join, table.rows)]))


def _column(heading: tuple[str, str], texts: Sequence[str], *, is_key: bool, bold: int | None) -> _Column:
    group, name = heading
    span = 1 if is_key or not any(map(_is_pair, texts)) else 2
    is_numeric = all(map(_is_number, texts))
    kind = "r@{}l" if span == 2 else "r" if is_numeric else "l"
    means = [text.split(PLUS_MINUS)[0] if span == 2 else text for text in texts]
    most = max(map(_n_decimals, means), default=0)
    padded = [mean + "0" * (1 + most - _n_decimals(mean)) if _NUMBER.fullmatch(mean) else mean for mean in means]
    is_pair = [span == 2 and _is_pair(text) for text in texts]
    spreads = [
        _SPREAD_SIGN + _width(text.split(PLUS_MINUS)[1]) if pair else 0
        for text, pair in zip(texts, is_pair, strict=True)
    ]
    factors = [_BOLD if row == bold else 1.0 for row in range(len(texts))]
    left = max((factor * _width(text) for factor, text in zip(factors, padded, strict=True)), default=0)
    right = max((factor * width for factor, width in zip(factors, spreads, strict=True)), default=0)
    width = max(left + right, _width(name)) + _GAP
    words = [*name.split(), *(texts if is_numeric else [])]
    least = max(_NARROWEST, *(_BOLD * _width(word) for word in words)) + _GAP
    return _Column(group, name, kind, span, list(_cells(texts, span)), width, least, [1] * len(texts))


def _blocks(columns: Sequence[_Column], n_keys: int) -> list[list[_Column]]:
    """Return the columns of each table: all in one if there is room, otherwise the keys and as many as fit."""
    keys, others = list(columns[:n_keys]), list(columns[n_keys:])
    groups = _groups(others)
    if sum(map(_group_width, _groups(columns))) <= _TEXT_WIDTH:
        return [list(columns)]
    with_group = _TEXT_WIDTH - max(map(_group_width, groups))
    is_enough = sum(min(key.width, key.least) for key in keys) <= with_group
    keys = _wrapped(keys, with_group if is_enough else _TEXT_WIDTH - max(_group_width([column]) for column in others))
    room = _TEXT_WIDTH - sum(column.width for column in keys)
    parts = [part for group in groups for part in _parts(group, room)]
    blocks: list[list[_Column]] = [[]]
    for part in parts:
        if blocks[-1] and sum(map(_group_width, _groups([*blocks[-1], *part]))) > room:
            blocks.append([])
        blocks[-1] += part
    return [[*keys, *block] for block in blocks]


def _groups(columns: Sequence[_Column]) -> list[list[_Column]]:
    return [list(members) for _, members in groupby(columns, key=lambda column: column.group)]


def _parts(group: list[_Column], room: float) -> list[list[_Column]]:
    """Return a group as a whole if it fits and belongs together, and otherwise column by column."""
    return [group] if group[0].group and _group_width(group) <= room else [[column] for column in group]


def _group_width(group: Sequence[_Column]) -> float:
    return max(sum(column.width for column in group), _width(group[0].group) + _GAP)


def _wrapped(keys: Sequence[_Column], room: float) -> list[_Column]:
    """Return the keys so that they fit: the widest have lines that wrap, all of one width."""
    if sum(key.width for key in keys) <= room:
        return list(keys)
    left, widest = room, 0.0
    for number, key in enumerate(sorted(keys, key=lambda key: key.width)):
        widest = left / (len(keys) - number)
        if key.width > widest:
            break
        left -= key.width
    return [_wrap(key, max(widest, key.least) - _GAP) if key.width > widest else key for key in keys]


def _wrap(key: _Column, width: float) -> _Column:
    texts = [cell if key.kind == "r" else _breakable(cell) for (cell,) in key.cells]
    cells = [[rf"\raggedright\hspace{{0pt}}{text}" if text else ""] for text in texts]
    height = [math.ceil(1.15 * (key.width - _GAP) / width) + 1 if cell else 1 for (cell,) in key.cells]
    return replace(key, kind=f"p{{{width:.0f}pt}}", cells=cells, width=width + _GAP, height=height)


def _breakable(cell: str) -> str:
    r"""Return a cell of LaTeX whose long names may break after the characters that join their parts."""
    return re.sub(r"(\\_|[/.:=-](?=\w))", r"\1\\allowbreak{}", cell)


def _tabular(columns: Sequence[_Column], n_rows: int, bold: int | None, *, is_long: bool) -> Iterator[str]:
    name = "longtable" if is_long else "tabular"
    yield rf"\begin{{{name}}}{{{''.join(column.kind for column in columns)}}}"
    yield r"\toprule"
    yield from _heading(columns)
    yield r"\midrule"
    if is_long:
        yield r"\endhead"
        yield r"\bottomrule"
        yield r"\endfoot"
    for number in range(n_rows):
        parts = [part for column in columns for part in column.cells[number]]
        if number == bold:
            parts = [rf"\textbf{{{part}}}" if part else "" for part in parts]
        yield rf"{' & '.join(parts)} \\"
    if not is_long:
        yield r"\bottomrule"
    yield rf"\end{{{name}}}"


def _heading(columns: Sequence[_Column]) -> Iterator[str]:
    """Yield the line of groups, if there are any, with a rule below each, and that of the columns."""
    groups, rules, place = list[str](), list[str](), 1
    for members in _groups(columns):
        n, group = sum(member.span for member in members), members[0].group
        groups.append(rf"\multicolumn{{{n}}}{{c}}{{{escape_latex(group)}}}" if group else " & " * (n - 1))
        rules += [rf"\cmidrule(lr){{{place}-{place + n - 1}}}"] if group else []
        place += n
    if rules:
        yield rf"{' & '.join(groups)} \\"
        yield "".join(rules)
    yield rf"{' & '.join(map(_name, columns))} \\"


def _name(column: _Column) -> str:
    name, is_wrapped = escape_latex(column.name), column.kind.startswith("p")
    text = rf"\raggedright {name}" if is_wrapped else name
    return rf"\multicolumn{{{column.span}}}{{{'c' if column.span == 2 else column.kind}}}{{{text}}}"


def _cells(texts: Sequence[str], span: int) -> Iterator[list[str]]:
    """Yield what each cell of a column is: a text, or a mean and its standard deviation."""
    means = [text.split(PLUS_MINUS)[0] if span == 2 else text for text in texts]
    most = max((_n_decimals(mean) for mean in means), default=0)
    for whole, mean in zip(texts, means, strict=True):
        text = escape_latex(mean)
        if _NUMBER.fullmatch(mean) and "e" not in mean:
            text = text.replace("+", "$+$").replace("-", "$-$") if "$" not in text else text
            text += _padding(most - _n_decimals(mean), has_point="." in mean)
        spread = rf"${{}}\pm {whole.split(PLUS_MINUS)[1]}$" if _is_pair(whole) else ""
        yield [text, spread] if span == 2 else [text]


def _is_pair(cell: str) -> bool:
    mean, sign, spread = cell.partition(PLUS_MINUS)
    return bool(sign and _NUMBER.fullmatch(mean) and _NUMBER.fullmatch(spread))


def _is_number(cell: str) -> bool:
    return not cell or _is_pair(cell) or bool(_NUMBER.fullmatch(cell))


def _n_decimals(text: str) -> int:
    match = _NUMBER.fullmatch(text)
    return len(match["decimals"] or "") if match else 0


def _padding(n_missing: int, *, has_point: bool) -> str:
    """Return what is as wide as the digits that a number has less than the others of its column."""
    return rf"\phantom{{{'' if has_point else '.'}{'0' * n_missing}}}" if n_missing else ""


def _width(text: str) -> float:
    """Return the width of a text in points, rounded up."""
    return sum(_WIDTHS.get(character, 8.0) for character in text)
