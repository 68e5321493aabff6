"""``aekit compare-codes`` says how alike codes are: its files, its messages and its errors."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow  # each trains or measures


@pytest.fixture(scope="module")
def models(aekit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    paths = []
    for name, command, latent in (("ae3", "train-ae", 3), ("vae3", "train-vae", 3), ("vae5", "train-vae", 5)):
        path = folder / f"{name}.safetensors"
        result = aekit(command, "--data", "digits", "--latent", latent, "--epochs", 2, "-q", "-o", path)
        assert result.exit_code == 0, result.stderr
        paths.append(path)
    return paths


def test_every_pair_has_a_row_with_intervals_and_chance(aekit, models, tmp_path):
    result = aekit("compare-codes", *models, "--images", 200, "--json", "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    table = pd.read_csv(tmp_path / "x.csv")
    files = [path.name for path in models]
    pairs = [(files[0], files[1]), (files[0], files[2]), (files[0], "pixels"), (files[1], files[2])]
    assert list(zip(table["first"], table["second"], strict=True))[:4] == pairs
    assert len(table) == 6
    for name in ("cka", "procrustes", "neighbours"):
        assert (table[f"{name}_low"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_high"]).all()
    assert (table["cka"] > table["cka_chance"]).all()
    assert json.loads(result.stdout)["n"] == 200
    assert "by chance, with the images of one code permuted" in result.stderr
    assert (tmp_path / "x.png").stat().st_size > 10_000


def test_a_model_is_like_itself(aekit, models, tmp_path):
    (tmp_path / "copy.safetensors").write_bytes(models[1].read_bytes())
    aekit("compare-codes", models[1], tmp_path / "copy.safetensors", "--no-pixels", "-o", tmp_path / "x.png")
    (row,) = pd.read_csv(tmp_path / "x.csv").to_dict("records")
    assert row["cka"] == pytest.approx(1)
    assert row["procrustes"] == pytest.approx(0, abs=1e-9)
    assert row["neighbours"] == 1


def test_one_model_is_compared_with_pixels_and_without_them_refused(aekit, models, tmp_path):
    result = aekit("compare-codes", models[0], "-o", tmp_path / "x.png")
    assert len(pd.read_csv(tmp_path / "x.csv")) == 1
    assert "--images 2000: test has 359 images; all are used" in result.stderr
    result = aekit("compare-codes", models[0], "--no-pixels", "-o", tmp_path / "y.png")
    assert result.exit_code == 1
    assert "needs two checkpoints" in result.stderr


def test_codes_that_do_not_vary_are_like_nothing_and_this_is_said(aekit, tmp_path):
    np.save(tmp_path / "x.npy", np.full((400, 8, 8), 7, np.uint8))
    path = tmp_path / "ae.safetensors"
    aekit("train-ae", "--data", tmp_path / "x.npy", "--latent", 2, "--epochs", 1, "-q", "-o", path)
    result = aekit("compare-codes", path, "--data", tmp_path / "x.npy", "--json", "-o", tmp_path / "y.png")
    assert result.exit_code == 0, result.stderr
    assert "its codes are the same for all images" in result.stderr
    (pair,) = json.loads(result.stdout)["pairs"]
    assert pair["cka"] is pair["neighbours"] is pair["neighbours_chance"] is None
