"""``aekit pca-compare`` measures models and exact PCA on the same images."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file
from sklearn.decomposition import PCA

from aekit.core.checkpoint import read_header
from aekit.core.weights import write_checkpoint

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

COLUMNS = [
    "latent", "model", "mse", "pca_mse", "pca_clipped_mse", "ratio", "ratio_clipped", "explained_variance",
    "pca_explained_variance", "kind", "arch", "beta", "seed", "checkpoint",
]  # fmt: skip


def _train(aekit, path, *options, kind="ae", limit=70):
    result = aekit(
        f"train-{kind}", "--data", "digits", "--epochs", 1, "--limit", limit, "--threads", 1, "-q", *options, "-o", path
    )
    assert result.exit_code == 0, result.stderr
    return path


@pytest.fixture(scope="module")
def sweep(aekit, tmp_path_factory) -> list[Path]:
    """Return autoencoders of two latent dimensions with two seeds, one of three, and a VAE of two, trained alike."""
    folder = tmp_path_factory.mktemp("sweep")
    paths = [
        _train(aekit, folder / f"ae{d}-{seed}.safetensors", "--arch", "dense", "--latent", d, "--seed", seed)
        for d, seed in ((2, 0), (2, 1), (3, 0))
    ]
    return [*paths, _train(aekit, folder / "vae2.safetensors", "--latent", 2, kind="vae")]


@pytest.fixture(scope="module")
def compared(aekit, sweep, tmp_path_factory):
    path = tmp_path_factory.mktemp("compared") / "pca.png"
    result = aekit("pca-compare", "-", "-o", path, stdin="\n".join(map(str, sweep)))
    assert result.exit_code == 0, result.stderr
    return result


def _rows(split, limit=70):
    from aekit.images.config import DataConfig
    from aekit.images.data import read_images

    images = read_images(DataConfig(name="digits", limit=limit), split, data_root=Path("nowhere")).images
    return images.reshape(len(images), -1) / 255


def test_the_table_has_the_error_of_each_model_and_that_of_scikit_learns_pca(aekit, sweep, compared, tmp_path):
    (path,) = compared.paths
    table = pd.read_csv(path.with_suffix(".csv"))
    assert list(table.columns) == COLUMNS
    assert table["checkpoint"].tolist() == [path.name for path in sweep]
    train, test = _rows("train"), _rows("test")
    for row, checkpoint in zip(table.itertuples(), sweep, strict=True):
        evaluated = json.loads(aekit("evaluate", checkpoint, "--json", "-q", "-o", tmp_path).stdout)
        assert row.mse == pytest.approx(evaluated["mse"], rel=1e-5)
        pca = PCA(row.latent).fit(train)
        restored = pca.inverse_transform(pca.transform(test))
        assert row.pca_mse == pytest.approx(np.mean((restored - test) ** 2))
        assert row.pca_clipped_mse == pytest.approx(np.mean((restored.clip(0, 1) - test) ** 2))
        assert row.ratio == pytest.approx(row.pca_mse / row.mse)
        assert row.ratio_clipped == pytest.approx(row.pca_clipped_mse / row.mse)
        around_mean = np.mean((test - train.mean(axis=0)) ** 2)
        assert row.explained_variance == pytest.approx(1 - row.mse / around_mean)
        assert row.pca_explained_variance == pytest.approx(1 - row.pca_mse / around_mean)


def test_companions_share_the_stem_and_carry_what_made_them(compared):
    (path,) = compared.paths
    assert sorted(file.name for file in path.parent.iterdir()) == ["pca-2d.png", "pca-elbow.csv", "pca.csv", "pca.png"]
    for name in ("pca.png", "pca-2d.png"):
        with Image.open(path.with_name(name)) as image:
            parameters = json.loads(image.text["aekit"])
        assert parameters["checkpoints"] == [f"{stem}.safetensors" for stem in ("ae2-0", "ae2-1", "ae3-0", "vae2")]
        assert parameters["pca"] == {"fitted_on": "train", "n": 70}
        assert parameters["images"]["n"] == 70
    assert "Mean squared error of 70 test images of digits" in compared.stderr


def test_the_same_call_makes_the_same_bytes(aekit, sweep, compared, tmp_path):
    assert aekit("pca-compare", *sweep, "-q", "-o", tmp_path / "pca.png").stderr == ""
    for file in compared.paths[0].parent.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_models_that_differ_only_in_seed_and_latent_dimensions_share_a_name(compared):
    assert pd.read_csv(compared.paths[0].with_suffix(".csv"))["model"].unique().tolist() == ["ae dense", "vae conv"]


def test_one_checkpoint_is_enough_and_need_not_have_two_dimensions(aekit, ae_checkpoint, tmp_path):
    result = aekit("pca-compare", ae_checkpoint, "--split", "train", "-o", tmp_path, "--json")
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    assert Path(values["path"]) == tmp_path / "ae.pca-compare-train.png"
    (ratio,) = pd.read_csv(tmp_path / "ae.pca-compare-train.csv")["ratio"]
    assert values["worst_ratio"] == values["best_ratio"] == pytest.approx(ratio)
    assert values["elbows"] == {"PCA": None, "PCA clipped to [0, 1]": None, "ae conv": None}
    assert not list(tmp_path.glob("*-2d.png"))
    assert pd.read_csv(tmp_path / "ae.pca-compare-train-elbow.csv")["elbow"].isna().all()


def test_more_latent_dimensions_than_components_take_all_of_them(aekit, tmp_path):
    path = _train(aekit, tmp_path / "x.safetensors", "--latent", 30, limit=20)
    result = aekit("pca-compare", path, "-o", tmp_path / "p.png")
    assert result.exit_code == 0, result.stderr
    assert "20 images of 64 values have only 19 components" in result.stderr
    train, test = _rows("train", 20), _rows("test", 20)
    pca = PCA(19).fit(train)
    expected = np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2)
    assert pd.read_csv(tmp_path / "p.csv")["pca_mse"][0] == pytest.approx(expected)


def test_images_without_labels_are_drawn_in_grey(aekit, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 255, (40, 9, 8, 3), dtype=np.uint8))
    path = tmp_path / "m.safetensors"
    options = ["--data", tmp_path / "x.npy", "--latent", 2, "--epochs", 1, "--arch", "dense", "-q", "-o", path]
    assert aekit("train-ae", *options).exit_code == 0
    result = aekit("pca-compare", path, "--data", tmp_path / "x.npy")
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tmp_path / "m.pca-compare.png"]
    with Image.open(tmp_path / "m.pca-compare-2d.png") as image:
        coloured = np.ptp(np.asarray(image.convert("RGB"))[:400].astype(int), axis=2)
    assert coloured.max() == 0


def _damaged(path, target, name, value):
    tensors = load_file(path)
    return write_checkpoint(target, tensors | {name: tensors[name].fill_(value)}, read_header(path))


def test_a_dead_dimension_is_reported_and_drawn(aekit, sweep, tmp_path):
    path = _damaged(sweep[0], tmp_path / "dead.safetensors", "mean_head.weight", 0)
    result = aekit("pca-compare", path, "-o", tmp_path / "p.png")
    assert result.exit_code == 0, result.stderr
    assert "both dimensions of its code are dead" in result.stderr
    assert (tmp_path / "p-2d.png").is_file()


def test_bad_input_is_one_line(aekit, sweep, ae_checkpoint, vae_checkpoint, tmp_path):
    nan = _damaged(sweep[0], tmp_path / "nan.safetensors", "mean_head.weight", np.nan)
    cases = {
        (ae_checkpoint, vae_checkpoint): "was trained on different images from",
        ("-",): "no path came on stdin",
        (sweep[0], "--split", "val"): "trained without validation images",
        (sweep[0], "-o", tmp_path / "x.pdf"): "use .png",
        (nan, "-o", tmp_path / "x.png"): "its weights are not finite (mean_head.weight)",
        (tmp_path / "none.safetensors",): "cannot be read",
    }
    for arguments, message in cases.items():
        result = aekit("pca-compare", *arguments, stdin="")
        assert result.exit_code == 1
        assert result.stdout == ""
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    twice = aekit("pca-compare", sweep[0], sweep[0], "-o", tmp_path / "p.png")
    assert "named twice" in twice.stderr
    assert len(pd.read_csv(tmp_path / "p.csv")) == 1


@pytest.mark.real_data
def test_a_short_training_beats_pca_on_mnist(aekit, tmp_path):
    path = tmp_path / "ae.safetensors"
    result = aekit("train-ae", "--latent", 10, "--epochs", 1, "--samples-per-epoch", 12_000, "-q", "-o", path)
    assert result.exit_code == 0, result.stderr
    values = json.loads(aekit("pca-compare", path, "--json", "-q", "--data-root", os.environ["AEKIT_DATA"]).stdout)
    assert values["worst_ratio"] > 1.2
    row = pd.read_csv(tmp_path / "ae.pca-compare.csv").iloc[0]
    assert row["pca_mse"] == pytest.approx(0.0341, abs=6e-5)
