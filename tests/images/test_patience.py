"""Early stopping: when, with which weights, and what a run says of it."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from recorded import Recorded
from safetensors.torch import load_file
from tiny_training import train_tiny

from aekit.errors import AekitError, Stopped
from aekit.images.training import Row, epochs_since_best, has_run_out

# So high a rate that validation soon gets worse.
OVERSHOOTS = {"val": 0.3, "schedule": "constant", "lr": 0.05, "epochs": 40}


def _history(*totals):
    rows = []
    for epoch, total in enumerate(totals, 1):
        rows += [Row(epoch, "train", 9.0 - epoch, {}, 1.0, 1.0), Row(epoch, "val", total, {}, 1.0, 1.0)]
    return rows


@pytest.mark.parametrize(
    ("totals", "since"), [((), 0), ((5.0,), 0), ((5, 4, 3), 0), ((5, 3, 4), 1), ((3, 3, 3), 2), ((3, 9, 2, 8, 7), 2)]
)
def test_epochs_count_from_the_first_of_the_lowest(totals, since):
    history = _history(*totals)
    assert epochs_since_best(history) == since
    assert [has_run_out(history, n) for n in (None, since, since + 1)] == [False, True, False]


SLOWER = [pytest.param(each, marks=pytest.mark.slow) for each in ({"precision": "bf16"}, {"model": "ae"})]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, *SLOWER])
def test_a_run_that_stops_early_has_the_weights_of_a_run_of_that_length(tmp_path, settings):
    told = Recorded()
    early = train_tiny(tmp_path / "early.safetensors", progress=told, patience=2, **OVERSHOOTS | settings)
    n = early.result["trained_epochs"]
    assert 3 <= n < 40
    totals = [row["total"] for row in early.result["history"] if row["split"] == "val"]
    assert (len(totals), totals.index(min(totals))) == (n, n - 3)
    assert (early.train["epochs"], early.result["epoch"]) == (40, n)
    assert told.notices == [f"stopped early after epoch {n} of 40: no lower validation loss than that of epoch {n - 2}"]
    same = train_tiny(tmp_path / "same.safetensors", **OVERSHOOTS | settings | {"epochs": n})
    assert "trained_epochs" not in same.result
    assert early.result["history"] == same.result["history"]
    own, other = load_file(tmp_path / "early.safetensors"), load_file(tmp_path / "same.safetensors")
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)


@pytest.mark.slow
def test_the_best_of_the_trained_epochs_is_kept(tmp_path):
    header = train_tiny(tmp_path / "x.safetensors", patience=2, keep="best", **OVERSHOOTS)
    assert header.result["trained_epochs"] - header.result["epoch"] == 2
    assert pd.read_csv(tmp_path / "x.csv")["epoch"].max() == header.result["trained_epochs"]


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_stopped_and_continued_at_any_step_it_ends_with_the_same_bytes(tmp_path, threads):
    options = {**OVERSHOOTS, "patience": 2, "threads": threads}
    whole = train_tiny(tmp_path / "whole.safetensors", **options)
    n_steps = whole.result["trained_epochs"] * -(-whole.data["splits"]["train"]["n"] // 20)
    for step in (1, n_steps // 2, n_steps):
        output = tmp_path / f"{step}.safetensors"
        with pytest.raises(Stopped):
            train_tiny(output, progress=Recorded(stop_after=step), **options)
        train_tiny(output, resume=True, **options)
        assert output.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_it_never_stops_by_test_images(tmp_path):
    with pytest.raises(AekitError, match=r"^--patience: needs validation images"):
        train_tiny(tmp_path / "x.safetensors", patience=2)
    assert not list(tmp_path.iterdir())


def test_info_tells_the_epochs_asked_for_trained_and_kept(aekit, tmp_path):
    header = train_tiny(tmp_path / "x.safetensors", patience=2, keep="best", **OVERSHOOTS)
    told = aekit("info", tmp_path / "x.safetensors").stderr
    n = header.result["trained_epochs"]
    assert "epochs 40," in told
    assert "patience 2" in told
    assert f"test after epoch {n - 2} of {n} trained:" in told


def test_a_schedule_that_early_stopping_cuts_off_is_mentioned(aekit, tmp_path):
    options = ["train-ae", "--data", "digits", "--limit", 60, "--epochs", 1, "--val", 0.3, "--patience", 1]
    said = "with a --schedule that ends at zero the learning rate is still high when a run stops early"
    assert said in aekit(*options, "-o", tmp_path / "x.safetensors").stderr
    assert said not in aekit(*options, "--schedule", "constant", "-o", tmp_path / "y.safetensors").stderr
