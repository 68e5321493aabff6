"""``aekit outliers``: what was planted is ranked first; its files, its messages and its errors."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytestmark = pytest.mark.slow  # each scores images with a network


@pytest.fixture(scope="module")
def model(aekit, tmp_path_factory):
    path = tmp_path_factory.mktemp("outliers") / "vae.safetensors"
    result = aekit("train-vae", "--data", "digits", "--latent", 8, "--epochs", 15, "-q", "-o", path)
    assert result.exit_code == 0, result.stderr
    return path


@pytest.fixture(scope="module")
def digits():
    from aekit.images.config import DataConfig
    from aekit.images.data.digits import read_digits

    return read_digits(DataConfig(name="digits"), "test", data_root=None)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    path = tmp_path_factory.mktemp("noise") / "noise.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (100, 8, 8), dtype=np.uint8))
    return path


def test_known_outliers_are_measured_by_every_score(aekit, model, noise, tmp_path):
    result = aekit("outliers", model, "--outliers", noise, "--json", "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    scores = pd.read_csv(tmp_path / "x-scores.csv", index_col="score")
    assert scores.loc["complexity", "auroc"] > 0.95
    assert (scores["auroc_low"] <= scores["auroc"]).all()
    assert (scores["auroc"] <= scores["auroc_high"]).all()
    assert scores.index[scores["trivial"]].tolist() == ["code-length", "pca-mse", "pca-mahalanobis", "pca-knn"]
    ranked = pd.read_csv(tmp_path / "x.csv")
    assert ranked["set"].value_counts().to_dict() == {"searched": 359, "outliers": 100}
    assert (ranked["set"][:50] == "outliers").mean() > 0.9
    assert (np.diff(ranked["score"]) <= 0).all()
    assert ranked["file"].notna().all()
    assert json.loads(result.stdout)["n"] == 359
    for name in ("x.png", "x-scores.png"):
        assert (tmp_path / name).stat().st_size > 5_000
    assert "thresholds that 0.05 of 359 inliers exceed" in result.stderr


def test_copies_of_the_inliers_score_as_they_do(aekit, model, digits, tmp_path):
    np.save(tmp_path / "copies.npy", digits.images[:, 0])
    aekit("outliers", model, "--outliers", tmp_path / "copies.npy", "-o", tmp_path / "x.png")
    scores = pd.read_csv(tmp_path / "x-scores.csv")
    assert scores["auroc"].to_numpy() == pytest.approx(0.5, abs=1e-3)
    assert ((scores["auroc_low"] < 0.5) & (scores["auroc_high"] > 0.5)).all()


def test_a_folder_is_searched_and_what_does_not_belong_is_named_first(aekit, model, digits, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, pixels in enumerate(digits.images[:60, 0]):
        Image.fromarray(pixels).save(folder / f"digit{number:02}.png")
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / "odd.png")
    Image.fromarray(digits.images[7, 0]).save(folder / "twin.png")
    result = aekit("outliers", model, "--data", folder, "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    ranked = pd.read_csv(tmp_path / "x.csv")
    assert ranked["file"][0] == "odd.png"
    assert ranked["flagged"][0]
    assert ranked["p"][0] == pytest.approx(1 / 360)
    assert len(ranked) == 62
    pairs = pd.read_csv(tmp_path / "x-duplicates.csv")
    twins = pairs[pairs["other_set"] == "searched"]
    assert twins[["file", "other_file", "difference"]].to_numpy().tolist() == [["digit07.png", "twin.png", 0.0]]
    assert not (tmp_path / "x-labels.csv").exists()
    assert (tmp_path / "x-suspects.png").exists()


@pytest.mark.parametrize("name", ["odd.png", "odd-scores.png", "odd-suspects.png"])
def test_no_result_replaces_an_image_that_is_searched(aekit, model, tmp_path, name):
    for each in (name, "other.png"):
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / each)
    before = (tmp_path / name).read_bytes()
    for option in ("--data", "--outliers"):
        result = aekit("outliers", model, option, tmp_path, "-o", tmp_path / "odd.png")
        assert result.exit_code == 1
        assert "would replace" in result.stderr
    assert (tmp_path / name).read_bytes() == before


def test_rows_of_duplicates_are_those_of_all_training_images_also_if_some_are_drawn(aekit, model, tmp_path):
    from aekit.images.session import open_session

    session = open_session(model)
    train = session.images(next(session.checkpoints()), "train")
    np.save(tmp_path / "copies.npy", train.images[:, 0])
    options = ["--data", tmp_path / "copies.npy", "--reference", 300, "--duplicates", 0]
    assert aekit("outliers", model, *options, "-o", tmp_path / "x.png").exit_code == 0
    table = pd.read_csv(tmp_path / "x-duplicates.csv")
    found = table[table["other_set"] == "training"]
    assert (found["index"] == found["other_index"]).sum() == 300


def test_changed_labels_are_listed_with_their_files(aekit, model, digits, tmp_path):
    folder = tmp_path / "classes"
    for number, (pixels, label) in enumerate(zip(digits.images[:, 0], digits.labels, strict=True)):
        wrong = number % 40 == 11  # 9 of 359
        own = folder / f"class{(label + 5 * wrong) % 10}"
        own.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(own / f"{number:03}.png")
    aekit("outliers", model, "--data", folder, "-o", tmp_path / "x.png")
    table = pd.read_csv(tmp_path / "x-labels.csv")
    listed = [int(file.rpartition("/")[2].removesuffix(".png")) for file in table["file"]]
    assert sum(number % 40 == 11 for number in listed) >= 7
    assert len(listed) < 40
    assert (table["label"] != table["neighbours_label"]).all()


def test_training_images_are_searched_without_being_their_own_neighbours(aekit, model, tmp_path):
    result = aekit("outliers", model, "--split", "train", "--score", "knn", "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    ranked = pd.read_csv(tmp_path / "x.csv")
    assert len(ranked) == 1438
    assert (ranked["knn"] > 0).all()
    assert (pd.read_csv(tmp_path / "x-duplicates.csv")["other_set"] == "searched").all()


def test_fewer_training_images_are_drawn_and_that_is_said(aekit, model, tmp_path):
    result = aekit("outliers", model, "--reference", 300, "-o", tmp_path / "x.png")
    assert "--reference 300: scores are fitted to so many of 1,438 training images" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "all"], "--split all: training images and held-out ones are scored apart"),
        (["--fpr", "0"], "--fpr: 0 is not a fraction between 0 and 1"),
        (["--fpr", "0.001"], "--fpr 0.001: needs 999 held-out images that belong or more; digits has 359 test images"),
        (["--duplicates", "nan"], "--duplicates: nan is not between 0 and 1"),
        (["--data", "nowhere"], "nowhere"),
        (["--score", "nothing"], "nothing"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(aekit, model, tmp_path, options, message):
    result = aekit("outliers", model, *options, "-o", tmp_path / "x.png")
    assert result.exit_code != 0
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_images_of_another_size_are_refused_by_the_option_that_names_them(aekit, model, tmp_path):
    np.save(tmp_path / "large.npy", np.zeros((30, 9, 9), np.uint8))
    for option in ("--data", "--outliers"):
        result = aekit("outliers", model, option, tmp_path / "large.npy", "-o", tmp_path / "x.png")
        assert result.exit_code == 1
        assert f"aekit: {option} " in result.stderr


def test_models_of_no_likelihood_or_that_are_told_classes_are_refused(aekit, ae_checkpoint, tmp_path):
    result = aekit("outliers", ae_checkpoint, "--score", "elbo")
    assert result.exit_code == 1
    assert "is a plain autoencoder, which has no p(x)" in result.stderr
    path = tmp_path / "told.safetensors"
    aekit("train-vae", "--data", "digits", "--condition", "label", "--epochs", 1, "-q", "-o", path)
    result = aekit("outliers", path)
    assert "is told the class of an image" in result.stderr


@pytest.mark.parametrize(
    ("shown", "with_copy", "title"),
    [
        ("both", True, "1 near duplicates and 20 suspect labels (first 12)"),
        ("pairs", True, "1 near duplicates"),
        ("labels", False, "20 suspect labels (first 12)"),
    ],
)
def test_the_sheet_of_suspects_is_called_what_it_shows(shown, with_copy, title):
    from types import SimpleNamespace

    from aekit.images.outliers.study import _suspects_in_words

    pairs = {"searched": (None, SimpleNamespace(first=[1] if with_copy else []))}
    labels = None if shown == "pairs" else SimpleNamespace(rows=[3] * 20)
    assert _suspects_in_words(SimpleNamespace(pairs=pairs, labels=labels, request=SimpleNamespace(n_shown=12))) == title


def test_a_search_says_which_companions_are_of_another_one(aekit, vae_checkpoint, tmp_path):
    options = ["-n", 4, "--bootstrap", 10, "-o", tmp_path / "x.png"]
    first = aekit("outliers", vae_checkpoint, "--outliers", "digits", *options)
    assert "there before" not in first.stderr
    (tmp_path / "x-labels.csv").unlink(missing_ok=True)
    content = (tmp_path / "x-scores.png").read_bytes()
    result = aekit("outliers", vae_checkpoint, *options)
    assert "x.png: not of this result, but there before: x-scores.png" in result.stderr
    assert (tmp_path / "x-scores.png").read_bytes() == content


def test_images_of_the_training_are_not_duplicates_of_themselves(aekit, tmp_path):
    from sklearn.datasets import load_digits

    digits = load_digits().images[:300]
    np.save(tmp_path / "x.npy", (digits * 15).astype(np.uint8))
    path = tmp_path / "ae.safetensors"
    aekit("train-ae", "--data", tmp_path / "x.npy", "--latent", 3, "--epochs", 1, "-q", "-o", path)
    where = ["--inliers", tmp_path / "x.npy", "--data", tmp_path / "x.npy"]
    result = aekit("outliers", path, *where, "-o", tmp_path / "y.png")
    assert result.exit_code == 0, result.stderr
    n_train = 240
    assert f"{n_train} searched images of 300: training images themselves" in result.stderr
    pairs = pd.read_csv(tmp_path / "y-duplicates.csv")
    assert not (pairs["other_set"].eq("training") & pairs["row"].eq(pairs["other_row"])).any()
