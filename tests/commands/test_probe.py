"""``aekit probe`` measures what few labels are worth on codes: curves, a row a draw, and paired differences."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file
from scipy import stats

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


def test_the_tables_hold_every_draw_and_the_paired_differences(aekit, ae_checkpoint, tmp_path):
    result = aekit("probe", ae_checkpoint, *QUICK, "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tmp_path / "x.png"]
    table = pd.read_csv(tmp_path / "x.csv")
    assert list(table.columns) == [
        "checkpoint", "kind", "arch", "latent", "beta", "seed", "layer", "method", "labels", "draw", "accuracy",
    ]  # fmt: skip
    assert table.groupby(["method", "labels"])["draw"].apply(list).map(lambda draws: draws == [0, 1, 2]).all()
    assert set(table["method"]) == {"frozen", "logistic", "spread", "pixels", "pca"}
    assert table["accuracy"].between(0, 1).all()
    assert (table["latent"] == 3).all()
    gains = pd.read_csv(tmp_path / "x-differences.csv")
    assert len(gains) == 10 * 2  # pairs of five methods, at two sizes
    row = gains.query("method == 'frozen' and baseline == 'pixels' and labels == 40").iloc[0]
    values = [
        table.query(f"method == '{method}' and labels == 40")["accuracy"].to_numpy() for method in ("frozen", "pixels")
    ]
    interval = stats.ttest_1samp(values[0] - values[1], 0).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), abs=1e-6)
    with Image.open(tmp_path / "x.png") as image:
        used = json.loads(image.text["aekit"])
    assert used["options"]["labels"] == [10, 40]
    assert used["images"]["test"]["n"] == 300


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(aekit, ae_checkpoint, tmp_path):
    methods = ("--methods", "frozen,finetune,scratch,spread", "--labels", "20", "--draws", 2)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert aekit("probe", ae_checkpoint, *methods, "--seed", seed, "-o", tmp_path / f"{name}.png").exit_code == 0
    for suffix in (".csv", "-differences.csv", ".png"):
        same, again, other = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "abc")
        assert same == again
        assert same != other


def test_a_method_is_measured_on_the_same_draws_whichever_others_are(aekit, ae_checkpoint, tmp_path):
    for name, methods in (("a", "logistic"), ("b", "spread,logistic,pca")):
        options = ("--methods", methods, "--labels", 20, "--draws", 2)
        aekit("probe", ae_checkpoint, *options, "-o", tmp_path / f"{name}.png")
    alone, among = (pd.read_csv(tmp_path / f"{name}.csv").query("method == 'logistic'") for name in "ab")
    np.testing.assert_array_equal(alone["accuracy"], among["accuracy"])
    assert pd.read_csv(tmp_path / "a-differences.csv").empty


def test_several_checkpoints_share_images_draws_and_the_baseline(aekit, ae_checkpoint, tmp_path):
    other = tmp_path / "other.safetensors"
    aekit("train-ae", "--data", "digits", "--limit", 300, "--epochs", 1, "--latent", 5, "-q", "-o", other)
    result = aekit("probe", ae_checkpoint, other, *QUICK, "-o", tmp_path, "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["path"] == str(tmp_path / "probe.png")
    table = pd.read_csv(tmp_path / "probe.csv")
    pixels = [group["accuracy"].to_list() for _, group in table.query("method == 'pixels'").groupby("checkpoint")]
    assert pixels[0] == pixels[1]
    row = answer["results"][0]
    own = table[(table["checkpoint"] == row["checkpoint"]) & (table["method"] == row["method"])]
    assert row["accuracy"] == pytest.approx(own[own["labels"] == row["labels"]]["accuracy"].mean())


@pytest.mark.slow
def test_the_last_hidden_layer_is_another_layer_in_another_file(aekit, vae_checkpoint):
    result = aekit("probe", vae_checkpoint, "--layer", "hidden", "--methods", "logistic,finetune", "--labels", 20)
    assert result.exit_code == 0, result.stderr
    assert result.paths == [vae_checkpoint.with_name("vae.probe-hidden.png")]
    hidden = pd.read_csv(vae_checkpoint.with_name("vae.probe-hidden.csv"))
    assert set(hidden["layer"]) == {"hidden"}
    code = aekit("probe", vae_checkpoint, "--methods", "logistic", "--labels", 20)
    two = pd.read_csv(code.paths[0].with_suffix(".csv"))["accuracy"].mean()
    assert hidden.query("method == 'logistic'")["accuracy"].mean() > two + 0.1  # more than two numbers know more


def test_without_labels_given_the_default_goes_as_far_as_the_data(aekit, ae_checkpoint, tmp_path):
    result = aekit("probe", ae_checkpoint, "--methods", "logistic", "--draws", 2, "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    assert sorted(set(pd.read_csv(tmp_path / "x.csv")["labels"])) == [10, 20, 40, 80, 100, 160]
    assert "training images for 160 labels and no more" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--labels", 15], "a multiple of 10; give 10 or 20"),
        (["--labels", 5], "give 10 or a multiple of it"),
        (["--labels", 1000], "ask for at most"),
        (["--labels", "ten"], "--labels: 'ten' is no number of labels"),
        (["--labels", ","], "names no number"),
        (["--methods", "logisitc"], "there is no method 'logisitc'; did you mean 'logistic'?"),
        (["--methods", ""], "names no method"),
    ],
)
def test_what_cannot_be_measured_is_one_line(aekit, ae_checkpoint, options, message):
    result = aekit("probe", ae_checkpoint, *options)
    assert result.exit_code == 1
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


def test_quiet_says_nothing(aekit, ae_checkpoint, tmp_path):
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
