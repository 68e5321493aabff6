"""``aekit encode`` writes codes with the label and attributes of each image."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from sklearn.datasets import load_digits


def test_a_vae_gives_means_log_variances_labels_and_indices(aekit, vae_checkpoint, tmp_path):
    result = aekit("encode", vae_checkpoint, "-o", tmp_path / "x.safetensors")
    assert result.exit_code == 0, result.stderr
    tensors = load_file(tmp_path / "x.safetensors")
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()} == {
        "mean": (np.float32, (300, 2)),
        "logvar": (np.float32, (300, 2)),
        "label": (np.int64, (300,)),
        "index": (np.int64, (300,)),
        "file": (np.int64, (300,)),
        "row": (np.int64, (300,)),
    }
    with safe_open(tmp_path / "x.safetensors", "numpy") as file:
        parameters = json.loads(file.metadata()["aekit"])
    assert parameters["command"] == "encode"
    assert parameters["class_names"] == list("0123456789")
    assert parameters["files"] == ["digits.csv.gz"]
    assert (load_digits().target[tensors["row"]] == tensors["label"]).all()


def test_an_autoencoder_has_no_log_variances(aekit, ae_checkpoint, tmp_path):
    aekit("encode", ae_checkpoint, "-o", tmp_path / "x.safetensors")
    assert set(load_file(tmp_path / "x.safetensors")) == {"mean", "label", "index", "file", "row"}


@pytest.mark.parametrize("options", [["-o", "{}/x.csv"], ["--format", "csv", "-o", "{}"]])
def test_a_table_holds_the_same_codes(aekit, ae_checkpoint, tmp_path, options):
    aekit("encode", ae_checkpoint, "-o", tmp_path / "x.safetensors")
    tensors = load_file(tmp_path / "x.safetensors")
    (path,) = aekit("encode", ae_checkpoint, *[option.format(tmp_path) for option in options]).paths
    table = pd.read_csv(path)
    assert list(table.columns) == ["index", "file", "row", "label", "z0", "z1", "z2"]
    np.testing.assert_array_equal(table["label"], tensors["label"])
    np.testing.assert_allclose(table[["z0", "z1", "z2"]], tensors["mean"], rtol=1e-6)


def test_the_split_is_in_the_name_and_chooses_the_images(aekit, ae_checkpoint):
    (path,) = aekit("encode", ae_checkpoint, "--split", "train").paths
    assert path == ae_checkpoint.with_name("ae.codes-train.safetensors")
    (test,) = aekit("encode", ae_checkpoint).paths
    assert not np.array_equal(load_file(path)["mean"], load_file(test)["mean"])


@pytest.mark.slow  # trains
def test_codes_of_drawn_shapes_have_the_factors_of_their_row_in_the_grid(aekit, tmp_path):
    path = tmp_path / "ae.safetensors"
    options = ("--limit", 60, "--image-size", 16, "--arch", "dense", "--latent", 2, "--epochs", 1)
    assert aekit("train-ae", "--data", "shapes", *options, "-o", path).exit_code == 0
    aekit("encode", path, "-o", tmp_path / "x.safetensors")
    aekit("encode", path, "-o", tmp_path / "x.csv")
    tensors, table = load_file(tmp_path / "x.safetensors"), pd.read_csv(tmp_path / "x.csv")
    truth = np.stack(np.unravel_index(tensors["row"], (3, 6, 40, 32, 32)), axis=1)
    assert tensors["factors"].dtype == np.int64
    np.testing.assert_array_equal(tensors["factors"], truth)
    np.testing.assert_array_equal(table[["shape", "scale", "orientation", "x", "y"]], truth)
    assert table["shape_value"].tolist() == np.array(["square", "ellipse", "heart"])[truth[:, 0]].tolist()
    np.testing.assert_allclose(table["scale_value"], 0.5 + 0.1 * truth[:, 1])
    np.testing.assert_allclose(table["orientation_value"], 9 * truth[:, 2])
    np.testing.assert_allclose(table["x_value"], truth[:, 3] / 31, atol=1e-6)
    with safe_open(tmp_path / "x.safetensors", "numpy") as file:
        parameters = json.loads(file.metadata()["aekit"])
    assert parameters["factor_names"] == ["shape", "scale", "orientation", "x", "y"]
    assert [len(values) for values in parameters["factor_values"]] == [3, 6, 40, 32, 32]


def test_a_format_against_the_suffix_is_an_error(aekit, ae_checkpoint, tmp_path):
    result = aekit("encode", ae_checkpoint, "--format", "csv", "-o", tmp_path / "x.safetensors")
    assert result.exit_code == 1
    assert "--format csv" in result.stderr
    assert aekit("encode", ae_checkpoint, "-o", tmp_path / "x.npy").exit_code == 1


def test_codes_are_not_a_checkpoint(aekit, ae_checkpoint, tmp_path):
    aekit("encode", ae_checkpoint, "-o", tmp_path / "x.safetensors")
    result = aekit("info", tmp_path / "x.safetensors")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
