"""``aekit evaluate`` measures what the training reported, and more, with standard errors."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from aekit.core.checkpoint import read_header


def _evaluate(aekit, checkpoint, tmp_path, *options):
    result = aekit("evaluate", checkpoint, *options, "-o", tmp_path / "x.json")
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tmp_path / "x.json"]
    return json.loads((tmp_path / "x.json").read_text()), result


def test_it_repeats_the_test_figures_of_the_training(aekit, vae_checkpoint, tmp_path):
    totals, result = _evaluate(aekit, vae_checkpoint, tmp_path)
    reported = read_header(vae_checkpoint).result["test"]
    for key in ("total", "reconstruction", "kl"):
        assert totals[key] == pytest.approx(reported[key], rel=1e-5)
        assert 0 < totals[f"{key}_error"] < totals[key]
    assert totals["n"] == 300
    assert "active units" in result.stderr
    assert "300 test images" in result.stderr


def test_dimensions_have_a_table_and_bars(aekit, vae_checkpoint, tmp_path):
    totals, _ = _evaluate(aekit, vae_checkpoint, tmp_path)
    table = pd.read_csv(tmp_path / "x.csv")
    assert list(table.columns) == ["checkpoint", "dimension", "kl", "variance", "active"]
    assert table["kl"].sum() == pytest.approx(totals["kl"], rel=1e-5)
    assert table["active"].sum() == totals["active_units"]
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_the_importance_weighted_bound_is_tighter_than_the_evidence_lower_bound(aekit, vae_checkpoint, tmp_path):
    totals, _ = _evaluate(aekit, vae_checkpoint, tmp_path, "--importance", 20)
    assert totals["log_p"] > -totals["total"]
    assert totals["parameters"]["options"]["importance"] == 20


def test_an_autoencoder_has_errors_but_no_divergence_and_no_bound(aekit, ae_checkpoint, tmp_path):
    totals, _ = _evaluate(aekit, ae_checkpoint, tmp_path)
    assert "kl" not in totals
    assert {"total", "mse", "psnr", "ssim", "psnr_error"} <= set(totals)
    assert "kl" not in pd.read_csv(tmp_path / "x.csv")
    result = aekit("evaluate", ae_checkpoint, "--importance", 5, "-o", tmp_path / "y.json")
    assert result.exit_code == 1
    assert "no p(x)" in result.stderr
    assert not (tmp_path / "y.json").exists()


def test_quiet_leaves_stderr_empty(aekit, vae_checkpoint, tmp_path):
    assert _evaluate(aekit, vae_checkpoint, tmp_path, "--quiet")[1].stderr == ""


def test_the_seed_changes_the_sample_and_not_the_image_quality(aekit, vae_checkpoint, tmp_path):
    one, other = (_evaluate(aekit, vae_checkpoint, tmp_path, "--seed", seed)[0] for seed in (1, 2))
    assert one["reconstruction"] != other["reconstruction"]
    assert (one["mse"], one["kl"]) == (other["mse"], other["kl"])
