"""``aekit sweep`` trains every combination of options, whatever happens to one of them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from aekit.core.checkpoint import read_header
from aekit.images.run_settings import flat
from aekit.images.sweep.cells import expand

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

QUICK = ["--data", "digits", "--limit", 60, "--epochs", 1]
DEFAULTS = {"model": "vae", "data": "digits", "latent": "10"}


@pytest.fixture(scope="module")
def grid(aekit, tmp_path_factory):
    """Return the folder of two latents, two betas and two seeds, and what the command said."""
    folder = tmp_path_factory.mktemp("sweep") / "grid"
    options = ["--latent", "2-3", "--beta", "0.1,1", "--seed", "0,1", "--val", 0.3]
    result = aekit("sweep", *QUICK, *options, "-o", folder)
    assert result.exit_code == 0, result.stderr
    return folder, options, result


# --- what it leaves ---


def test_it_leaves_checkpoints_a_table_and_two_figures(grid):
    folder, _, result = grid
    assert len(result.paths) == len(set(result.paths)) == 8
    assert all(path.is_file() and path.parent == folder for path in result.paths)
    table = pd.read_csv(folder / "results.csv")
    assert table["path"].map(Path).tolist() == result.paths
    assert (table["status"] == "done").all()
    for name in ("results.png", "curves.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_the_table_agrees_with_the_checkpoints_and_histories(grid):
    for row in pd.read_csv(grid[0] / "results.csv").itertuples():
        header = read_header(Path(row.path))
        history = pd.read_csv(Path(row.path).with_suffix(".csv"))
        val = history[history["split"] == "val"].iloc[-1]
        assert (row.latent, row.beta, row.seed) == (
            header.model["latent"], header.train["beta"], header.train["seed"],
        )  # fmt: skip
        assert row.val_total == pytest.approx(val["total"])
        assert row.val_total == pytest.approx(row.val_reconstruction + row.beta * row.val_kl, rel=1e-6)
        assert row.test_mse == pytest.approx(header.result["test"]["mse"])
        assert row.active_units == val["active_units"]
        assert row.seconds == pytest.approx(history["seconds"].sum())
        assert row.parameters == header.result["parameters"]


def test_a_cell_is_what_the_training_command_makes_to_the_byte(aekit, grid, tmp_path):
    path = grid[2].paths[3]
    train = read_header(path).train
    model = read_header(path).model
    options = ["--latent", model["latent"], "--beta", train["beta"], "--seed", train["seed"], "--val", 0.3]
    alone = tmp_path / "alone.safetensors"
    assert aekit("train-vae", *QUICK, *options, "--threads", 1, "-o", alone).exit_code == 0
    assert alone.read_bytes() == path.read_bytes()


def test_cells_that_are_done_are_left_and_one_that_is_missing_is_trained(aekit, grid):
    folder, options, first = grid
    before = {path: path.stat().st_mtime_ns for path in first.paths}
    gone = first.paths[5]
    content = gone.read_bytes()
    for suffix in (".safetensors", ".csv", ".png"):
        gone.with_suffix(suffix).unlink()
    again = aekit("sweep", *QUICK, *options, "-o", folder)
    assert again.exit_code == 0
    assert again.paths == first.paths
    assert "1 of 8 cells trained" in again.stderr
    assert gone.read_bytes() == content
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path != gone)


def test_the_best_has_the_lowest_mean_over_seeds_on_validation_images(aekit, grid):
    folder, options, _ = grid
    table = pd.read_csv(folder / "results.csv")
    table["elbo"] = table["val_reconstruction"] + table["val_kl"]
    latent, beta = table.groupby(["latent", "beta"])["elbo"].mean().idxmin()
    among = table[(table["latent"] == latent) & (table["beta"] == beta)]
    result = aekit("sweep", *QUICK, *options, "-o", folder, "--best", "elbo")
    assert result.paths == [Path(among.loc[among["elbo"].idxmin(), "path"])]


def test_the_best_can_be_trained_on_all_of_train(aekit, grid):
    folder, options, _ = grid
    result = aekit("sweep", *QUICK, *options, "-o", folder, "--best", "mse", "--retrain", "--json")
    assert result.exit_code == 0, result.stderr
    path = Path(json.loads(result.stdout)["path"])
    chosen = Path(aekit("sweep", *QUICK, *options, "-o", folder, "--best", "mse").stdout.strip())
    header, winner = read_header(path), read_header(chosen)
    assert header.data["val"] == 0
    assert header.model == winner.model
    assert header.train["beta"] == winner.train["beta"]
    assert header.data["splits"]["train"]["n"] == 60


def test_the_commands_of_a_dry_run_make_the_cells_of_the_sweep(aekit, tmp_path):
    options = [*QUICK, "--model", "ae", "--latent", "2,4", "-o", tmp_path / "grid"]
    lines = aekit("sweep", *options, "--dry-run").stdout.splitlines()
    assert len(lines) == 2
    assert not (tmp_path / "grid").exists()
    for line in lines:
        assert aekit(*shlex.split(line)[1:]).exit_code == 0
    result = aekit("sweep", *options)
    assert "0 of 2 cells trained" in result.stderr
    assert [str(path) in line for path, line in zip(result.paths, lines, strict=True)] == [True, True]


def test_a_run_that_diverges_is_recorded_and_the_rest_are_trained(aekit, tmp_path):
    result = aekit("sweep", *QUICK, "--lr", "1e9,0.001", "--latent", 2, "-o", tmp_path)
    assert result.exit_code == 1
    assert len(result.paths) == 1
    assert len(result.stderr.splitlines()[-1].split("1 of 2 cells failed")) == 2
    table = pd.read_csv(tmp_path / "results.csv")
    assert dict(zip(table["lr"], table["status"], strict=True)) == {0.001: "done", 1e9: "failed"}
    assert "finite" in table["error"][1]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers through /proc")
def test_a_killed_worker_is_recorded_and_ctrl_c_saves_the_others(start, tmp_path):
    command = [sys.executable, "-m", "aekit", "sweep", "--data", "digits", "--epochs", "5000", "--latent", "2-5"]
    sweep = start(
        [*command, "--jobs", "2", "-o", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _wait_for(lambda: len(list(tmp_path.glob("*.resume.safetensors"))) == 2)
    os.kill(_workers(sweep.pid)[0], signal.SIGKILL)
    _wait_for(lambda: len(list(tmp_path.glob("*.resume.safetensors"))) == 3)
    sweep.send_signal(signal.SIGINT)
    stdout, stderr = sweep.communicate(timeout=60)
    assert sweep.returncode == 130, stderr
    assert stdout == ""
    assert "killed by signal 9" in stderr
    assert stderr.splitlines()[-1].endswith("stopped with 1 of 4 cells done; continue with the same command")
    assert pd.read_csv(tmp_path / "results.csv")["status"].tolist() == ["failed"]
    assert all(read_header(path).state["epoch"] > 0 for path in tmp_path.glob("*.resume.safetensors"))


def _wait_for(is_true, seconds=60):
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _workers(pid):
    """Return the processes that the server forked, of which the sweep's children are one."""
    children = [int(child) for child in _children(pid)]
    return sorted(int(child) for parent in children for child in _children(parent))


