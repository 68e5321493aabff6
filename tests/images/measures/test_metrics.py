"""A metric is one entry: keys of JSON, columns of the table and rows on the terminal follow."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from aekit.core.progress import Silent
from aekit.images.evaluation.evaluate import run_evaluate
from aekit.images.evaluation.reconstruct import run_reconstruct
from aekit.images.inference import reconstruct_images
from aekit.images.measures import metrics
from aekit.images.measures.metrics import METRICS, Metric
from aekit.images.session import open_session


class Tables(Silent):
    """Progress that keeps the rows of tables."""

    def __init__(self):
        self.rows = []

    def table(self, title, columns, rows):
        self.rows += list(rows)


def test_the_metrics_compare_images_with_themselves_and_with_their_negatives(vae_checkpoint):
    session = open_session([vae_checkpoint], device="cpu")
    (checkpoint,) = session.checkpoints()
    images = session.images(checkpoint, "test").images[:5]
    x = torch.from_numpy(images).float() / 255
    same = {name: metric.function(x, x) for name, metric in METRICS.items()}
    assert {name: values.shape for name, values in same.items()} == dict.fromkeys(METRICS, (5,))
    assert same["mse"].tolist() == [0] * 5
    assert bool((METRICS["mse"].function(x, 1 - x) > 0).all())


@pytest.fixture
def absolute_error(monkeypatch):
    entry = Metric(lambda x, x_hat: (x - x_hat).abs().flatten(1).mean(1), "levels")
    monkeypatch.setitem(metrics.METRICS, "mae", entry)


@pytest.mark.slow
def test_one_entry_gives_a_key_a_column_and_a_row(ae_checkpoint, tmp_path, absolute_error):
    tables = Tables()
    session = open_session([ae_checkpoint], device="cpu", progress=tables)
    (evaluated,) = run_evaluate(session, tmp_path / "e.json")
    (reconstructed,) = run_reconstruct(session, tmp_path / "r.png")
    (checkpoint,) = session.checkpoints()
    images = session.images(checkpoint, "test")
    error = np.abs(reconstruct_images(checkpoint.model, images) - images.images / 255).mean((1, 2, 3))
    np.testing.assert_allclose(pd.read_csv(tmp_path / "r.csv")["mae"], error, rtol=1e-5)
    written = json.loads((tmp_path / "e.json").read_text())
    for value in (evaluated.values["mae"], reconstructed.values["mae"], written["mae"]):
        assert value == pytest.approx(error.mean(), rel=1e-5)
    assert written["mae_error"] == pytest.approx(error.std(ddof=1) / np.sqrt(len(error)), rel=1e-4)
    (row,) = [row for row in tables.rows if row[0] == "MAE"]
    assert (row[1], row[3]) == (f"{written['mae']:.5g}", "levels")
