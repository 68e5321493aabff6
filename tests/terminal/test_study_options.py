"""The options of studies mean the same in each, and take what a run takes."""

from __future__ import annotations

from typing import get_args

import pytest
import typer

from aekit.cli import app
from aekit.core.settings import MAX_SEED
from aekit.images.config import Split
from aekit.terminal.study_options import NoiseSeed, WhichSplit

COMMANDS = typer.main.get_command(app).commands
STUDIES = sorted(
    name
    for name, command in COMMANDS.items()
    if name != "info" and any(param.metavar == "CHECKPOINT" for param in command.params if param.nargs == -1)
)


@pytest.fixture
def parse():
    """Return a function that parses the options of a command that has a seed and a split."""
    small = typer.Typer()

    @small.command()
    def study(seed: NoiseSeed = 0, split: WhichSplit = "test") -> None: ...

    return lambda *words: typer.main.get_command(small).make_context("study", list(words)).params


@pytest.mark.parametrize("flag", ["--data", "--data-root", "--device", "--threads", "--output"])
def test_every_study_takes_the_same_options_of_data_and_machine(flag):
    assert len(STUDIES) >= 9
    found = {name: next((p for p in COMMANDS[name].params if flag in p.opts), None) for name in STUDIES}
    assert None not in found.values()
    assert len({(option.default, option.rich_help_panel) for option in found.values()}) == 1
    if flag == "--data":  # whose --inliers are the checkpoint's images at another place, and --data those to search
        del found["outliers"]
    if flag != "--output":  # which says what is written
        assert len({option.help for option in found.values()}) == 1


def test_the_seeds_of_a_study_are_those_of_a_run(parse):
    for seed in (0, MAX_SEED):
        assert parse("--seed", str(seed))["seed"] == seed
    for seed in (-1, MAX_SEED + 1):
        with pytest.raises(typer.BadParameter):
            parse("--seed", str(seed))


def test_every_split_of_a_run_can_be_studied_and_no_other(parse):
    assert parse()["split"] == "test"
    assert [parse("--split", split)["split"] for split in get_args(Split)] == ["train", "val", "test", "all"]
    with pytest.raises(typer.BadParameter):
        parse("--split", "every")
