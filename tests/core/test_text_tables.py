r"""Tables for reading: what LaTeX would print is what was given, and every row fills the same columns."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from aekit.core.text_tables import TextTable, escape_latex

# A reader of LaTeX for what such tables are made of, written from LaTeX's rules and not from the writer.
_COMMANDS = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">",
    "textbar": "|",
}  # fmt: skip
_MEANS = {"name": _COMMANDS, "math": {"pm": "\u00b1", "times": "\u00d7"}, "sign": {"-": "\u2212"}}
_TOKEN = re.compile(
    r"\\(?P<name>[a-z]+)\{\}|\\(?P<symbol>[&%$#_{}])|\$\\(?P<math>pm|times)\$|\$(?P<sign>[-+])\$|\{(?P<group>[\[*\"])\}"
    r"|(?P<plain>[^\\&%$#_{}~^])"
)


def _printed(text):
    """Return what LaTeX prints of a text; anything else than printed characters raises."""
    out, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        assert match, f"LaTeX would not print {text[place:]!r}"
        kind = match.lastgroup
        value = match[kind]
        out.append(_MEANS.get(kind, {}).get(value, value))
        place = match.end()
    return "".join(out)


def _cells(line):
    """Return the cells of a line, and how many columns of the tabular they span."""
    assert line.endswith(r" \\")
    cells = re.split(r"(?<!\\) ?& ?", line.removesuffix(r" \\"))
    spans = [int(match[1]) if (match := re.match(r"\\multicolumn\{(\d+)\}", cell)) else 1 for cell in cells]
    return cells, sum(spans)


def _lines(text):
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    assert lines[0].startswith(r"\begin{tabular}{")
    assert lines[-1] == r"\end{tabular}"
    assert text.replace(r"\{", "").replace(r"\}", "").count("{") == text.replace(r"\{", "").replace(r"\}", "").count(
        "}"
    )
    return lines


@given(st.text(st.sampled_from('ab 1.-&%$#_{}~^\\<>|"[]*\u00b1\u00d7\u2212é')))
def test_what_is_printed_is_the_text(text):
    assert _printed(escape_latex(text)) == " ".join(text.split())


CELLS = ["", "1.5", "-2", "\u22120.25", "+3.125", "1,250.5 ± 0.5", "12 ± 3", "x_1 & y"]


@given(st.lists(st.sampled_from(CELLS), min_size=2, max_size=6), st.integers(1, 2), st.sampled_from([None, 0]))
def test_every_line_fills_the_columns_that_are_declared(row, n_keys, bold):
    n_keys = min(n_keys, len(row) - 1)
    columns = [("", f"k_{number}") if number < n_keys else ("a%b", f"c{number}") for number in range(len(row))]
    lines = _lines(TextTable(columns, [row, row[::-1]], n_keys, ["50 %\n"], bold).to_latex())
    spec = re.fullmatch(r"\\begin\{tabular\}\{(.*)\}", lines[0])[1]
    n_columns = len(spec.replace("@{}", ""))
    assert [_cells(line)[1] for line in lines if line.endswith(r"\\")] == [n_columns] * 4


def test_numbers_are_padded_to_the_decimals_of_their_column_and_errors_have_their_own():
    table = TextTable([("", "beta"), ("", "KL")], [["0.1", "12.50 ± 0.25"], ["10", "7.5"], ["1", ""]], 1)
    body = [_cells(line)[0] for line in _lines(table.to_latex())[4:-2]]
    assert body == [
        ["0.1", "12.50", r"${}\pm 0.25$"],
        [r"10\phantom{.0}", r"7.5\phantom{0}", ""],
        [r"1\phantom{.0}", "", ""],
    ]


def test_a_comment_is_one_line_whatever_it_holds():
    text = TextTable([("", "a"), ("", "b")], [["x", "1"]], 1, ["one\nof two\r\\end{document}"]).to_latex()
    assert next(line for line in text.splitlines() if not line.startswith("%")).startswith(r"\begin{tabular}")
    assert len([line for line in text.splitlines() if line.startswith("%")]) == 2


def test_markdown_has_groups_in_headings_and_pipes_escaped():
    table = TextTable([("", "a|b"), ("test", "KL")], [["x", "1 ± 2"], ["y", ""]], 1, ["below"], bold=0)
    assert table.to_markdown() == ("| a\\|b | test KL |\n| --- | ---: |\n| **x** | **1 ± 2** |\n| y |  |\n\nbelow\n")
