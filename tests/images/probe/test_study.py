"""``run_probe`` from Python: tables of draws and differences, shared draws and baselines, and the default sizes."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from recorded import Recorded
from scipy import stats

from aekit.images.probe import transfer
from aekit.images.probe.request import ProbeRequest
from aekit.images.probe.study import run_probe
from aekit.images.session import open_session

QUICK = ProbeRequest(labels=(10, 40), draws=3, methods=("frozen", "logistic", "spread", "pixels", "pca"))


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr(transfer, "STEPS", 20)
    monkeypatch.setattr(transfer, "SCRATCH_STEPS", 20)
    monkeypatch.setattr(transfer, "HEAD_STEPS", 60)
    monkeypatch.setattr(transfer, "N_VARIANTS", 2)


def _run(path, request, *checkpoints):
    """Return the result, its table, and what was reported."""
    progress = Recorded()
    result = run_probe(open_session(checkpoints, device="cpu", threads=1, progress=progress), path, request)
    return result, pd.read_csv(result.path.with_suffix(".csv")), progress


def test_a_session_is_all_that_it_needs(vae_checkpoint):
    session = open_session([vae_checkpoint], device="cpu")
    result = run_probe(session, request=ProbeRequest(labels=(20,), draws=1, methods=("logistic",)))
    assert result.path == vae_checkpoint.with_name("vae.probe.png")
    (row,) = result.values["results"]
    table = pd.read_csv(result.path.with_suffix(".csv"))
    assert table["accuracy"].tolist() == [pytest.approx(row["accuracy"])]


@pytest.mark.slow
def test_the_tables_have_every_draw_and_the_paired_differences(ae_checkpoint, tmp_path):
    result, table, _ = _run(tmp_path / "x.png", QUICK, ae_checkpoint)
    assert list(table.columns) == [
        "checkpoint", "kind", "arch", "latent", "beta", "seed", "layer", "method", "labels", "draw", "accuracy",
    ]  # fmt: skip
    assert table.groupby(["method", "labels"])["draw"].apply(list).map(lambda draws: draws == [0, 1, 2]).all()
    assert set(table["method"]) == set(QUICK.methods)
    assert table["accuracy"].between(0, 1).all()
    assert (table["latent"] == 3).all()
    assert table["beta"].isna().all()
    gains = pd.read_csv(tmp_path / "x-differences.csv")
    assert len(gains) == 10 * 2  # pairs of five methods, at two sizes
    row = gains.query("method == 'frozen' and baseline == 'pixels' and labels == 40").iloc[0]
    values = [
        table.query(f"method == '{method}' and labels == 40")["accuracy"].to_numpy() for method in ("frozen", "pixels")
    ]
    interval = stats.ttest_1samp(values[0] - values[1], 0).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), abs=1e-6)
    with Image.open(tmp_path / "x.png") as image:
        used = json.loads(image.text["aekit"])
    assert used["options"]["labels"] == [10, 40]
    assert used["images"]["test"]["n"] == result.values["n"] == 300


def test_a_method_is_measured_on_the_same_draws_with_whichever_others(ae_checkpoint, tmp_path):
    tables = []
    for name, methods in (("a", ("logistic",)), ("b", ("logistic", "spread", "pca"))):
        request = ProbeRequest(labels=(20,), draws=2, methods=methods)
        tables.append(_run(tmp_path / f"{name}.png", request, ae_checkpoint)[1].query("method == 'logistic'"))
    np.testing.assert_array_equal(tables[0]["accuracy"], tables[1]["accuracy"])
    differences = pd.read_csv(tmp_path / "a-differences.csv")
    assert differences.empty
    assert list(differences) == list(pd.read_csv(tmp_path / "b-differences.csv"))


@pytest.mark.slow
def test_several_checkpoints_share_the_draws_and_the_baselines(ae_checkpoint, aekit, tmp_path):
    other = tmp_path / "other.safetensors"
    aekit("train-ae", "--data", "digits", "--limit", 300, "--epochs", 1, "--latent", 5, "-q", "-o", other)
    result, table, progress = _run(tmp_path, QUICK, ae_checkpoint, other)
    assert result.path == tmp_path / "probe.png"
    pixels = [group["accuracy"].to_list() for _, group in table.query("method == 'pixels'").groupby("checkpoint")]
    assert pixels[0] == pixels[1]
    row = result.values["results"][0]
    own = table[(table["checkpoint"] == row["checkpoint"]) & (table["method"] == row["method"])]
    assert row["accuracy"] == pytest.approx(own[own["labels"] == row["labels"]]["accuracy"].mean())
    titles = [title for title, _, _ in progress.tables]
    assert titles == [f"latent {d}, epochs {n}: accuracy in % by number of labels" for d, n in ((3, 3), (5, 1))]


def test_without_labels_given_the_default_goes_as_far_as_the_data(ae_checkpoint, tmp_path):
    request = ProbeRequest(methods=("logistic",), draws=2)
    _, table, progress = _run(tmp_path / "x.png", request, ae_checkpoint)
    assert sorted(set(table["labels"])) == [10, 20, 40, 80, 100, 160]
    assert progress.notices == ["digits: its smallest class has enough training images for at most 160 labels"]


@pytest.mark.slow
def test_the_last_hidden_layer_is_another_layer_in_another_file(vae_checkpoint, tmp_path):
    hidden = ProbeRequest(labels=(20,), methods=("finetune", "logistic"), layer="hidden")
    result, table, _ = _run(tmp_path, hidden, vae_checkpoint)
    assert result.path == tmp_path / "vae.probe-hidden.png"
    assert set(table["layer"]) == {"hidden"}
    _, code, _ = _run(tmp_path, ProbeRequest(labels=(20,), methods=("logistic",)), vae_checkpoint)
    # The code has two dimensions, which carry less.
    assert table.query("method == 'logistic'")["accuracy"].mean() > code["accuracy"].mean() + 0.1
