"""The README's tour runs as it is shown, and prints what is shown; so do the Makefile and the Python of docs/shell.md.

``python tests/test_tour.py`` runs the tour and writes what it printed into the README, for a person to review.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
OUTPUTS = ROOT / "docs" / "outputs.md"
SHELL = ROOT / "docs" / "shell.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
ELLIPSIS = "..."  # stands for lines that the README leaves out
# One thread and fp32 for two and bf16 change means by 2 % at most, but a spread of five draws by 14 %. A wrong column
# or unit is farther off.
TOLERANCE = 0.25
LAST_DIGITS = 2  # of the last digit shown; for a count, images or participants that change sides

_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
_PATH = re.compile(r"\b(?:runs|out)/[\w./,-]*\w")
_TIMING = re.compile(r"[\d,.]+ (?:images/s|s\b)")


class Step(NamedTuple):
    """A command of the tour, and the lines that the README shows below it."""

    command: str
    shown: list[str]


class Done(NamedTuple):
    """What a command left: its exit code and the lines of both streams that are not empty."""

    exit_code: int
    stdout: list[str]
    stderr: list[str]


class Shell:
    """A real shell in its own folder, with ``aekit`` on its path, and without the user's data and cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tour"
        self.folder.mkdir()
        programs = folder / "bin"
        programs.mkdir()
        for name, words in (("aekit", "-m aekit"), ("python", "")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            program.chmod(0o755)
        self._environment = {
            # Readers have more than the one thread of the tests.
            **{name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "AEKIT_DATA": str(folder / "no-data"),
            "AEKIT_CACHE": str(folder / "cache"),
        }

    def run(self, command: str) -> Done:
        """Run a command line, and return what it left."""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self._environment,
            check=False,
        )
        return Done(done.returncode, _lines(done.stdout), _lines(done.stderr))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _without_rules(lines: list[str]) -> list[str]:
    return [line for line in lines if line.strip(" ─")]


def _blocks(text: str, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def _steps(text: str) -> list[Step]:
    steps: list[Step] = []
    for line in _lines("".join(_blocks(text, "console"))):
        if line.startswith("$ "):
            steps.append(Step(line.removeprefix("$ "), []))
        else:
            steps[-1].shown.append(line)
    return steps


def _numbers(line: str) -> tuple[str, list[str]]:
    """Return a line without its numbers, timings and columns' widths, and the numbers."""
    line = _TIMING.sub("a time", " ".join(line.split()))
    return _NUMBER.sub("#", line), _NUMBER.findall(line)


def _is_close(shown: str, printed: str) -> bool:
    a, b = (float(text.replace(",", "")) for text in (shown, printed))
    last_digit = 10.0 ** -len(shown.partition(".")[2])
    return abs(a - b) <= max(TOLERANCE * abs(a), LAST_DIGITS * last_digit)


def _difference(shown: list[str], printed: list[str]) -> str | None:
    """Return what differs between two lists of lines, except timings and numbers that nearly agree."""
    if ELLIPSIS in shown:
        place = shown.index(ELLIPSIS)
        n_after = len(shown) - place - 1
        kept = printed[:place] + printed[len(printed) - n_after :]
        if len(printed) <= place + n_after:
            return f"no line of {len(printed)} is left out"
        return _difference(shown[:place] + shown[place + 1 :], kept)
    for a, b in zip_longest(_without_rules(shown), _without_rules(printed), fillvalue=""):
        (text, numbers), (own_text, own_numbers) = _numbers(a), _numbers(b)
        if text != own_text or not all(map(_is_close, numbers, own_numbers)):
            return f"shown:   {a}\nprinted: {b}"
    return None


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("readme"))


@pytest.mark.slow
class TestTour:
    """In this order: the Makefile and the Python use what the tour left, and the tables are those of all of them."""

    @pytest.mark.parametrize("step", _steps(README.read_text()), ids=lambda step: step.command)
    def test_a_command_of_the_tour_prints_what_the_readme_shows(self, shell: Shell, step: Step):
        done = shell.run(step.command)
        assert done.exit_code == 0, "\n".join(done.stderr)
        assert _difference(step.shown, done.stderr + done.stdout) is None
        for line in step.shown:
            for path in _PATH.findall(line):
                # Lines of progress start with the name of their run, a checkpoint without its suffix.
                made = (path, f"{path}.safetensors") if line.startswith(f"{path}: ") else (path,)
                assert any((shell.folder / each).exists() for each in made), path

    def test_the_makefile_makes_its_target_once(self, shell: Shell):
        (shell.folder / "Makefile").write_text(_blocks(SHELL.read_text(), "make")[0])
        done = shell.run("make out/beta0.5.evaluate.json")
        assert done.exit_code == 0, "\n".join(done.stderr)
        assert (shell.folder / "out/beta0.5.evaluate.json").is_file()
        assert shell.run("make -q out/beta0.5.evaluate.json").exit_code == 0

    def test_the_python_runs(self, shell: Shell):
        (shell.folder / "look.py").write_text(_blocks(SHELL.read_text(), "python")[0])
        done = shell.run("python look.py")
        assert done.exit_code == 0, "\n".join(done.stderr)

    def test_every_column_of_the_tables_it_leaves_is_explained(self, shell: Shell):
        explained = set(re.findall(r"`([a-z0-9_]+)`", OUTPUTS.read_text()))
        tables = [*shell.folder.rglob("*.csv"), *shell.folder.rglob("*.tsv")]
        assert len(tables) > 20
        for path in tables:
            with path.open(newline="") as file:
                columns = next(csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
            assert set(columns) <= explained, path.name


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["MSE 0.0215, 1,556 images/s"], ["MSE 0.0213, 90 images/s"]),
        (["  a    1.5  "], [" a  1.51"]),
        (["first", ELLIPSIS, "last"], ["first", "one", "two", "last"]),
        (["4 of 359"], ["5 of 359"]),
    ],
)
def test_last_digits_timings_and_what_is_left_out_may_differ(shown, printed):
    assert _difference(shown, printed) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["MSE 0.0215"], ["MSE 0.215"]),
        (["KL 9.6"], ["kl 9.6"]),
        (["runs/vae.png"], ["runs/ae.png"]),
        (["a"], ["a", "b"]),
        (["a", "b"], ["a"]),
        (["first", ELLIPSIS, "last"], ["first", "last"]),
    ],
)
def test_other_words_paths_lines_and_numbers_may_not(shown, printed):
    assert _difference(shown, printed) is not None


def _renewed(text: str, shell: Shell) -> Iterator[str]:
    """Yield the lines of a block with what its commands print now; lines that the README leaves out stay left out."""
    for step in _steps(f"```console\n{text}```\n"):
        done = shell.run(step.command)
        if done.exit_code:
            raise SystemExit("\n".join([f"$ {step.command}", *done.stderr]))
        printed = done.stderr + done.stdout
        if ELLIPSIS in step.shown:
            place = step.shown.index(ELLIPSIS)
            printed[place : len(printed) - (len(step.shown) - place - 1)] = [ELLIPSIS]
        yield from (f"$ {step.command}", *printed)


def _renew() -> None:
    with tempfile.TemporaryDirectory() as folder:
        shell = Shell(Path(folder))

        def renewed(match: re.Match[str]) -> str:
            lines = "\n".join(_renewed(match[2], shell)) if match[1] == "console" else match[2].rstrip("\n")
            return f"```{match[1]}\n{lines}\n```"

        README.write_text(BLOCK.sub(renewed, README.read_text()))


if __name__ == "__main__":
    _renew()
