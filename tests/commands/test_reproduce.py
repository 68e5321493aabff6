"""``aekit reproduce`` runs recipes, compares with what was published, and goes on where it stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
from recipes import BOTH, RECIPE, write_recipe

from aekit.results.recipe import read_recipe, shipped_recipes
from aekit.results.steps import RECORD

TRAIN = """
title = "a training"
source = "nobody"
data = ["digits"]
minutes = 0.1
seeds = [0]
commands = [
    "aekit train-ae --data digits --limit 60 --latent 2 --epochs 2 --seed {seed} -o {out}/x{seed}.safetensors",
]

[[values]]
name = "error"
file = "{out}/x{seed}.csv"
column = "mse"
where = { split = "test", epoch = 1 }
published = 1
tolerance = 0
direction = "lower"
"""


@pytest.fixture
def tiny(tmp_path):
    return write_recipe(tmp_path)


@pytest.fixture
def reproduce(aekit, tmp_path):
    """Return a function that runs recipes with what lies in the folder of the test as data."""

    def run(*words):
        return aekit("reproduce", *words, "--data-root", tmp_path, "--threads", 1, "-o", tmp_path / "out")

    return run


@pytest.mark.slow
def test_what_is_reached_gives_0_what_is_missed_gives_1_and_nothing_runs_twice(reproduce, tiny, tmp_path):
    result = reproduce(tiny, "--json")
    assert result.exit_code == 0, result.stderr
    table = tmp_path / "out" / "tiny.csv"
    answer = json.loads(result.stdout)
    assert (answer["path"], answer["recipe"], answer["quick"]) == (str(table), "tiny", False)
    assert (answer["values"][0]["by_seed"], answer["values"][0]["verdict"]) == ([2, 3], "reached")
    assert pd.read_csv(table)["difference"].tolist() == [-2]
    written = (tmp_path / "out" / "tiny" / "seed0.csv").stat().st_mtime_ns
    tiny.write_text(RECIPE.replace("4.5", "2.4"))  # what is published is no command
    result = reproduce(tiny)
    assert result.exit_code == 1
    assert result.paths == [table]
    assert result.stderr.splitlines()[-1] == (f"aekit: {table}: x is missed; ours is 2.5, published 2.4, tolerance 0")
    assert "2 of 2 commands had finished before" in result.stderr
    assert (tmp_path / "out" / "tiny" / "seed0.csv").stat().st_mtime_ns == written


@pytest.mark.slow
def test_what_has_changed_runs_again_and_so_does_what_is_gone(reproduce, tiny, tmp_path):
    folder = tmp_path / "out" / "tiny"
    assert reproduce(tiny).exit_code == 0
    assert reproduce(tiny, "--seeds", "0-2").exit_code == 0
    record = pd.read_csv(folder / RECORD)
    assert record["seed"].tolist() == [0, 1, 2]
    assert pd.read_csv(tmp_path / "out" / "tiny.csv")["ours"].tolist() == [4]
    (folder / "seed1.csv").unlink()
    result = reproduce(tiny)
    assert "seed1.csv: is not there any more; command 1, seed 1 runs again" in result.stderr
    assert "1 of 2 commands had finished before" in result.stderr
    tiny.write_text(RECIPE.replace("--by k", "--by k --label paper").replace("{out}/seed", "{out}/new"))
    result = reproduce(tiny, "--seeds", "0")
    assert "command 1, seed 0 has changed, or one before it; its results are made again" in result.stderr
    assert result.exit_code == 0
    assert not (folder / "seed0.csv").exists()  # of the command that is not there any more
    assert (folder / "seed1.csv").exists()  # not of this run


@pytest.mark.slow
def test_a_damaged_record_is_said_and_a_finished_training_is_left_as_it_is(reproduce, tmp_path):
    recipe = write_recipe(tmp_path, TRAIN)
    assert reproduce(recipe).exit_code == 0
    checkpoint = tmp_path / "out" / "tiny" / "x0.safetensors"
    written = checkpoint.stat().st_mtime_ns
    (tmp_path / "out" / "tiny" / RECORD).write_text("command\n1\n")
    result = reproduce(recipe)
    assert result.exit_code == 0
    assert f"{RECORD}: is damaged" in result.stderr
    assert checkpoint.stat().st_mtime_ns == written
    recipe.write_text(TRAIN.replace("--epochs 2", "--epochs 1"))
    assert reproduce(recipe).exit_code == 0
    assert checkpoint.stat().st_mtime_ns > written
    assert len(pd.read_csv(checkpoint.with_suffix(".csv"))) == 2


@pytest.mark.slow
def test_one_that_fails_gives_its_message_and_the_others_go_on(reproduce, tiny, tmp_path):
    failing = write_recipe(tmp_path, RECIPE.replace("--by k", "--by kk"), "failing.toml")
    result = reproduce(failing, tiny)
    assert result.exit_code == 1
    assert result.paths == [tmp_path / "out" / "failing.csv", tmp_path / "out" / "tiny.csv"]
    last = result.stderr.splitlines()[-1]
    assert last.startswith("aekit: failing: command 1, seed 0 failed, aekit compare ")
    assert "--by kk" in last
    assert pd.read_csv(tmp_path / "out" / "failing.csv")["verdict"].tolist() == ["failed"]
    assert pd.read_csv(tmp_path / "out" / "tiny.csv")["verdict"].tolist() == ["reached"]
    assert pd.read_csv(tmp_path / "out" / "failing" / RECORD)["state"].tolist() == ["started"]


@pytest.mark.slow
def test_a_value_that_is_not_there_is_a_failure_with_its_place(reproduce, tmp_path):
    text = RECIPE.replace('column = "ours"', 'column = "our"').replace("[0, 1]", "[0]")
    result = reproduce(write_recipe(tmp_path, text))
    assert result.exit_code == 1
    assert "the value 'x' is not there, the table has no column our; did you mean 'ours'" in result.stderr
    assert pd.read_csv(tmp_path / "out" / "tiny.csv")["verdict"].tolist() == ["failed"]


def test_a_quick_protocol_has_its_own_folder_and_table(reproduce, tmp_path):
    result = reproduce(write_recipe(tmp_path, BOTH), "--quick", "--seeds", "0")
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tmp_path / "out" / "tiny.quick.csv"]
    assert not (tmp_path / "out" / "tiny").exists()
    assert "tiny.quick: one seed, so no interval" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, ["NAME: give a recipe, or all", "mnist-vae", "--list"]),
        (["mnist-vea"], 2, ["mnist-vea: is not a recipe; did you mean 'mnist-vae'?"]),
        (["x.csv"], 2, ["x.csv: is not a recipe", "give the path of a recipe (.toml)"]),
        (["no.toml"], 1, ["no.toml: cannot be read"]),
        (["{}/tiny.toml", "--quick"], 1, ["tiny.toml: has no [quick] protocol; run it without --quick"]),
        (["{}/tiny.toml", "{}/other/tiny.toml"], 1, ["another recipe is called tiny, too"]),
        (["{}/mnist-vae.toml"], 1, ["has the name of a recipe of aekit", "rename the file"]),
        (["{}/bad.toml"], 1, ["bad.toml: command 1: No such option: --bye"]),
        (["{}/tiny.toml", "--seeds", "x"], 2, ["--seeds: 'x' is not a whole number"]),
        (["{}/tiny.toml", "--seeds", "1,1"], 2, ["--seeds: 1 is there twice"]),
        (["{}/tiny.toml", "--seeds", "3-1"], 2, ["--seeds: '3-1' is an empty range"]),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(reproduce, tiny, tmp_path, words, code, said):
    (tmp_path / "other").mkdir()
    write_recipe(tmp_path / "other")
    write_recipe(tmp_path, RECIPE.replace("--by", "--bye"), "bad.toml")
    write_recipe(tmp_path, RECIPE, "mnist-vae.toml")
    result = reproduce(*(word.format(tmp_path) for word in words))
    assert result.exit_code == code, result.stderr
    assert all(word in result.stderr for word in said), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_the_list_has_the_file_of_every_recipe(aekit, tiny):
    result = aekit("reproduce", "--list")
    assert result.exit_code == 0
    assert result.paths == list(shipped_recipes().values())
    assert "A beta-VAE on MNIST" in result.stderr
    own = json.loads(aekit("reproduce", "--list", tiny, "--json").stdout)
    assert (own["recipe"], own["minutes"], own["quick_minutes"]) == ("tiny", 0.1, None)


@pytest.mark.slow
def test_ctrl_c_leaves_a_state_from_which_the_same_line_goes_on(start, tmp_path):
    text = TRAIN.replace("--limit 60", "--limit 200").replace("--epochs 2", "--epochs 12")
    recipe = write_recipe(tmp_path, text)
    command = [sys.executable, "-m", "aekit", "reproduce", recipe, "-o", tmp_path / "out", "--threads", "1"]
    process = start(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for line in process.stderr:
        if ": epoch 3:" in line:
            process.send_signal(signal.SIGINT)
            break
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.splitlines()[-1].endswith("stopped at command 1, seed 0; the same command continues it")
    assert (tmp_path / "out" / "tiny" / "x0.resume.safetensors").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert "continuing after epoch" in done.stderr
    whole = read_recipe(recipe)
    write_recipe(tmp_path, text, "whole.toml")
    subprocess.run([*command[:4], tmp_path / "whole.toml", *command[5:]], capture_output=True, check=True)
    one, two = (tmp_path / "out" / name / "x0.safetensors" for name in (whole.name, "whole"))
    assert one.read_bytes() == two.read_bytes()
