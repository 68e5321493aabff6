"""``aekit evaluate`` writes and prints what it measures."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest


def _evaluate(aekit, checkpoint, tmp_path, *options):
    result = aekit("evaluate", checkpoint, *options, "-o", tmp_path / "x.json")
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tmp_path / "x.json"]
    return json.loads((tmp_path / "x.json").read_text()), result


def test_it_writes_means_a_table_and_bars_and_reports_a_table(aekit, vae_checkpoint, tmp_path):
    totals, result = _evaluate(aekit, vae_checkpoint, tmp_path, "--importance", 20)
    assert totals["n"] == 300
    assert {"total", "reconstruction", "kl", "mse", "psnr", "ssim", "log_p"} <= set(totals)
    assert totals["parameters"]["options"] == {"split": "test", "seed": 0, "importance": 20}
    assert "active units" in result.stderr
    assert "300 test images" in result.stderr
    assert list(pd.read_csv(tmp_path / "x.csv").columns) == ["checkpoint", "dimension", "kl", "variance", "active"]
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


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


def test_several_checkpoints_are_one_table_and_one_csv_with_a_row_per_model(
    aekit, vae_checkpoint, ae_checkpoint, tmp_path
):
    for path in (vae_checkpoint, ae_checkpoint):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    paths = [tmp_path / path.name for path in (vae_checkpoint, ae_checkpoint)]
    result = aekit("evaluate", *paths, "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["path"] for line in lines] == [str(path.with_suffix(".evaluate.json")) for path in paths]
    table = pd.read_csv(tmp_path / "evaluate.csv")
    assert table["checkpoint"].tolist() == [path.name for path in paths]
    assert table["kind"].tolist() == ["vae", "ae"]
    assert table["split"].tolist() == ["test"] * 2
    for row, line in zip(table.to_dict("records"), lines, strict=True):
        alone = json.loads(Path(line["path"]).read_text())
        for name in (
            "n",
            "total",
            "total_error",
            "reconstruction",
            "mse",
            "psnr",
            "ssim_error",
            "latent",
            "active_units",
        ):
            assert row[name] == pytest.approx(alone[name], rel=1e-8)
            assert line[name] == alone[name]
    assert table["kl"].isna().tolist() == table["beta"].isna().tolist() == [False, True]
    assert result.stderr.count("2 models, 300 test images, losses in nats") == 1
    assert "per image" not in result.stderr
    assert f"{tmp_path / 'evaluate.csv'}: has these means" in result.stderr


def test_one_checkpoint_leaves_no_table_of_several(aekit, vae_checkpoint, tmp_path):
    assert "per image" in _evaluate(aekit, vae_checkpoint, tmp_path)[1].stderr
    assert not (tmp_path / "evaluate.csv").exists()
