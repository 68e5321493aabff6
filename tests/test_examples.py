"""The examples are Makefiles of aekit commands only, and the command line accepts each of their lines.

``make examples`` runs small versions of them.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import typer

EXAMPLES = Path(__file__).parents[1] / "examples"
STUDIES = ["autoencoders", "brain-age", "faces", "mnist-vae", "outliers", "pca", "shapes"]
SHELL_WORDS = {"touch", "mkdir", "rm", "echo", "test", "@:"}

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def _recipes(example: str, folder: Path, *arguments: str) -> list[str]:
    """Return the lines that ``make`` would run in a fresh copy of an example."""
    copy = folder / example
    shutil.copytree(EXAMPLES / example, copy, ignore=shutil.ignore_patterns("out"))
    done = subprocess.run(
        ["make", "--dry-run", "AEKIT=aekit", *arguments],
        cwd=copy,
        env={**os.environ, "AEKIT_DATA": str(folder), "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.replace("\\\n", " ").splitlines() if line and not line.startswith("make")]


@pytest.mark.parametrize("small", [True, False], ids=["small", "whole"])
@pytest.mark.parametrize("example", [*STUDIES, "digits"])
def test_every_line_of_an_example_is_a_command_that_exists_with_these_options(example, small, tmp_path):
    from aekit.cli import app

    group = typer.main.get_command(app)
    lines = _recipes(example, tmp_path, *(["SMALL=1"] if small else []))
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("aekit ")]
    assert commands
    for name, *words in commands:
        # Parsing checks names, choices and numbers, and runs nothing.
        group.commands[name].make_context(name, list(words))
    others = [line for line in lines if not line.startswith("aekit ")]
    assert {shlex.split(line)[0] for line in others} <= SHELL_WORDS, others


@pytest.mark.parametrize("example", STUDIES)
def test_the_small_version_of_an_example_needs_only_bundled_data(example, tmp_path):
    for line in _recipes(example, tmp_path, "SMALL=1"):
        words = shlex.split(line)
        if "--data" in words:
            assert words[words.index("--data") + 1] in ("digits", "shapes")  # bundled, or drawn
        assert str(tmp_path / "brain") not in line


@pytest.mark.parametrize("example", STUDIES)
def test_the_small_version_writes_nothing_into_the_folder_of_the_whole_study(example, tmp_path):
    for line in _recipes(example, tmp_path, "SMALL=1"):
        words = shlex.split(line)
        for option in ("-o", "--output"):
            if option in words:
                assert words[words.index(option) + 1].startswith("out/small")


@pytest.mark.parametrize("table", sorted(EXAMPLES.glob("*/study*.csv")) + sorted(EXAMPLES.glob("*/study/*.csv")))
def test_the_results_of_a_study_are_a_table_of_numbers(table):
    figures = pd.read_csv(table)
    assert len(figures)
    assert not figures.isna().to_numpy().all(axis=0).any()
    assert len(figures.select_dtypes("number").columns)


@pytest.mark.parametrize("example", STUDIES)
def test_an_example_explains_itself(example):
    text = (EXAMPLES / example / "README.md").read_text()
    assert f"make -C examples/{example}" in text
    assert "SMALL=1" in text
