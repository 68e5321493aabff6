"""``aekit disentangle`` scores codes against factors: its files, its messages and its errors."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from aekit.images.disentangle.scores import SCORES

pytestmark = pytest.mark.slow  # each trains or measures

CODES = ["model", "turned", "permuted", "factors", "pca", "projection"]


@pytest.fixture(scope="module")
def models(aekit, tmp_path_factory):
    """Return an autoencoder and a VAE of two seeds on small shapes."""
    folder = tmp_path_factory.mktemp("shapes")
    paths = []
    for name, command, seed in (("ae", "train-ae", 0), ("vae0", "train-vae", 0), ("vae1", "train-vae", 1)):
        path = folder / f"{name}.safetensors"
        options = ("--data", "shapes", "--limit", 700, "--image-size", 16, "--arch", "dense", "--latent", 3)
        result = aekit(command, *options, "--epochs", 1, "--seed", seed, "-q", "-o", path)
        assert result.exit_code == 0, result.stderr
        paths.append(path)
    return paths


def test_one_model_is_scored_beside_trivial_codes(aekit, models, tmp_path):
    result = aekit("disentangle", models[1], "--samples", 300, "--json", "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    table = pd.read_csv(tmp_path / "x.csv").set_index("code")
    assert table.index.tolist() == CODES
    assert table["draws"].tolist() == [2] * 6
    for name in SCORES:
        assert table.loc["factors", name] > table.loc["permuted", name], name
        assert (table[f"{name}_low"] <= table[name]).all(), name
        assert (table[name] <= table[f"{name}_high"]).all(), name
    assert "udr" not in table
    (printed,) = json.loads(result.stdout)["models"]
    assert printed["mig"] == pytest.approx(table.loc["model", "mig"])
    importance = pd.read_csv(tmp_path / "x-importance.csv")
    assert importance[["shape", "scale", "orientation", "x", "y"]].sum().tolist() == pytest.approx([1] * 5)
    factors = pd.read_csv(tmp_path / "x-factors.csv")
    of_model = factors[factors["code"] == "model"]
    assert of_model["values"].tolist() == [3, 6, 40, 32, 32]
    assert of_model["mig"].mean() == pytest.approx(table.loc["model", "mig"])
    assert (tmp_path / "x.png").stat().st_size > 10_000
    for word in ("2 draws of 300 test images", "turned: ", "permuted: "):
        assert word in result.stderr


def test_several_models_get_their_agreement_and_share_what_needs_no_model(aekit, models, tmp_path):
    result = aekit("disentangle", *models, "--samples", 300, "--draws", 1, "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    table = pd.read_csv(tmp_path / "x.csv")
    assert table["code"].tolist() == ["model", "turned", "permuted"] * 3 + ["factors", "pca", "projection"]
    own = table[table["code"] == "model"]
    assert own["checkpoint"].tolist() == [path.name for path in models]
    assert own["udr"].between(0, 1).all()
    assert own["mig_low"].isna().all()
    assert "which has no interval" not in result.stderr
    (seeds,) = pd.read_csv(tmp_path / "x-seeds.csv").to_dict("records")  # of the two VAEs
    assert (seeds["kind"], seeds["seeds"]) == ("vae", 2)
    assert seeds["mig"] == pytest.approx(own["mig"].iloc[1:].mean())
    spread = pd.read_csv(tmp_path / "x-spread.csv").set_index("score")
    assert spread.loc["mig", "sd_seeds"] == pytest.approx(own["mig"].iloc[1:].std())
    assert spread["sd_beta"].isna().all()


def test_results_do_not_depend_on_threads(aekit, models, tmp_path):
    for threads in (1, 2):
        aekit("disentangle", models[0], "--samples", 250, "--threads", threads, "-o", tmp_path / f"{threads}.png")
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_images_without_factors_need_several_models(aekit, vae_checkpoint, tmp_path):
    result = aekit("disentangle", vae_checkpoint, "-o", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "no known factors" in result.stderr
    assert "--data shapes" in result.stderr


def test_too_few_images_are_refused(aekit, models, tmp_path):
    result = aekit("disentangle", models[0], "--samples", 100, "-o", tmp_path / "x.png")
    assert result.exit_code == 2
    result = aekit("disentangle", models[0], "--samples", 10_000, "-o", tmp_path / "x.png")
    assert "test has 700 images: 1 draw of 700, which has no interval" in result.stderr


def test_models_of_images_without_factors_get_their_agreement_alone(aekit, tmp_path):
    paths = [tmp_path / f"{seed}.safetensors" for seed in (0, 1)]
    for seed, path in enumerate(paths):
        aekit("train-vae", "--data", "digits", "--latent", 3, "--epochs", 1, "--seed", seed, "-q", "-o", path)
    result = aekit("disentangle", *paths, "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    assert "only the agreement between models (UDR) is measured" in result.stderr
    table = pd.read_csv(tmp_path / "x.csv")
    assert table["udr"].nunique() == 1  # of two models it is the same
    assert "mig" not in table
    assert (tmp_path / "x.png").exists()
    assert not (tmp_path / "x-importance.csv").exists()
