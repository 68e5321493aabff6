"""``aekit interpolate`` walks from one image to another and measures the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from aekit.core.weights import write_checkpoint
from aekit.images.state import read_model

pytestmark = pytest.mark.slow  # each trains, draws or starts the program


def _run(aekit, tmp_path, *arguments):
    result = aekit("interpolate", *arguments, "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    return pd.read_csv(tmp_path / "x.csv"), result


def _codes(aekit, path, tmp_path, split):
    assert aekit("encode", path, "--split", split, "-o", tmp_path / f"{split}.csv").exit_code == 0
    table = pd.read_csv(tmp_path / f"{split}.csv")
    return table.filter(regex=r"^z\d").to_numpy(), table["label"].to_numpy()


def test_the_errors_at_the_ends_are_those_of_reconstruct_whatever_the_range(aekit, vae_checkpoint, tmp_path):
    aekit("reconstruct", vae_checkpoint, "-o", tmp_path / "r.png")
    mse = pd.read_csv(tmp_path / "r.csv").set_index("index")["mse"]
    table, _ = _run(aekit, tmp_path, vae_checkpoint, "--pairs", "#3-#200", "--range", -0.5, 1.75, "--steps", 4)
    np.testing.assert_allclose(table["alpha"], [-0.5, 0.25, 1, 1.75])
    np.testing.assert_allclose(table["start_error"], mse[3], rtol=1e-5)
    np.testing.assert_allclose(table["end_error"], mse[200], rtol=1e-5)


def test_distances_are_those_to_the_codes_of_other_images(aekit, vae_checkpoint, tmp_path):
    codes, _ = _codes(aekit, vae_checkpoint, tmp_path, "test")
    table, _ = _run(aekit, tmp_path, vae_checkpoint, "--pairs", "#3-#200", "--steps", 5)
    z = codes[3] + table["alpha"].to_numpy()[:, None] * (codes[200] - codes[3])
    others = np.delete(codes, [3, 200], axis=0)
    np.testing.assert_allclose(table["nearest_code"], cdist(z, others).min(axis=1), rtol=1e-4, atol=1e-6)
    between = cdist(codes, codes)
    np.fill_diagonal(between, np.inf)
    ratio = table["nearest_code"] / np.median(between.min(axis=1))
    np.testing.assert_allclose(table["nearest_code_ratio"], ratio, rtol=1e-4)


def test_classes_are_drawn_and_the_table_names_the_images(aekit, vae_checkpoint, tmp_path):
    _, labels = _codes(aekit, vae_checkpoint, tmp_path, "test")
    table, _ = _run(aekit, tmp_path, vae_checkpoint, "--pairs", "4-7,8-#9", "--draws", 6, "--steps", 3)
    assert len(table) == 2 * 6 * 3
    first, second = (table[table["pair"] == pair] for pair in ("4-7", "8-#9"))
    assert (labels[first["start_index"]] == 4).all()
    assert (labels[first["end_index"]] == 7).all()
    assert first["start_index"].nunique() > 3
    assert (second["end_index"] == 9).all()
    row = first.iloc[0]
    assert row["start"] == f"4 (#{row['start_index']})"
    assert table.groupby("pair")["shown"].sum().tolist() == [3, 3]


def test_the_first_draw_is_the_same_however_many_there_are(aekit, vae_checkpoint, tmp_path):
    few, _ = _run(aekit, tmp_path, vae_checkpoint, "--pairs", "4-7", "--draws", 1)
    many, _ = _run(aekit, tmp_path, vae_checkpoint, "--pairs", "4-7", "--draws", 5)
    pd.testing.assert_frame_equal(few, many[many["draw"] == 0])
    other, _ = _run(aekit, tmp_path, vae_checkpoint, "--pairs", "4-7", "--draws", 1, "--seed", 1)
    assert other["start_index"][0] != few["start_index"][0]


def test_the_same_command_gives_the_same_bytes(aekit, ae_checkpoint, tmp_path):
    files = []
    for name in "ab":
        output = tmp_path / f"{name}.png"
        options = ["--prior", 2, "--path", "slerp", "--space", "both"]
        assert aekit("interpolate", ae_checkpoint, *options, "-o", output).exit_code == 0
        files.append((output.read_bytes(), output.with_suffix(".csv").read_bytes()))
    assert files[0] == files[1]


def test_checkpoints_get_a_path_each_and_pixels_one_for_all(aekit, vae_checkpoint, ae_checkpoint, tmp_path):
    options = ["--data", "digits", "--pairs", "4-7,#1-#2", "--space", "both", "--draws", 1, "--json"]
    both = tmp_path / "val.safetensors"
    aekit("train-ae", "--data", "digits", "--epochs", 1, "--limit", 300, "--latent", 2, "-o", both, "-q")
    table, result = _run(aekit, tmp_path, both, ae_checkpoint, *options)
    paths = table.groupby(["space", "pair"])["checkpoint"].agg(lambda column: sorted(column.dropna().unique()))
    assert paths["latent"].tolist() == [["ae.safetensors", "val.safetensors"]] * 2
    assert paths["pixels"].tolist() == [[], []]
    pixels = table[table["space"] == "pixels"]
    assert len(pixels) == 2 * 11
    assert pixels.groupby("pair")["step_length"].std().max() < 1e-6  # a blend of pixels moves evenly
    measures = json.loads(result.stdout)["paths"]
    assert [each["length_ratio"] for each in measures if each["space"] == "pixels"] == [1, 1]
    assert all(each["length_ratio"] >= 1 for each in measures)
    with Image.open(tmp_path / "x.png") as image:
        parameters = json.loads(image.text["aekit"])
    assert parameters["checkpoint"] == "val.safetensors"
    assert [other["checkpoint"] for other in parameters["others"]] == ["ae.safetensors"]
    assert parameters["options"]["pairs"] == "4-7,#1-#2"


def test_without_a_pair_some_are_drawn_from_a_pipe_too(aekit, vae_checkpoint):
    result = aekit("interpolate", "-", stdin=f"{vae_checkpoint}\n")
    assert result.paths == [vae_checkpoint.with_name("vae.interpolate.png")]
    table = pd.read_csv(result.paths[0].with_suffix(".csv"))
    assert table["draw"].nunique() == 10
    assert table[table["shown"]]["draw"].nunique() == 4


def test_a_walk_follows_the_difference_of_means_of_the_training_codes(aekit, ae_checkpoint, tmp_path):
    codes, labels = _codes(aekit, ae_checkpoint, tmp_path, "test")
    train_codes, train_labels = _codes(aekit, ae_checkpoint, tmp_path, "train")
    direction = train_codes[train_labels == 0].mean(0) - train_codes[train_labels != 0].mean(0)
    options = ["--attribute", "0", "--from", "#5,7", "--draws", 3, "--space", "both", "--range", -1, 2, "--steps", 4]
    table, result = _run(aekit, tmp_path, ae_checkpoint, *options)
    assert "end" not in table
    assert table.groupby("pair")["draw"].nunique().tolist() == [1, 3]
    latent = table[(table["space"] == "latent") & (table["pair"] == "#5")]
    np.testing.assert_allclose(latent["auc"], roc_auc_score(labels == 0, codes @ direction))
    assert (latent["auc_low"] < latent["auc"]).all()
    z = codes[5] + np.arange(-1, 3)[:, None] * direction
    np.testing.assert_allclose(latent["nearest_code"], cdist(z, np.delete(codes, 5, axis=0)).min(axis=1), rtol=1e-3)
    assert "not class 0" in latent["start"].iloc[0]
    assert "AUC" in result.stderr


def test_samples_of_the_prior_lie_apart_from_images(aekit, vae_checkpoint, tmp_path):
    table, _ = _run(aekit, tmp_path, vae_checkpoint, "--prior", 2, "--draws", 1)
    assert table["draw"].nunique() == 2
    assert table["start_index"].isna().all()
    assert table["start_error"].isna().all()
    assert table["nearest_code"].notna().all()


def test_an_autoencoder_reports_that_its_samples_come_from_a_fitted_gaussian(aekit, ae_checkpoint, tmp_path):
    _, result = _run(aekit, tmp_path, ae_checkpoint, "--prior", 1)
    assert "no prior; samples come from a Gaussian fitted to the training codes" in result.stderr


def _with_codes(path: Path, target: Path, *, scale: float, latent: int | None = None) -> Path:
    """Return a copy of a checkpoint whose codes are scaled."""
    _, header = read_model(path, torch.device("cpu"))
    tensors = load_file(path)
    for name in ("mean_head.weight", "mean_head.bias"):
        tensors[name] = tensors[name] * scale
    if latent is not None:  # the other dimensions are dead
        tensors["mean_head.weight"][latent:] = 0
        tensors["mean_head.bias"][latent:] = 0.5
    return write_checkpoint(target, tensors, header)


def test_codes_that_do_not_differ_are_reported_and_leave_the_distances_empty(aekit, vae_checkpoint, tmp_path):
    path = _with_codes(vae_checkpoint, tmp_path / "dead.safetensors", scale=0)
    table, result = _run(aekit, tmp_path, path, "--json")
    assert "its codes do not differ" in result.stderr
    assert table["nearest_code_ratio"].isna().all()
    measures = json.loads(result.stdout, parse_constant=pytest.fail)["paths"][0]
    assert measures["length_ratio"] is None
    result = aekit("interpolate", path, "--path", "slerp", "--pairs", "#1-#2", "-o", tmp_path / "y.png")
    assert result.exit_code == 1
    assert "no single arc joins" in result.stderr
    assert result.stderr.strip().endswith("use --path linear")


def test_opposite_codes_have_no_arc_and_dead_dimensions_do_not_matter(aekit, ae_checkpoint, tmp_path):
    path = _with_codes(ae_checkpoint, tmp_path / "line.safetensors", scale=1, latent=1)
    codes, _ = _codes(aekit, path, tmp_path, "test")
    assert (codes[:, 1:] == 0.5).all()
    low, high = int(codes[:, 0].argmin()), int(codes[:, 0].argmax())
    result = aekit("interpolate", path, "--path", "slerp", "--pairs", f"#{low}-#{high}", "-o", tmp_path / "y.png")
    assert result.exit_code == 1
    assert f"(#{low}) and" in result.stderr
    table, _ = _run(aekit, tmp_path, path, "--pairs", f"#{low}-#{high}")
    assert table["nearest_code_ratio"].notna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pairs", "4-12"], "digits has no class '12'"),
        (["--pairs", "#12-#300"], "there are 300 test images; give #0 to #299"),
        (["--pairs", "4"], "is not a pair"),
        (["--attribute", "Smiling"], "the images of digits have no attributes; digits has no class 'Smiling'"),
        (["--attribute", "4", "--from", "#999"], "--from #999: there are 300 test images"),
    ],
)
def test_what_is_not_there_is_one_line(aekit, vae_checkpoint, options, message):
    result = aekit("interpolate", vae_checkpoint, *options)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_images_without_labels_have_no_class_pairs_but_indices(aekit, vae_checkpoint, tmp_path):
    np.save(tmp_path / "few.npy", np.random.default_rng(0).integers(0, 255, (50, 8, 8), dtype=np.uint8))
    data = ["--data", tmp_path / "few.npy"]
    result = aekit("interpolate", vae_checkpoint, *data, "--pairs", "4-7")
    assert result.exit_code == 1
    assert "have no classes; name images by their index, such as '#12'" in result.stderr
    table, _ = _run(aekit, tmp_path, vae_checkpoint, *data, "--pairs", "#1-#7")
    assert table["start"].unique().tolist() == ["#1"]


def test_one_image_is_too_few(aekit, vae_checkpoint, tmp_path):
    np.save(tmp_path / "few.npy", np.zeros((1, 8, 8), np.uint8))
    result = aekit("interpolate", vae_checkpoint, "--data", tmp_path / "few.npy", "-o", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "needs two different images" in result.stderr


def test_checkpoints_of_other_images_are_refused(aekit, vae_checkpoint, tmp_path):
    np.save(tmp_path / "wide.npy", np.full((50, 8, 9), 200, np.uint8))
    wide = tmp_path / "wide.safetensors"
    aekit("train-ae", "--data", tmp_path / "wide.npy", "--epochs", 1, "--latent", 2, "-o", wide, "-q")
    result = aekit("interpolate", vae_checkpoint, wide)
    assert result.exit_code == 1
    assert "takes images of height 8, width 9, 1 channel" in result.stderr
    other = tmp_path / "other.safetensors"
    aekit("train-ae", "--data", "digits", "--limit", 40, "--epochs", 1, "--latent", 2, "-o", other, "-q")
    result = aekit("interpolate", vae_checkpoint, other)
    assert result.exit_code == 1
    assert "tested on different images" in result.stderr
    result = aekit("interpolate", vae_checkpoint, other, "--data", "digits", "-o", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "its settings take 40 images" in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--steps", 1],
        ["--range", 1, 0],
        ["--range", 1, 1],
        ["--range", "nan", 1],
        ["--prior", 0],
        ["--prior", 2, "--pairs", "4-7"],
        ["--attribute", "4", "--pairs", "4-7"],
        ["--attribute", "4", "--path", "slerp"],
        ["--space", "pixels", "--path", "slerp"],
        ["--from", "4"],
        ["--draws", 0],
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(aekit, vae_checkpoint, options):
    result = aekit("interpolate", vae_checkpoint, *options)
    assert result.exit_code == 2
    assert result.stdout == ""


@pytest.mark.real_data
def test_faces_smile_along_the_direction_of_smiling(aekit, tmp_path):
    path = tmp_path / "faces.safetensors"
    options = ["--data", "celeba", "--image-size", 32, "--limit", 4000, "--latent", 32, "--beta", 0.3, "--epochs", 4]
    assert aekit("train-vae", *options, "-o", path, "-q").exit_code == 0
    table, _ = _run(aekit, tmp_path, path, "--attribute", "smiling", "--draws", 2)
    assert table["auc_low"].iloc[0] > 0.55
    result = aekit("interpolate", path, "--attribute", "Smilling")
    assert "did you mean 'Smiling'?" in result.stderr
