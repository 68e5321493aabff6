"""``run_evaluate`` checks first, and then evaluates one checkpoint after another."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from aekit.core.checkpoint import read_header
from aekit.errors import AekitError
from aekit.images.evaluation.evaluate import run_evaluate
from aekit.images.session import open_session


def test_it_repeats_the_test_results_of_the_training(vae_checkpoint, tmp_path):
    (result,) = run_evaluate(open_session([vae_checkpoint], device="cpu"), tmp_path / "x.json")
    reported = read_header(vae_checkpoint).result["test"]
    for key in ("total", "reconstruction", "kl"):
        assert result.values[key] == pytest.approx(reported[key], rel=1e-5)
        assert 0 < result.values[f"{key}_error"] < result.values[key]
    written = json.loads(result.path.read_text())
    del written["parameters"]
    assert dict(result.values) == {"checkpoint": str(vae_checkpoint), "split": "test", **written}


def test_dimensions_have_a_table(vae_checkpoint, ae_checkpoint, tmp_path):
    session = open_session([vae_checkpoint, ae_checkpoint], device="cpu")
    vae, ae = run_evaluate(session, tmp_path)
    table = pd.read_csv(vae.path.with_suffix(".csv"))
    assert list(table.columns) == ["checkpoint", "dimension", "kl", "variance", "active"]
    assert table["kl"].sum() == pytest.approx(vae.values["kl"], rel=1e-5)
    assert table["active"].sum() == vae.values["active_units"]
    assert "kl" not in pd.read_csv(ae.path.with_suffix(".csv"))
    assert "kl" not in ae.values


def test_the_importance_weighted_bound_is_tighter_than_the_evidence_lower_bound(vae_checkpoint, tmp_path):
    (result,) = run_evaluate(open_session([vae_checkpoint], device="cpu"), tmp_path, importance=20)
    assert result.values["log_p"] > -result.values["total"]
    assert result.values["log_p_normalised"] is False  # the cross-entropy of grey digits


def test_the_seed_changes_the_sample_and_not_the_metrics(vae_checkpoint, tmp_path):
    session = open_session([vae_checkpoint], device="cpu")
    (one,), (other,) = (run_evaluate(session, tmp_path, seed=seed) for seed in (1, 2))
    assert one.values["reconstruction"] != other.values["reconstruction"]
    assert (one.values["mse"], one.values["kl"]) == (other.values["mse"], other.values["kl"])


def test_a_single_image_has_no_standard_error(vae_checkpoint, tmp_path):
    np.save(tmp_path / "one.npy", np.random.default_rng(0).integers(0, 256, (1, 8, 8), dtype=np.uint8))
    session = open_session([vae_checkpoint], data=str(tmp_path / "one.npy"), device="cpu")
    (result,) = run_evaluate(session, tmp_path / "x.json")
    assert result.values["n"] == 1
    assert result.values["mse_error"] is None


def test_a_bound_on_p_of_an_autoencoder_is_refused_before_anything_is_computed(vae_checkpoint, ae_checkpoint, tmp_path):
    session = open_session([vae_checkpoint, ae_checkpoint], device="cpu")
    with pytest.raises(AekitError, match=r"ae\.safetensors is a plain autoencoder, which has no p\(x\)"):
        run_evaluate(session, tmp_path, importance=5)
    assert not list(tmp_path.iterdir())


def test_each_result_is_there_before_the_next_checkpoint_is_evaluated(vae_checkpoint, ae_checkpoint, tmp_path):
    results = run_evaluate(open_session([vae_checkpoint, ae_checkpoint], device="cpu"), tmp_path)
    assert next(results).path.is_file()
    assert not list(tmp_path.glob("ae.*"))
    assert next(results).path == tmp_path / "ae.evaluate.json"
