"""Tables on a narrow terminal keep every digit and every word."""

from __future__ import annotations

import io
import re

import pytest
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


def test_square_brackets_are_no_markup_and_control_characters_are_escaped():
    assert "[red]" in _print(["[red]name", "n"], [["[/]x", 1]])
    assert "\\x1b" in _print(["name", "n"], [["\x1b", 1]])
