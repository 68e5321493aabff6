"""Differences of models on the same images: against scipy, and only where they compare."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from recorded import Recorded
from scipy import stats

from aekit.images.evaluation.models_table import EvaluatedModel
from aekit.images.evaluation.paired import show_differences, write_differences

_SETTINGS = {"kind": "vae", "loss": "bernoulli", "condition": "none", "objective": "elbo", "beta": 1.0}


def _model(name, *, seed=0, drawn=False, fingerprint="a", **changes):
    images = np.random.default_rng(1).normal(100, 20, 80)  # how hard each image is, for all models
    values = images + np.random.default_rng(seed).normal(seed, 1, 80)
    per_image = dict.fromkeys(("total", "reconstruction", "mse", "log_p"), values)
    return EvaluatedModel(f"{name}.safetensors", name, _SETTINGS | changes, ("x", fingerprint, drawn), {}, per_image)


def test_intervals_are_those_of_a_paired_t_test(tmp_path):
    first, second = _model("a"), _model("b", seed=3)
    table = write_differences(tmp_path / "x.csv", [first, second])
    row = table.set_index("measure").loc["log_p"]
    test = stats.ttest_rel(first.per_image["log_p"], second.per_image["log_p"])
    interval = test.confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert row["difference"] == pytest.approx(np.mean(first.per_image["log_p"] - second.per_image["log_p"]))
    assert row["high"] < 0  # 3 apart, although images differ by 20
    assert row["larger"] < 0.2
    assert list(pd.read_csv(tmp_path / "x.csv")["measure"]) == ["total", "reconstruction", "mse", "log_p"]


def test_every_two_models_are_compared(tmp_path):
    table = write_differences(tmp_path / "x.csv", [_model(name, seed=n) for n, name in enumerate("abc")])
    pairs = table[["first", "second"]].drop_duplicates().to_numpy().tolist()
    assert [[a[0], b[0]] for a, b in pairs] == [["a", "b"], ["a", "c"], ["b", "c"]]


@pytest.mark.parametrize(
    ("changes", "measures"),
    [
        ({"beta": 4.0}, {"reconstruction", "mse", "log_p"}),
        ({"objective": "iwae"}, {"reconstruction", "mse", "log_p"}),
        ({"loss": "gaussian"}, {"mse"}),
        ({"condition": "label"}, {"mse"}),
        ({"fingerprint": "b"}, set()),
        ({"drawn": True}, set()),
    ],
)
def test_what_does_not_mean_the_same_is_not_compared(tmp_path, changes, measures):
    table = write_differences(tmp_path / "x.csv", [_model("a"), _model("b", **changes)])
    assert set(table["measure"]) == measures


def test_two_models_are_shown_and_of_several_it_is_said_where_they_are(tmp_path):
    models, progress = [_model(name, seed=n) for n, name in enumerate("abc")], Recorded()
    show_differences(tmp_path / "x.csv", write_differences(tmp_path / "x.csv", models[:2]), progress)
    ((title, _, rows),) = progress.tables
    assert title == "a.safetensors minus b.safetensors on the same 80 images"
    assert len(list(rows)) == 4
    show_differences(tmp_path / "x.csv", write_differences(tmp_path / "x.csv", models), progress)
    assert len(progress.tables) == 1
    assert (
        progress.notices
        == [f"{tmp_path / 'x.csv'}: has the difference of each two models on the same images, with 95 % intervals"] * 2
    )
    show_differences(tmp_path / "x.csv", write_differences(tmp_path / "x.csv", []), progress)
    assert len(progress.notices) == 2
