r"""Tables in LaTeX: what would be printed is what was given, every row fills the same columns, and all of it fits."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aekit.core.latex import escape_latex, font_note, to_latex
from aekit.core.text_tables import TextTable

# A reader of LaTeX for what such tables are made of, written from LaTeX's rules and not from the writer.
_COMMANDS = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">",
    "textbar": "|", "textquotesingle": "'", "textasciigrave": "`", "-": "-",
}  # fmt: skip
_MEANS = {"name": _COMMANDS, "math": {"pm": "\u00b1", "times": "\u00d7"}, "sign": {"-": "\u2212"}}
_TOKEN = re.compile(
    r"(?P<dash>-)\{\}|\\(?P<name>[a-z]+)\{\}|\\(?P<symbol>[&%$#_{}])|\$\\(?P<math>pm|times)\$|\$(?P<sign>[-+])\$|\{(?P<group>[\[*\"])\}"
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


@given(st.text(st.sampled_from("ab 1.-&%$#_{}~^\\<>|\"[]*'`\u00b1\u00d7\u2212é")))
def test_what_is_printed_is_the_text(text):
    assert _printed(escape_latex(text)) == " ".join(text.split())


CELLS = ["", "1.5", "-2", "\u22120.25", "+3.125", "1,250.5 ± 0.5", "12 ± 3", "x_1 & y"]


@given(st.lists(st.sampled_from(CELLS), min_size=2, max_size=6), st.integers(1, 2), st.sampled_from([None, 0]))
def test_every_line_fills_the_columns_that_are_declared(row, n_keys, bold):
    n_keys = min(n_keys, len(row) - 1)
    columns = [("", f"k_{number}") if number < n_keys else ("a%b", f"c{number}") for number in range(len(row))]
    text = to_latex(TextTable(columns, [row, row[::-1]], n_keys, ["50 %\n"], bold))
    tables = text.split(r"\bigskip")
    for part in tables:
        lines = _lines(part.strip())
        spec = re.fullmatch(r"\\begin\{tabular\}\{(.*)\}", lines[0])[1]
        n_columns = len(re.sub(r"\{.*?\}", "", spec.replace("@{}", "")))
        assert [_cells(line)[1] for line in lines if line.endswith(r"\\")] == [n_columns] * 4
    for number in range(n_keys):  # the keys are in each, a measure in one
        assert text.count(rf"k\_{number}") == len(tables)
    assert [len(re.findall(rf"\{{c{number}\}}", text)) for number in range(n_keys, len(row))] == [1] * (
        len(row) - n_keys
    )


def test_numbers_are_padded_to_the_decimals_of_their_column_and_errors_have_their_own():
    table = TextTable([("", "beta"), ("", "KL")], [["0.1", "12.50 ± 0.25"], ["10", "7.5"], ["1", ""]], 1)
    body = [_cells(line)[0] for line in _lines(to_latex(table))[4:-2]]
    assert body == [
        ["0.1", "12.50", r"${}\pm 0.25$"],
        [r"10\phantom{.0}", r"7.5\phantom{0}", ""],
        [r"1\phantom{.0}", "", ""],
    ]


def test_a_comment_is_one_line_whatever_it_holds():
    text = to_latex(TextTable([("", "a"), ("", "b")], [["x", "1"]], 1, ["one\nof two\r\\end{document}"]))
    assert next(line for line in text.splitlines() if not line.startswith("%")).startswith(r"\begin{tabular}")
    assert len([line for line in text.splitlines() if line.startswith("%")]) == 2


def test_two_dashes_or_commas_stay_two():
    assert escape_latex("a--b---c,,d") == "a-{}-b-{}-{}-c,{},d"


def test_letters_of_greek_are_those_of_mathematics_and_accents_belong_to_their_letters():
    assert escape_latex("\u03b2 \u2264 e\u0301") == "$\\beta$ $\\leq$ \u00e9"


def test_what_pdflatex_cannot_print_is_named():
    table = TextTable([("", "a"), ("", "b")], [["\u732b \u03b2 \u00e9 \u0105", "1"]], 1)
    assert font_note(table).startswith("pdflatex cannot print \u732b; ")
    assert r"% \usepackage[T1]{fontenc}" in to_latex(table).splitlines()
    assert font_note(TextTable([("", "a")], [["plain"]], 1)) == ""


def test_a_table_longer_than_a_page_breaks_between_pages():
    def lines(n_rows):
        return to_latex(TextTable([("", "a"), ("", "b")], [["x", "1"]] * n_rows, 1)).splitlines()

    assert r"\begin{longtable}{lr}" in lines(60)
    assert r"% \usepackage{longtable}" in lines(60)
    assert r"\begin{tabular}{lr}" in lines(20)


NASTY = [
    "a_b%c&d#e", "~home^2\\x", "{x}[1]", "*star", "$5 \"q\" 'r' `s`", "--a---b", "\u0104\u017e\u0119\u0111",
    "\u03b1\u03b2 \u2264 3", "a|b<c>", "e\u0301", "bell\x07 \udcff", "runs/a_long_folder/" * 8, "word " * 30,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
@pytest.mark.parametrize("n_rows", [13, 60])
@pytest.mark.parametrize("n_measures", [1, 9])
def test_pdflatex_compiles_nasty_names_on_the_page(tmp_path, n_rows, n_measures):
    columns = [("", "k_1"), ("", "batch size")]
    columns += [("a%b", f"measure {n}") if n % 3 else ("", f"#m{n}") for n in range(n_measures)]
    rows = [[NASTY[n % 13], "128", *["1.5 \u00b1 0.25", "\u22122", "1e-5"][: n_measures], *["3"] * (n_measures - 3)]
            for n in range(n_rows)]  # fmt: skip
    text = to_latex(TextTable(columns, rows, 2, ["100 % of a\\b"], 2))
    preamble = re.findall(r"^% (\\usepackage.*)$", text, re.MULTILINE)
    if subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).returncode:
        preamble[0] = r"\newcommand{\toprule}{\hline}\newcommand{\midrule}{\hline}\newcommand{\bottomrule}{\hline}"
        preamble[0] += r"\def\cmidrule(lr)#1{\cline{#1}}"
    (tmp_path / "table.tex").write_text(text)
    begin, end = (r"\begin{document}", r"\end{document}")
    (tmp_path / "main.tex").write_text(
        "\n".join([r"\documentclass{article}", *preamble, begin, r"\noindent\input{table}", end])
    )
    for _ in range(2):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "main.tex"], cwd=tmp_path, capture_output=True, check=False
        )
    said = done.stdout.decode("latin-1")
    assert done.returncode == 0, said
    assert "Overfull" not in said, said
    assert "Missing character" not in said, said
