"""``aekit probe`` measures the accuracy of few labels on codes: its files, its messages and its errors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from aekit.core.checkpoint import read_header
from aekit.core.weights import write_checkpoint
from aekit.images.probe import transfer

QUICK = ("--methods", "frozen,logistic,spread,pixels,pca", "--labels", "10,40", "--draws", 3)


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr(transfer, "STEPS", 20)
    monkeypatch.setattr(transfer, "HEAD_STEPS", 60)
    monkeypatch.setattr(transfer, "N_VARIANTS", 2)


def _changed(checkpoint, folder, fill):
    tensors, header = load_file(checkpoint), read_header(checkpoint)
    tensors["mean_head.weight"][:] = fill
    return write_checkpoint(folder / "changed.safetensors", tensors, header)


def test_a_figure_and_two_tables_share_their_stem(aekit, ae_checkpoint, tmp_path):
    result = aekit("probe", ae_checkpoint, *QUICK, "-o", tmp_path / "x.png", "--json")
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-differences.csv", "x.csv", "x.png"]
    printed = json.loads(result.stdout)
    assert printed["path"] == str(tmp_path / "x.png")
    assert (printed["n"], printed["layer"], printed["draws"], len(printed["results"])) == (300, "code", 3, 10)
    assert "ae: accuracy in % by number of labels" in result.stderr


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(aekit, ae_checkpoint, tmp_path):
    methods = ("--methods", "frozen,finetune,scratch,spread", "--labels", "20", "--draws", 2)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert aekit("probe", ae_checkpoint, *methods, "--seed", seed, "-o", tmp_path / f"{name}.png").exit_code == 0
    for suffix in (".csv", "-differences.csv", ".png"):
        same, again, other = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "abc")
        assert same == again
        assert same != other


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--labels", 15], "must be a multiple of 10, the number of classes; give 10 or 20"),
        (["--labels", 5], "give 10 or a multiple of it"),
        (["--labels", 1000], "ask for at most"),
        (["--labels", "ten"], "--labels: 'ten' is not a number of labels"),
        (["--labels", ","], "names no number"),
        (["--methods", "logisitc"], "there is no method 'logisitc'; did you mean 'logistic'?"),
        (["--methods", ""], "names no method"),
    ],
)
def test_what_cannot_be_measured_is_one_line(aekit, ae_checkpoint, options, message):
    result = aekit("probe", ae_checkpoint, *options)
    assert result.exit_code == (1 if isinstance(options[1], int) else 2)  # a number may be wrong for these images
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_images_without_labels_are_an_error(aekit, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8))
    path = tmp_path / "ae.safetensors"
    aekit("train-ae", "--data", tmp_path / "x.npy", "--epochs", 1, "--latent", 2, "-q", "-o", path)
    result = aekit("probe", path, "--data", tmp_path / "x.npy")
    assert result.exit_code == 1
    assert "have no labels" in result.stderr


@pytest.mark.parametrize(("fill", "message"), [(0.0, "the same for all images"), (np.nan, "not finite")])
def test_dead_or_broken_codes_name_the_checkpoint(aekit, ae_checkpoint, tmp_path, fill, message):
    path = _changed(ae_checkpoint, tmp_path, fill)
    result = aekit("probe", path, *QUICK)
    assert result.exit_code == 1
    assert f"{path}: " in result.stderr
    assert message in result.stderr


def test_checkpoints_of_other_images_are_not_compared(aekit, ae_checkpoint, vae_checkpoint):
    result = aekit("probe", ae_checkpoint, vae_checkpoint, *QUICK)  # one was trained with validation images
    assert result.exit_code == 1
    assert "compare them separately" in result.stderr


@pytest.mark.slow
def test_quiet_prints_nothing(aekit, ae_checkpoint, tmp_path):
    options = ("--methods", "logistic", "--labels", "10", "-q", "-o", tmp_path / "x.png")
    assert aekit("probe", ae_checkpoint, *options).stderr == ""
    assert "logistic" in aekit("probe", ae_checkpoint, *options[:-3], "-o", tmp_path / "x.png").stderr


@pytest.mark.real_data
def test_a_few_labels_of_mnist_go_further_with_unlabelled_images(aekit, tmp_path):
    assert Path(os.environ["AEKIT_DATA"]).is_dir()
    path = tmp_path / "ae.safetensors"
    trained = aekit("train-ae", "--data", "mnist", "--latent", 12, "--epochs", 1, "--limit", 12_000, "-q", "-o", path)
    assert trained.exit_code == 0, trained.stderr
    options = ("--methods", "logistic,spread,pca", "--labels", 100, "--draws", 3, "-q")
    assert aekit("probe", path, *options).exit_code == 0
    means = pd.read_csv(path.with_name("ae.probe.csv")).groupby("method")["accuracy"].mean()
    assert means["spread"] > means["logistic"] + 0.05
    assert means["logistic"] > means["pca"] > 0.6


@pytest.mark.parametrize(
    ("table", "code", "said"),
    [
        ("", 2, "--label-table: '' is empty; give the path of a file"),
        ("nowhere.csv", 1, "--label-table nowhere.csv: no such file; check the path"),
        ("kinds.csv", 1, "kinds.csv: none of 60 images has a row (faces.npy"),
        ("digits", 1, "--label-table: is for your own images"),
    ],
)
def test_errors_of_a_table_of_labels_name_the_option_of_this_command(
    aekit, ae_checkpoint, tmp_path, monkeypatch, table, code, said
):
    monkeypatch.chdir(tmp_path)
    np.save("faces.npy", np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8))
    Path("kinds.csv").write_text("file,label,age\na.png,x,3\nb.png,y,4\n")
    data = () if table == "digits" else ("--data", "faces.npy")
    result = aekit("probe", ae_checkpoint, *data, "--label-table", table, *QUICK, "-o", "x.png")
    assert result.exit_code == code
    assert result.stderr.splitlines()[-1].startswith("aekit: --label-table")
    assert said in result.stderr
    assert "--labels" not in result.stderr
    if table == "kinds.csv":
        assert "--label-table kinds.csv: 1 column is not used (age" in result.stderr