def _children(pid):
    return " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()


# --- what it refuses ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--latent", "1-1001"], "a grid of 1,001 cells"),
        (["--best", "elbo"], "--val 0.2"),
        (["--best", "total", "--val", 0.2, "--beta", "1,2"], "are not comparable"),
        (["--best", "kl", "--val", 0.2, "--model", "ae"], "no KL divergence"),
        (["-o", "x.csv"], "a grid fills a folder"),
        (["--data", "nowhere"], "no such data set"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_made(aekit, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    result = aekit("sweep", *options)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_an_option_that_is_not_there_is_a_usage_error(aekit):
    result = aekit("sweep", "--latnt", 3)
    assert result.exit_code == 2
    assert "--latent" in result.stderr
    assert aekit("sweep", "--retrain").exit_code == 2


def test_the_settings_of_a_run_have_the_names_of_the_options(aekit):
    (config,), _ = expand(DEFAULTS)
    text = " ".join(aekit("sweep", "--help").stdout.split())
    assert all(f"--{name.replace('_', '-')}" in text for name in flat(config))


# --- names ---


def test_the_order_of_options_on_the_command_line_is_that_of_names_and_tables(aekit, tmp_path):
    first = aekit("sweep", *QUICK, "--seed", "1,0", "--latent", "3,2", "-o", tmp_path, "--dry-run").stdout
    second = aekit("sweep", *QUICK, "--latent", "3,2", "--seed", "1,0", "-o", tmp_path, "--dry-run").stdout
    names = [[Path(shlex.split(line)[-1]).stem for line in text.splitlines()] for text in (first, second)]
    assert names[0][:2] == ["vae-digits-conv-seed0-z2-limit60-epochs1", "vae-digits-conv-seed0-z3-limit60-epochs1"]
    assert names[1][:2] == ["vae-digits-conv-z2-seed0-limit60-epochs1", "vae-digits-conv-z2-seed1-limit60-epochs1"]


def test_a_sweep_in_another_order_finds_the_cells_that_are_there(aekit, grid):
    folder, _, first = grid
    options = ["--seed", "1,0", "--latent", "3,2", "--beta", "1,0.1", "--val", 0.3, "-o", folder]
    commands = aekit("sweep", *QUICK, *options, "--dry-run").stdout.splitlines()
    assert {Path(shlex.split(line)[-1]) for line in commands} == set(first.paths)


def test_a_table_for_latex_is_written_for_cells_that_are_done(aekit, grid):
    folder, options, _ = grid
    result = aekit("sweep", *QUICK, *options, "-o", folder, "--best", "elbo", "--format", "tex")
    assert result.exit_code == 0, result.stderr
    assert "0 of 8 cells trained" in result.stderr
    assert f"{folder / 'results.tex'}: one row per combination" in result.stderr
    text = (folder / "results.tex").read_text()
    table = pd.read_csv(folder / "results.csv")
    mean = table.groupby(["latent", "beta"])["test_elbo"].mean()
    first = text.split("\\midrule")[1].partition("\\bottomrule")[0]  # of the tables that fit the page
    body = [line.split(" & ") for line in first.splitlines() if line.endswith("\\\\")]
    assert len(body) == 4
    found = [float(row[4].replace("\\textbf{", "").partition("\\phantom")[0].strip("} ")) for row in body]
    assert found == pytest.approx(mean.tolist(), abs=0.051)
    assert not (folder / "results.md").exists()
