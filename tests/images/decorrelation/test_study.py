"""``run_decorrelation`` from Python: values against numpy, dead dimensions, draws, and PCA for comparison."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from recorded import Recorded
from safetensors.torch import load_file

from aekit.core.checkpoint import read_header
from aekit.core.weights import write_checkpoint
from aekit.images.decorrelation.study import run_decorrelation
from aekit.images.session import open_session

MEASURES = ["mean_abs", "rms", "participation", "effective_rank"]


def _without(checkpoint, folder, n_dead):
    """Return the checkpoint with the first dimensions of its code switched off, but for a constant."""
    tensors, header = load_file(checkpoint), read_header(checkpoint)
    tensors["mean_head.weight"][:n_dead] = 0
    return write_checkpoint(folder / f"dead{n_dead}.safetensors", tensors, header)


def _codes(checkpoint):
    session = open_session([checkpoint], device="cpu", threads=1)
    (loaded,) = session.checkpoints()
    return loaded.encode(session.images(loaded, "test")).mean.astype(np.float64)


def _run(path, *checkpoints, **options):
    """Return the result, its table, and what was reported."""
    progress = Recorded()
    session = open_session(checkpoints, device="cpu", threads=1, progress=progress)
    result = run_decorrelation(session, path, **options)
    return result, pd.read_csv(result.path.with_suffix(".csv")), progress


@pytest.mark.slow
def test_a_session_is_all_that_it_needs(vae_checkpoint):
    result = run_decorrelation(open_session([vae_checkpoint], device="cpu"))
    assert result.path == vae_checkpoint.with_name("vae.decorrelation.png")
    (row,) = result.values["checkpoints"]
    (expected,) = pd.read_csv(result.path.with_suffix(".csv"))["mean_abs"]
    assert row["mean_abs"] == pytest.approx(expected)


def test_the_values_are_those_of_numpy_on_the_codes(ae_checkpoint, tmp_path):
    result, table, progress = _run(tmp_path / "x.png", ae_checkpoint)
    (row,) = table.to_dict("records")
    codes = _codes(ae_checkpoint)
    matrix = np.corrcoef(codes, rowvar=False)
    pairs = matrix[np.triu_indices(3, 1)]
    eigenvalues = np.linalg.eigvalsh(matrix)
    assert row["n_images"] == result.values["n"] == len(codes)
    assert row["mean_abs"] == pytest.approx(np.abs(pairs).mean(), abs=1e-5)
    assert row["rms"] == pytest.approx(np.sqrt((pairs**2).mean()), abs=1e-5)
    assert row["participation"] == pytest.approx(9 / (eigenvalues**2).sum(), abs=1e-4)
    p = eigenvalues / 3
    assert row["effective_rank"] == pytest.approx(np.exp(-(p * np.log(p)).sum()), abs=1e-4)
    for name in MEASURES:
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert progress.notices == [f"--images 5000: test has {len(codes)} images; all are used"]


@pytest.mark.slow
def test_codes_of_pca_are_uncorrelated(ae_checkpoint, tmp_path):
    _, table, _ = _run(tmp_path / "x.png", ae_checkpoint)
    assert (table[["mean_abs_pca", "rms_pca"]] < 1e-12).all().all()
    np.testing.assert_allclose(table["participation_pca"], table["latent"])
    np.testing.assert_allclose(table["effective_rank_pca"], table["latent"])
    _, without, _ = _run(tmp_path / "y.png", ae_checkpoint, pca=False)
    pd.testing.assert_frame_equal(table[without.columns], without)
    assert not any(column.endswith("_pca") for column in without)


@pytest.mark.slow
def test_dead_dimensions_are_counted_and_left_out(ae_checkpoint, tmp_path):
    dead = _without(ae_checkpoint, tmp_path, 1)
    _, table, progress = _run(tmp_path / "x.png", ae_checkpoint, dead)
    assert any(
        "1 of 3 dimensions is dead, the same for all images, and is left out" in text for text in progress.notices
    )
    assert table["n_dead"].tolist() == [0, 1]
    expected = abs(np.corrcoef(_codes(ae_checkpoint)[:, 1:], rowvar=False)[0, 1])
    assert table["mean_abs"][1] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("n_dead", "participation"), [(2, 1.0), (3, np.nan)])
def test_without_two_live_dimensions_there_is_no_value(ae_checkpoint, tmp_path, n_dead, participation):
    result, table, progress = _run(tmp_path / "x.png", _without(ae_checkpoint, tmp_path, n_dead))
    reason = f"no value, as there is no pair of dimensions to correlate (live: {3 - n_dead})"
    assert any(reason in text for text in progress.notices)
    (row,) = table.to_dict("records")
    assert np.isnan(row["mean_abs"])
    assert row["participation"] == pytest.approx(participation, nan_ok=True)
    assert result.values["checkpoints"][0]["mean_abs"] is None


@pytest.mark.slow
def test_a_subsample_is_drawn_by_its_seed(ae_checkpoint, tmp_path):
    values = {}
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        _, table, progress = _run(tmp_path / f"{name}.png", ae_checkpoint, n_images=40, seed=seed)
        assert progress.notices == []
        assert table["n_images"].tolist() == [40]
        values[name] = (tmp_path / f"{name}.csv").read_bytes()
    assert values["a"] == values["b"] != values["c"]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.slow
def test_the_measure_chooses_the_figure_but_not_the_table(ae_checkpoint, tmp_path):
    tables = []
    for measure in ("mean-abs", "rms", "participation"):
        result, _, progress = _run(tmp_path, ae_checkpoint, measure=measure)
        suffix = "" if measure == "mean-abs" else f"-{measure}"
        assert result.path.name == f"ae.decorrelation{suffix}.png"
        tables.append(result.path.with_suffix(".csv").read_bytes())
        first = result.values["checkpoints"][0]
        assert first[f"{measure.replace('-', '_')}_low"] <= first[measure.replace("-", "_")]
        ((_, columns, _),) = progress.tables
        assert measure in columns
    assert len(set(tables)) == 1
    with Image.open(tmp_path / "ae.decorrelation-rms.png") as image:
        parameters = json.loads(image.text["aekit"])
    assert parameters["options"] == {
        "split": "test", "images": 5000, "measure": "rms", "bootstrap": 200, "pca": True, "seed": 0,
    }  # fmt: skip
    assert [entry["checkpoint"] for entry in parameters["checkpoints"]] == ["ae.safetensors"]


def test_an_effective_rank_of_few_images_has_no_interval_and_says_so(ae_checkpoint, tmp_path):
    result, table, progress = _run(tmp_path / "few.png", ae_checkpoint, n_images=12, measure="effective-rank")
    assert table["effective_rank"].notna().all()
    assert table[["effective_rank_low", "effective_rank_high"]].isna().to_numpy().all()
    assert table[["participation_low", "participation_high"]].notna().to_numpy().all()
    assert result.values["checkpoints"][0]["effective_rank_low"] is None
    assert any("the effective rank has no interval, as 12 images are fewer" in each for each in progress.notices)
