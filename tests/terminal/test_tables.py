"""Tables on a narrow terminal keep every digit and every word."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from aekit.terminal.tables import build_tables

PCA_COMPARE = ["model", "latent", "runs", "MSE", "PCA", "PCA clipped", "ratio", "ratio clipped", "explained"]


def _print(columns, rows, width=80):
    console = Console(file=io.StringIO(), force_terminal=True, no_color=True, width=width)
    for table in build_tables(columns, rows, width):
        console.print(table)
    text = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    return text


def _rows(n_columns, n_rows=3):
    return [
        [f"vae conv, beta {row}", *(0.03912 + column + row / 10 for column in range(n_columns - 1))]
        for row in range(n_rows)
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 240])
def test_no_digit_is_lost_and_no_heading_is_broken_within_a_word(width):
    rows = _rows(len(PCA_COMPARE))
    words = _print(PCA_COMPARE, rows, width).split()
    for heading in PCA_COMPARE:
        assert set(heading.split()) <= set(words)
    for row in rows:
        assert {f"{value:.4g}" for value in row[1:]} <= set(words)


def test_a_table_that_fits_is_one_and_its_headings_are_whole():
    lines = _print(["name", "mean error"], [["a", 0.5], ["b", None]]).splitlines()
    assert [line.split() for line in lines if line.strip(" ─")] == [["name", "mean", "error"], ["a", "0.5"], ["b"]]


def test_headings_are_broken_between_words_before_columns_are():
    columns = ["curve", *["seeds with an elbow at"] * 5]
    text = _print(columns, [["vae", *range(5)]])
    assert text.count("curve") == 1
    assert text.count("elbow") == 5


def test_every_block_repeats_what_tells_its_rows_apart():
    columns = ["model", "latent", *(f"measure{number}" for number in range(12))]
    rows = [["vae conv", latent, *(latent + number / 8 for number in range(12))] for latent in (2, 10)]
    blocks = _print(columns, rows).split("model")[1:]
    assert len(blocks) > 1
    for block in blocks:
        assert [line.split()[:3] for line in block.splitlines() if "vae" in line] == [
            ["vae", "conv", "2"],
            ["vae", "conv", "10"],
        ]


def test_a_name_that_is_longer_than_the_line_is_folded_not_cut():
    name = "a-checkpoint-of-a-very-long-name-" * 4
    text = _print(["checkpoint", "MSE", "PSNR"], [[name, 0.03912, 14.07]])
    assert "0.03912" in text
    assert "14.07" in text
    assert "".join(line.split()[0] for line in text.splitlines() if "-" in line and "─" not in line) == name


WORDS = [
    "checkpoint",
    "model",
    "latent",
    "standard",
    "error",
    "reconstruction",
    "test_reconstruction",
    "ssim",
    "PSNR",
    "difference",
    "validation_images",
    "participation",
    "active_units",
    "weighted",
    "bound",
    "(unnormalised)",
    "ours",
    "of",
]


@given(
    width=st.integers(40, 120),
    columns=st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join), min_size=1, max_size=12),
    name=st.sampled_from([3, 20, 45, 90]).map(lambda n: "ab-" * n),
    cell=st.sampled_from([0.123456, 12, None, "94.52 ± 0.27", "a cell of words"]),
)
@settings(max_examples=30, deadline=None)
def test_no_heading_is_broken_but_between_words_and_after_underscores(width, columns, name, cell):
    rows = [[f"{name}{number}", *[cell] * (len(columns) - 1)] for number in range(2)]
    printed = set(_print(columns, rows, width).split())
    for word in (word for heading in columns for word in heading.split()):
        parts = re.findall(r"[^_]*_|[^_]+", word)
        assert word in printed or all(any(part in each for each in printed) for part in parts)
        assert len(parts) > 1 or word in printed


def test_square_brackets_are_no_markup_and_control_characters_are_escaped():
    assert "[red]" in _print(["[red]name", "n"], [["[/]x", 1]])
    assert "\\x1b" in _print(["name", "n"], [["\x1b", 1]])


def test_columns_of_sentences_are_aligned_left_and_those_of_numbers_right():
    rows = [["a", "one short", "3"], ["b", "a sentence that is longer than others", "123"]]
    lines = _print(["name", "what", "minutes"], rows).splitlines()
    (first, second) = (line for line in lines if re.match(r" *[ab] ", line))
    assert first.index("one short") == second.index("a sentence")
    assert len(first.rstrip()) == len(second.rstrip())
