"""``aekit decorrelation`` says how correlated codes are: a row a checkpoint, a curve, and PCA as a check."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file

from aekit.core.checkpoint import read_header
from aekit.core.weights import write_checkpoint

MEASURES = ["mean_abs", "rms", "participation", "effective_rank"]


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


def _without(checkpoint, folder, n_dead):
    """Return the checkpoint with the first dimensions of its code switched off, but for a constant."""
    tensors, header = load_file(checkpoint), read_header(checkpoint)
    tensors["mean_head.weight"][:n_dead] = 0
    return write_checkpoint(folder / f"dead{n_dead}.safetensors", tensors, header)


def _codes(checkpoint):
    import torch

    import aekit
    from aekit.images.config import DataConfig
    from aekit.images.data import read_images

    config = DataConfig(name="digits", limit=read_header(checkpoint).data["limit"])
    test = read_images(config, "test", data_root=checkpoint.parent)
    with torch.no_grad():
        return aekit.load(checkpoint).encode(torch.from_numpy(test.images).float() / 255).numpy().astype(np.float64)


def test_the_values_are_those_of_numpy_on_the_codes(aekit, ae_checkpoint, tmp_path):
    result = aekit("decorrelation", ae_checkpoint, "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tmp_path / "x.png"]
    (row,) = pd.read_csv(tmp_path / "x.csv").to_dict("records")
    codes = _codes(ae_checkpoint)
    matrix = np.corrcoef(codes, rowvar=False)
    pairs = matrix[np.triu_indices(3, 1)]
    eigenvalues = np.linalg.eigvalsh(matrix)
    assert row["n_images"] == len(codes)
    assert row["mean_abs"] == pytest.approx(np.abs(pairs).mean(), abs=1e-5)
    assert row["rms"] == pytest.approx(np.sqrt((pairs**2).mean()), abs=1e-5)
    assert row["participation"] == pytest.approx(9 / (eigenvalues**2).sum(), abs=1e-4)
    share = eigenvalues / 3
    assert row["effective_rank"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), abs=1e-4)
    for name in MEASURES:
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert f"there are {len(codes)} test images; all are taken" in result.stderr


@pytest.mark.slow
def test_codes_of_pca_are_uncorrelated(aekit, several, tmp_path):
    aekit("decorrelation", *several, "-o", tmp_path / "x.png")
    table = pd.read_csv(tmp_path / "x.csv")
    assert (table[["mean_abs_pca", "rms_pca"]] < 1e-12).all().all()
    np.testing.assert_allclose(table["participation_pca"], table["latent"])
    np.testing.assert_allclose(table["effective_rank_pca"], table["latent"])
    aekit("decorrelation", *several, "--no-pca", "-o", tmp_path / "y.png")
    without = pd.read_csv(tmp_path / "y.csv")
    pd.testing.assert_frame_equal(table[without.columns], without)
    assert not any(column.endswith("_pca") for column in without)


def test_a_row_says_which_model_and_groups_leave_out_dimensions_and_seed(aekit, several, vae_checkpoint, tmp_path):
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


def test_settings_are_named_where_they_differ(aekit, several, tmp_path):
    deep = _train(aekit, tmp_path, "deep", "--latent", 3, "--arch", "dense", "--width", 32, "--layers", 2)
    aekit("decorrelation", *several, deep, "-o", tmp_path / "x.png")
    groups = pd.read_csv(tmp_path / "x.csv")["group"].tolist()
    assert groups[:3] == ["ae conv"] * 3
    assert groups[3] != groups[4]
    assert groups[4] == "ae dense, 2 layers"


def test_dead_dimensions_are_counted_and_left_out(aekit, several, tmp_path):
    whole, dead = several[1], _without(several[1], tmp_path, 2)
    result = aekit("decorrelation", whole, dead, "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    assert "2 of 6 dimensions are dead" in result.stderr
    table = pd.read_csv(tmp_path / "x.csv")
    assert table["n_dead"].tolist() == [0, 2]
    matrix = np.corrcoef(_codes(whole)[:, 2:], rowvar=False)
    assert table["mean_abs"][1] == pytest.approx(np.abs(matrix[np.triu_indices(4, 1)]).mean(), abs=1e-5)


@pytest.mark.parametrize(("n_dead", "participation"), [(5, 1.0), (6, np.nan)])
def test_without_two_live_dimensions_the_value_is_empty_and_that_is_said(
    aekit, several, tmp_path, n_dead, participation
):
    path = _without(several[1], tmp_path, n_dead)
    result = aekit("decorrelation", path, "--json", "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    assert f"no value, as there is no pair of dimensions to correlate (live: {6 - n_dead})" in result.stderr
    (row,) = pd.read_csv(tmp_path / "x.csv").to_dict("records")
    assert np.isnan(row["mean_abs"])
    assert row["participation"] == pytest.approx(participation, nan_ok=True)
    assert json.loads(result.stdout)["checkpoints"][0]["mean_abs"] is None


@pytest.mark.slow
def test_a_subsample_is_drawn_by_its_seed(aekit, ae_checkpoint, tmp_path):
    values = {}
    for name, options in {"a": [], "b": [], "c": ["--seed", 1]}.items():
        result = aekit("decorrelation", ae_checkpoint, "-n", 40, *options, "-o", tmp_path / f"{name}.png")
        assert "all are taken" not in result.stderr
        values[name] = (tmp_path / f"{name}.csv").read_bytes()
    assert values["a"] == values["b"] != values["c"]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert pd.read_csv(tmp_path / "a.csv")["n_images"].tolist() == [40]


def test_the_measure_chooses_the_figure_and_the_table_stays(aekit, several, tmp_path):
    tables = []
    for measure in ("mean-abs", "rms", "participation"):
        result = aekit("decorrelation", *several[:2], "--measure", measure, "--json", "-o", tmp_path)
        answer = json.loads(result.stdout)
        path = Path(answer["path"])
        assert path.name == ("decorrelation.png" if measure == "mean-abs" else f"decorrelation-{measure}.png")
        tables.append(path.with_suffix(".csv").read_bytes())
        first = answer["checkpoints"][0]
        assert first[f"{measure.replace('-', '_')}_low"] <= first[measure.replace("-", "_")]
    assert len(set(tables)) == 1
    with Image.open(tmp_path / "decorrelation-rms.png") as image:
        parameters = json.loads(image.text["aekit"])
    assert parameters["options"] == {
        "split": "test", "images": 5000, "measure": "rms", "bootstrap": 200, "pca": True, "seed": 0,
    }  # fmt: skip
    assert [entry["checkpoint"] for entry in parameters["checkpoints"]] == ["conv2.safetensors", "conv6.safetensors"]


def test_more_dimensions_than_images_have_components_end_the_check_not_the_command(aekit, tmp_path):
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
    assert "has other test images" in result.stderr
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


def test_checkpoints_that_cut_other_data_in_their_own_way_are_refused(aekit, several, tmp_path):
    other = _train(aekit, tmp_path, "other", "--latent", 2, "--limit", 100)
    result = aekit("decorrelation", several[0], other, "--data", "digits", "-o", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "takes other images of digits than those before" in result.stderr


def test_paths_come_from_a_pipe_and_quiet_says_nothing(aekit, several, tmp_path):
    stdin = "".join(f"{path}\n" for path in [*several, several[0]])
    result = aekit("decorrelation", "-", "-q", "-o", tmp_path / "x.png", stdin=stdin)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert len(pd.read_csv(tmp_path / "x.csv")) == 4


@pytest.mark.real_data
def test_axes_turned_at_random_predict_the_correlations_of_an_autoencoder(aekit, tmp_path):
    path = tmp_path / "ae.safetensors"
    options = ["--limit", 4000, "--epochs", 2, "--latent", 20, "--threads", 1]
    result = aekit("train-ae", "--data-root", os.environ["AEKIT_DATA"], *options, "-q", "-o", path)
    assert result.exit_code == 0, result.stderr
    result = aekit("decorrelation", path, "--data-root", os.environ["AEKIT_DATA"])
    (row,) = pd.read_csv(result.paths[0].with_suffix(".csv")).to_dict("records")
    assert row["n_dead"] == 0
    assert row["mean_abs"] == pytest.approx(row["mean_abs_rotated"], rel=0.25)
    assert row["mean_abs"] > 3 * np.sqrt(2 / np.pi / row["n_images"])
