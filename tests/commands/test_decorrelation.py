"""``aekit decorrelation`` measures how correlated codes are: its files, its messages and its errors."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow  # each trains, draws or starts the program


def _train(aekit, folder, name, *options):
    path = folder / f"{name}.safetensors"
    result = aekit("train-ae", "--data", "digits", "--limit", 120, "--epochs", 1, *options, "-q", "-o", path)
    assert result.exit_code == 0, result.stderr
    return path


@pytest.fixture(scope="module")
def several(aekit, tmp_path_factory):
    """Return autoencoders of two architectures, two latent dimensions and, for one of them, two seeds."""
    folder = tmp_path_factory.mktemp("several")
    return [
        _train(aekit, folder, "conv2", "--latent", 2),
        _train(aekit, folder, "conv6", "--latent", 6),
        _train(aekit, folder, "conv6-1", "--latent", 6, "--seed", 1),
        _train(aekit, folder, "dense6", "--latent", 6, "--arch", "dense", "--width", 32),
    ]


def test_a_figure_and_a_table_share_their_stem(aekit, several, tmp_path):
    result = aekit("decorrelation", *several[:2], "--measure", "rms", "--json", "-o", tmp_path)
    assert result.exit_code == 0, result.stderr
    printed = json.loads(result.stdout)
    assert printed["path"] == str(tmp_path / "decorrelation-rms.png")
    assert [each["checkpoint"] for each in printed["checkpoints"]] == ["conv2.safetensors", "conv6.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decorrelation-rms.csv", "decorrelation-rms.png"]


def test_each_row_names_its_model_and_groups_leave_out_dimensions_and_seed(aekit, several, vae_checkpoint, tmp_path):
    aekit("decorrelation", *several, "-o", tmp_path / "x.png")
    table = pd.read_csv(tmp_path / "x.csv")
    assert table["checkpoint"].tolist() == [path.name for path in several]
    assert table["group"].tolist() == ["ae conv", "ae conv", "ae conv", "ae dense"]
    assert table["latent"].tolist() == [2, 6, 6, 6]
    assert table["seed"].tolist() == [0, 0, 1, 0]
    assert table["beta"].isna().all()
    vae = aekit("decorrelation", vae_checkpoint, "-o", tmp_path / "vae.png")
    (row,) = pd.read_csv(tmp_path / "vae.csv").to_dict("records")
    assert row["group"] == "vae conv, beta 1"
    assert "active" in vae.stderr
    assert row["n_active"] <= 2


def test_more_dimensions_than_the_images_have_components_leave_the_comparison_empty(aekit, tmp_path):
    path = _train(aekit, tmp_path, "wide", "--latent", 70)
    result = aekit("decorrelation", path, "-n", 30)
    assert result.exit_code == 0, result.stderr
    assert "have at most 29 components" in result.stderr
    (row,) = pd.read_csv(result.paths[0].with_suffix(".csv")).to_dict("records")
    assert np.isnan(row["mean_abs_pca"])
    assert 0 < row["mean_abs"] < 1


def test_other_images_too_few_images_and_bad_options_end_in_one_line(aekit, several, vae_checkpoint, tmp_path):
    result = aekit("decorrelation", several[0], vae_checkpoint)
    assert result.exit_code == 1
    assert "tested on different images" in result.stderr
    few = _train(aekit, tmp_path, "few", "--latent", 2, "--limit", 8)
    result = aekit("decorrelation", few)
    assert result.exit_code == 1
    assert "has 8 images there, and correlations need at least 10" in result.stderr
    assert aekit("decorrelation", several[0], "-n", 3).exit_code == 2
    assert aekit("decorrelation", several[0], "--measure", "median").exit_code == 2
    result = aekit("decorrelation", "-", stdin="")
    assert result.exit_code == 1
    assert "no path came on stdin" in result.stderr
    assert not list(tmp_path.glob("*decorrelation*"))


def test_checkpoints_that_split_other_data_differently_are_refused(aekit, several, tmp_path):
    other = _train(aekit, tmp_path, "other", "--latent", 2, "--limit", 100)
    result = aekit("decorrelation", several[0], other, "--data", "digits", "-o", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "uses other images of digits than those before" in result.stderr


def test_paths_come_from_a_pipe_and_quiet_prints_nothing(aekit, several, tmp_path):
    stdin = "".join(f"{path}\n" for path in [*several, several[0]])
    result = aekit("decorrelation", "-", "-q", "-o", tmp_path / "x.png", stdin=stdin)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert len(pd.read_csv(tmp_path / "x.csv")) == 4


@pytest.mark.real_data
def test_randomly_rotated_axes_predict_the_correlations_of_an_autoencoder(aekit, tmp_path):
    path = tmp_path / "ae.safetensors"
    options = ["--limit", 4000, "--epochs", 2, "--latent", 20, "--threads", 1]
    result = aekit("train-ae", "--data-root", os.environ["AEKIT_DATA"], *options, "-q", "-o", path)
    assert result.exit_code == 0, result.stderr
    result = aekit("decorrelation", path, "--data-root", os.environ["AEKIT_DATA"])
    (row,) = pd.read_csv(result.paths[0].with_suffix(".csv")).to_dict("records")
    assert row["n_dead"] == 0
    assert row["mean_abs"] == pytest.approx(row["mean_abs_rotated"], rel=0.25)
    assert row["mean_abs"] > 3 * np.sqrt(2 / np.pi / row["n_images"])
