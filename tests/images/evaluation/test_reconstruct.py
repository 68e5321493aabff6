"""``run_reconstruct`` measures every image and shows some."""

from __future__ import annotations

import pandas as pd
import pytest

from aekit.images.evaluation.evaluate import run_evaluate
from aekit.images.evaluation.reconstruct import run_reconstruct
from aekit.images.session import open_session


def test_the_means_are_those_of_the_table_and_of_an_evaluation(vae_checkpoint, tmp_path):
    session = open_session([vae_checkpoint], device="cpu")
    (result,) = run_reconstruct(session, tmp_path / "x.png")
    (evaluated,) = run_evaluate(session, tmp_path)
    table = pd.read_csv(tmp_path / "x.csv")
    assert list(table.columns) == ["index", "file", "row", "label", "reconstruction", "mse", "psnr", "ssim"]
    for name in ("mse", "psnr", "ssim"):
        assert result.values[name] == pytest.approx(table[name].mean(), rel=1e-5)
        assert result.values[name] == pytest.approx(evaluated.values[name], rel=1e-5)


def test_the_worst_come_first_when_asked_for(vae_checkpoint, tmp_path):
    session = open_session([vae_checkpoint], device="cpu")
    (plain,), (worst,) = (run_reconstruct(session, tmp_path, worst=each, n=3) for each in (False, True))
    assert worst.path.name == "vae.reconstruct-worst.png"
    plain, worst = (pd.read_csv(result.path.with_suffix(".csv")) for result in (plain, worst))
    assert worst["reconstruction"].is_monotonic_decreasing
    assert not plain["reconstruction"].is_monotonic_decreasing
    pd.testing.assert_frame_equal(worst.sort_values("index", ignore_index=True), plain)
