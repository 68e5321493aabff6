"""``aekit train-vae`` writes a checkpoint, its history and curves, and prints one path."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch

import aekit as package
from aekit.core.checkpoint import read_header
from aekit.images.config import DataConfig, TrainConfig
from aekit.images.data import read_images
from aekit.images.data.batches import ImageLoader
from aekit.images.objectives import build_objective
from aekit.images.training import evaluate

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

COLUMNS = ["epoch", "split", "total", "reconstruction", "kl", "mse", "seconds", "images_per_second", "active_units"]


def test_it_writes_checkpoint_history_and_curves_and_prints_the_path(aekit, tmp_path):
    output = tmp_path / "new" / "x.safetensors"
    result = aekit("train-vae", "--data", "digits", "--limit", 50, "--epochs", 2, "--latent", 3, "-o", output)
    assert result.exit_code == 0
    assert result.paths == [output]
    assert sorted(path.name for path in output.parent.iterdir()) == ["x.csv", "x.png", "x.safetensors"]
    history = pd.read_csv(output.with_suffix(".csv"))
    assert list(history.columns) == COLUMNS
    assert list(zip(history["epoch"], history["split"], strict=True)) == [
        (1, "train"), (1, "test"), (2, "train"), (2, "test"),
    ]  # fmt: skip
    assert (history["total"] - history["reconstruction"] - history["kl"]).abs().max() < 1e-5
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_with_validation_the_last_row_is_the_test_row(aekit, vae_checkpoint):
    history = pd.read_csv(vae_checkpoint.with_suffix(".csv"))
    assert history["split"].tolist() == ["train", "val"] * 3 + ["test"]


def test_the_test_figures_are_those_of_the_weights_that_were_kept(vae_checkpoint):
    header = read_header(vae_checkpoint)
    config = DataConfig(**{key: header.data[key] for key in ("name", "limit", "val", "split_seed")})
    test = read_images(config, "test", data_root=vae_checkpoint.parent)
    model = package.load(vae_checkpoint)
    objective = build_objective(model, TrainConfig())
    means = evaluate(model, ImageLoader(test, torch.device("cpu")), seed=0, objective=objective)
    figures = header.result["test"]
    assert means.terms == pytest.approx({name: figures[name] for name in ("reconstruction", "kl", "mse")}, rel=1e-5)
    assert means.active_units == figures["active_units"] <= 2
    assert header.data["splits"]["test"] == {"n": len(test), "fingerprint": test.fingerprint}


def test_the_best_epoch_is_written_when_asked_for(aekit, tmp_path):
    output = tmp_path / "x.safetensors"
    options = ["--data", "digits", "--limit", 60, "--epochs", 6, "--val", 0.3, "--lr", 0.03, "--keep", "best"]
    assert aekit("train-vae", *options, "-o", output, "-q").exit_code == 0
    history = pd.read_csv(output.with_suffix(".csv"))
    val = history[history["split"] == "val"]
    best = int(val.loc[val["total"].idxmin(), "epoch"])
    assert read_header(output).result["epoch"] == best
    assert history.iloc[-1]["epoch"] == best


def test_json_gives_path_and_metrics_on_one_line(aekit, tmp_path):
    output = tmp_path / "x.safetensors"
    result = aekit("train-vae", "--data", "digits", "--limit", 20, "--epochs", 1, "-o", output, "--json", "--quiet")
    values = json.loads(result.stdout)
    assert values["path"] == str(output)
    assert values["total"] == pytest.approx(values["reconstruction"] + values["kl"])
    assert result.stderr == ""


def test_the_default_name_says_what_matters_and_is_the_same_for_the_same_options(aekit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["train-vae", "--data", "digits", "--limit", 20, "--epochs", 1, "--beta", 0.5, "-q"]
    path = aekit(*options).stdout.strip()
    assert path == "runs/vae-digits-conv-z10-limit20-epochs1-beta0.5.safetensors"
    assert aekit(*options, "--resume").stdout.strip() == path


def test_equal_runs_make_equal_bytes_and_other_seeds_other_ones(aekit, tmp_path):
    options = ["train-vae", "--data", "digits", "--limit", 60, "--epochs", 2, "-q"]
    made = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for path, seed in zip(made, (1, 1, 2), strict=True):
        assert aekit(*options, "--seed", seed, "-o", path).exit_code == 0
    assert made[0].read_bytes() == made[1].read_bytes()
    assert made[0].with_suffix(".png").read_bytes() == made[1].with_suffix(".png").read_bytes()
    assert made[0].read_bytes() != made[2].read_bytes()


def test_no_absolute_path_gets_into_a_checkpoint(aekit, tmp_path):
    import numpy as np

    images = tmp_path / "mine.npy"
    np.save(images, np.random.default_rng(0).integers(0, 256, (30, 9, 8), dtype=np.uint8))
    output = tmp_path / "x.safetensors"
    assert aekit("train-vae", "--data", images, "--epochs", 1, "-o", output, "-q").exit_code == 0
    assert str(tmp_path).encode() not in output.read_bytes()
    assert str(tmp_path).encode() not in output.with_suffix(".png").read_bytes()
    assert read_header(output).data["name"] == "mine.npy"


def test_training_lowers_the_loss_on_digits(aekit, tmp_path):
    output = tmp_path / "x.safetensors"
    options = ["--data", "digits", "--epochs", 15, "--batch-size", 50]
    assert aekit("train-vae", *options, "-o", output, "-q").exit_code == 0
    test = pd.read_csv(output.with_suffix(".csv")).query("split == 'test'")["total"].to_numpy()
    assert test[-1] < test[0] - 2


@pytest.mark.real_data
def test_one_epoch_on_mnist_beats_ten_of_the_notebook(aekit, tmp_path):
    output = tmp_path / "x.safetensors"
    assert aekit("train-vae", "--epochs", 1, "-o", output, "-q").exit_code == 0
    test = read_header(output).result["test"]
    assert test["total"] < 106
    assert test["mse"] < 0.02


@pytest.mark.real_data
def test_the_defaults_train_on_colour_faces_without_diverging(aekit, tmp_path):
    output = tmp_path / "x.safetensors"
    options = ["--data", "celeba", "--image-size", 48, "--epochs", 1, "--latent", 32]
    assert aekit("train-vae", *options, "-o", output, "-q").exit_code == 0
    assert read_header(output).result["test"]["mse"] < 0.04
