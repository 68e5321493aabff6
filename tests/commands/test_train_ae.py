"""``aekit train-ae`` trains a plain autoencoder: no KL, any loss."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from aekit.core.checkpoint import read_header


def test_an_autoencoder_has_no_kl_and_its_total_is_its_reconstruction(ae_checkpoint):
    history = pd.read_csv(ae_checkpoint.with_suffix(".csv"))
    assert history["kl"].isna().all()
    assert (history["total"] == history["reconstruction"]).all()
    assert history["split"].tolist() == ["train", "test"] * 3


@pytest.mark.parametrize("loss", ["mse", "gaussian", "continuous-bernoulli", "bernoulli"])
def test_every_loss_can_be_trained_on(aekit, tmp_path, loss):
    output = tmp_path / "x.safetensors"
    options = ["--data", "digits", "--epochs", 1, "--limit", 60, "--loss", loss]
    assert aekit("train-ae", *options, "-o", output, "-q").exit_code == 0
    test = read_header(output).result["test"]
    assert np.isfinite(test["total"])
    if loss == "mse":
        assert test["total"] == pytest.approx(test["mse"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "options"), [("strided", ["--layers", 3]), ("resize-conv", []), ("blocks", []), ("dense", [])]
)
def test_every_architecture_can_be_trained(aekit, tmp_path, arch, options):
    output = tmp_path / "x.safetensors"
    shared = ["--data", "digits", "--image-size", 28, "--epochs", 1, "--limit", 40, "--arch", arch]
    result = aekit("train-ae", *shared, *options, "-o", output, "-q")
    assert result.exit_code == 0, result.stderr
    assert read_header(output).model["arch"] == arch


@pytest.mark.real_data
def test_ten_dimensions_beat_pca_after_one_epoch(aekit, tmp_path):
    output = tmp_path / "x.safetensors"
    assert aekit("train-ae", "--epochs", 1, "--latent", 10, "-o", output, "-q").exit_code == 0
    assert read_header(output).result["test"]["mse"] < 0.0341 / 2
