"""``aekit samples-quality``: its numbers against an independent way to them, its files and its errors."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import linalg
from sklearn.decomposition import PCA

from aekit.images.draws import draw_rows
from aekit.images.inference import decode_codes
from aekit.images.session import open_session

pytestmark = pytest.mark.slow  # each trains a network


def _run(aekit, *options):
    result = aekit("samples-quality", *options)
    assert result.exit_code == 0, result.stderr
    return result


def test_the_distance_is_that_of_the_samples_that_sample_writes(aekit, vae_checkpoint, tmp_path):
    options = ["--density", "prior,gmm", "--features", "pca", "-o", tmp_path / "q.png"]
    result = _run(aekit, vae_checkpoint, *options, "--json")
    table = pd.read_csv(tmp_path / "q.csv").set_index("source")
    assert list(table.index) == ["prior", "gmm", "reconstructions", "train", "pixel-gaussian"]
    n = int(table["n"].iloc[0])
    aekit("sample", vae_checkpoint, "-n", n, "--codes", tmp_path / "c.csv", "-o", tmp_path / "s.png")
    session = open_session(vae_checkpoint)
    checkpoint = next(session.checkpoints())
    train, test = (session.images(checkpoint, split).images / 255 for split in ("train", "test"))
    samples = decode_codes(checkpoint.model, pd.read_csv(tmp_path / "c.csv")[["z0", "z1"]].to_numpy())
    kept = np.setdiff1d(np.arange(len(train)), draw_rows(len(train), n, seed=0))
    pca = PCA(50, svd_solver="full").fit(train[kept].reshape(len(kept), -1))
    held_out = test[draw_rows(len(test), n, seed=0)]
    scale = np.sqrt(pca.explained_variance_.mean())
    first, second = (pca.transform(each.reshape(len(each), -1)) / scale for each in (samples, held_out))
    c, d = np.cov(first.T), np.cov(second.T)
    root = np.sqrt(np.maximum(linalg.eigvals(c @ d).real, 0)).sum()  # the trace of the root of c d
    expected = np.square(first.mean(0) - second.mean(0)).sum() + np.trace(c + d) - 2 * root
    assert table.loc["prior", "frechet"] == pytest.approx(expected, rel=1e-4)
    differences = pd.read_csv(tmp_path / "q-differences.csv")
    assert differences["frechet"].item() == pytest.approx(table.loc["prior", "frechet"] - table.loc["gmm", "frechet"])
    assert json.loads(result.stdout)["rows"][0]["frechet"] == pytest.approx(expected, rel=1e-4)
    assert (tmp_path / "q-images.png").exists()


def test_real_images_are_nearer_than_samples_and_a_network_is_not_fooled_by_a_gaussian(aekit, vae_checkpoint, tmp_path):
    result = _run(aekit, vae_checkpoint, "-o", tmp_path / "q.png")
    assert "a small network trained on the classes of training images, right for" in result.stderr
    table = pd.read_csv(tmp_path / "q.csv").set_index(["features", "source"])
    for features in ("pca", "network"):
        real = table.loc[(features, "train")]
        others = table.loc[features].drop("train")
        assert (real["frechet"] < others["frechet"]).all()
        assert (real["recall"] > others["recall"]).all()
        assert real["kernel_low"] <= 0 <= real["kernel_high"]
    assert table.loc[("network", "pixel-gaussian"), "kernel_low"] > 0


def test_a_network_of_ones_own_is_used_and_only_the_one_of_the_fid_is_called_so(aekit, vae_checkpoint, tmp_path):
    from torchvision import models

    torch.manual_seed(0)
    torch.save(models.squeezenet1_1().state_dict(), tmp_path / "no-dense-layer.pth")
    torch.save(models.mnasnet0_5().state_dict(), tmp_path / "w.pth")
    options = ["--density", "prior", "-n", 50, "-o", tmp_path / "q.png"]
    result = _run(aekit, vae_checkpoint, "--features", f"mnasnet0_5={tmp_path / 'w.pth'}", *options)
    assert "mnasnet0_5 with weights from w.pth" in result.stderr
    assert "FID" not in result.stderr
    table = pd.read_csv(tmp_path / "q.csv")
    assert set(table["features"]) == {"mnasnet0_5"}
    assert np.isfinite(table["frechet"]).all()
    wrong = aekit("samples-quality", vae_checkpoint, "--features", f"resnet18={tmp_path / 'w.pth'}", *options)
    assert wrong.exit_code == 1
    assert "are not the weights of resnet18" in wrong.stderr
    spec = f"squeezenet1_1={tmp_path / 'no-dense-layer.pth'}"
    assert "has no dense layer" in aekit("samples-quality", vae_checkpoint, "--features", spec, *options).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--density", "gm"], "--density gm: 'gm' is not known; did you mean 'gmm'?"),
        (["--density", "prior"], "is a plain autoencoder, which has none; use gaussian,gmm"),
        (["--features", "inception"], "give pca, network, or NAME=FILE"),
        (["--features", "resnet18=missing.pth"], "cannot be read (No such file or directory)"),
        (["--features", "resnet=x.pth"], "torchvision has no classifier 'resnet'"),
        (["--split", "train"], "has training images, which do not measure samples"),
        (["--split", "val"], "val"),
    ],
)
def test_what_cannot_be_is_refused_by_name(aekit, ae_checkpoint, tmp_path, options, message):
    result = aekit("samples-quality", ae_checkpoint, *options, "-o", tmp_path / "x.png")
    assert result.exit_code != 0
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_images_without_classes_are_compared_by_pixels_alone(aekit, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 255, (400, 8, 8), np.uint8))
    aekit(
        "train-ae", "--data", tmp_path / "x.npy", "--latent", 2, "--epochs", 1, "-q", "-o", tmp_path / "ae.safetensors"
    )
    result = _run(aekit, tmp_path / "ae.safetensors", "--data", tmp_path / "x.npy")
    assert "has no two classes to train a network on; pixels are the only feature space" in result.stderr
    assert set(pd.read_csv(tmp_path / "ae.samples-quality.csv")["features"]) == {"pca"}
    refused = aekit(
        "samples-quality", tmp_path / "ae.safetensors", "--data", tmp_path / "x.npy", "--features", "network"
    )
    assert "has no two classes to train it on; use pca" in refused.stderr


def test_a_model_that_is_told_the_class_has_samples_of_all_classes(aekit, tmp_path):
    options = ["--data", "digits", "--condition", "label", "--latent", 2, "--epochs", 2, "-q"]
    aekit("train-vae", *options, "-o", tmp_path / "c.safetensors")
    _run(aekit, tmp_path / "c.safetensors", "--density", "prior", "--features", "network")
    table = pd.read_csv(tmp_path / "c.samples-quality.csv").set_index("source")
    assert table.loc["prior", "frechet"] < table.loc["pixel-gaussian", "frechet"] * 3


def test_constant_images_break_nothing(aekit, tmp_path):
    np.save(tmp_path / "x.npy", np.full((300, 8, 8), 7, np.uint8))
    aekit(
        "train-ae", "--data", tmp_path / "x.npy", "--latent", 2, "--epochs", 1, "-q", "-o", tmp_path / "ae.safetensors"
    )
    _run(aekit, tmp_path / "ae.safetensors", "--data", tmp_path / "x.npy", "--density", "gaussian,gmm")
    table = pd.read_csv(tmp_path / "ae.samples-quality.csv")
    assert np.isfinite(table["frechet"]).all()
