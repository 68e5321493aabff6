"""A step is known by its command and by those before it, and the record of the steps survives damage."""

from __future__ import annotations

from dataclasses import replace

import pytest
from recipes import RECIPE, write_recipe

from aekit.errors import AekitError
from aekit.results.recipe import read_recipe
from aekit.results.steps import Row, StepRecord, Workplace, plan_steps


class Notices:
    """Progress that keeps what is said."""

    def __init__(self):
        self.lines = []

    def notice(self, text):
        self.lines.append(text)


@pytest.fixture
def protocol(tmp_path):
    """Return a protocol of three commands, the second of which is the same for all seeds."""
    first = read_recipe(write_recipe(tmp_path, RECIPE)).full
    (words,) = first.commands
    common = ("report", "{data_root}", "-o", "{out}/x.html")
    return replace(first, commands=(words, common, (*words[:-1], "{out}/again{seed}.csv")))


def test_commands_run_one_after_the_other_each_for_all_of_its_seeds(protocol):
    steps = plan_steps(protocol, (4, 2), {})
    assert [(step.number, step.seed) for step in steps] == [(1, 4), (1, 2), (2, None), (3, 4), (3, 2)]
    assert "--where seed=4 -o {out}/seed4.csv" in steps[0].line
    assert len({step.key for step in steps}) == 5


def _changed(protocol, other, seeds=(0, 1)):
    before = {(step.number, step.seed): step.key for step in plan_steps(protocol, (0, 1), {})}
    after = {(step.number, step.seed): step.key for step in plan_steps(other, seeds, {})}
    return {which for which in before.keys() & after.keys() if before[which] != after[which]}


def test_a_command_that_changes_changes_those_after_it(protocol):
    one, two, three = protocol.commands
    everything = {(1, 0), (1, 1), (2, None), (3, 0), (3, 1)}
    assert _changed(protocol, protocol) == set()
    assert _changed(protocol, replace(protocol, commands=((*one, "--quiet"), two, three))) == everything
    assert _changed(protocol, replace(protocol, commands=(one, two, (*three, "--quiet")))) == {(3, 0), (3, 1)}


def test_a_further_seed_changes_only_what_follows_from_all_of_them(protocol):
    one, _, three = protocol.commands
    assert (
        _changed(replace(protocol, commands=(one, three)), replace(protocol, commands=(one, three)), (0, 1, 2)) == set()
    )
    assert _changed(protocol, protocol, (0, 1, 2)) == {(2, None), (3, 0), (3, 1)}


def test_where_it_runs_does_not_change_a_step(protocol):
    fast = plan_steps(protocol, (0, 1), {1: ("--threads", "7")})
    assert [step.key for step in fast] == [step.key for step in plan_steps(protocol, (0, 1), {})]
    assert fast[0].line.endswith("--threads 7")


ROW = Row(1, 0, "finished", 1.5, "0.1.0", 'aekit x "a, b"\n', ("a.csv", "b, c.csv"), "abc")


def test_the_record_is_read_as_it_was_written(tmp_path):
    record, said = StepRecord(tmp_path, Notices()), Notices()
    record.put(ROW)
    record.put(replace(ROW, number=2, seed=None, paths=()))
    again = StepRecord(tmp_path, said)
    assert again.rows == {(1, 0): ROW, (2, None): replace(ROW, number=2, seed=None, paths=())}
    assert said.lines == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("command,seed", "command,sed"),
        ("1,0,finished", "1,0,done"),
        ("1,0,finished", "x,0,finished"),
        ("1.5", "nan"),
        ("1.5", "-1"),
        (",abc", ""),
        (",abc", ",abc,more"),
        ("[", "{"),
        ("finished", "finished\0"),
        ("finished", "finished\xff"),
    ],
)
def test_a_damaged_record_is_named_and_begun_anew(tmp_path, before, after):
    record, said = StepRecord(tmp_path, Notices()), Notices()
    record.put(ROW)
    text = record.path.read_text()
    assert before in text
    record.path.write_bytes(text.replace(before, after).encode("latin-1"))
    again = StepRecord(tmp_path, said)
    assert again.rows == {}
    assert len(said.lines) == 1
    assert said.lines[0].startswith(f"{record.path}: is damaged (")


class Known:
    """Commands that all have --resume."""

    def check(self, words, place):
        """Accept everything."""

    def knows(self, command, option):
        """Return whether it is --resume."""
        return option == "--resume"


def test_a_pattern_stands_for_the_files_that_are_there_also_in_a_folder_with_brackets(tmp_path, protocol):
    folder = tmp_path / "a[1] b"
    folder.mkdir()
    place = Workplace(folder, tmp_path, {}, Known(), Notices())
    (step,) = plan_steps(replace(protocol, commands=(("tsne", "{out}/*.safetensors"),)), (0,), {})
    with pytest.raises(AekitError, match="no file has such a name"):
        place.words(step)
    for name in ("b", "a"):
        (folder / f"{name}.safetensors").touch()
    assert place.words(step) == ["tsne", str(folder / "a.safetensors"), str(folder / "b.safetensors"), "--resume"]
