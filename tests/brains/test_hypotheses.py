from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from aekit.brains.finished import FinishedRun
from aekit.brains.hypotheses import HYPOTHESES, compare_hypotheses
from aekit.brains.measures.regression import paired_difference
from aekit.core.checkpoint import Header

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

TRUTH = np.linspace(20, 80, 12)


def fake(trained, shift=None):
    """Return a fake training that writes errors of a fixed number of years per hypothesis."""

    def train(config, path):
        trained.append((config, path))
        years = {"base": 4.0, "h1": 3.0, "h2": 2.5, "h3": 6.0}[path.stem.rpartition("-")[2]]
        signs = np.where(np.arange(12) % 2, 1, -1)
        rows, metrics = [], []
        for model, factor in (("mean", 5.0), ("gp", 0.5), ("ridge-voxels", 3.0), ("volumes", 1.0), ("chain", 2.0)):
            error = years * factor if model in ("volumes", "chain") else factor
            for target in ("age_years", "gmv_ml"):
                metrics.append(
                    {"model": model, "target": target, "split": "test", "n": 12, "mae": error, "mae_low": error - 1,
                     "mae_high": error + 1, "mse_z": error / 10, "r2": 0.5, "skill": 0.1}
                )  # fmt: skip
            for number, (truth, sign) in enumerate(zip(TRUTH, signs, strict=True)):
                who = f"0{number}" if shift is None or "base" in path.stem else f"0{number + shift}"
                said = truth + sign * error * (1 + number / 100)
                rows.append(
                    {"participant_id": who, "split": "test", "fold": 0, "model": model, "target": "age_years",
                     "truth": truth, "prediction": said}
                )  # fmt: skip
        pd.DataFrame(rows[::-1]).to_csv(path.with_suffix(".predictions.csv"), index=False)
        header = Header(data={"people": 60}, train={"epochs": 1}, model={"arch": config.model.arch})
        return FinishedRun(path, header, pd.DataFrame(metrics))

    return train


@pytest.fixture
def compared(brain_config, tmp_path):
    trained = []
    finished = compare_hypotheses(brain_config(), tmp_path / "study.safetensors", fake(trained))
    table = pd.read_csv(tmp_path / "study.hypotheses.csv").set_index(["hypothesis", "model"])
    return trained, finished, table


def test_each_hypothesis_keeps_the_changes_of_those_before_it(compared):
    trained, finished, _ = compared
    assert [path.name for _, path in trained] == [f"study-{name}.safetensors" for name in ("base", "h1", "h2", "h3")]
    assert [(c.model.arch, c.model.target, c.data.drop_outliers) for c, _ in trained] == [
        ("base", "absolute", False),
        ("base", "proportion", False),
        ("base", "proportion", True),
        ("deep", "proportion", True),
    ]
    assert [run.path for run in finished] == [path for _, path in trained]
    base = trained[0][0]
    for config, _ in trained:  # nothing else differs, the split least of all
        same = replace(
            config,
            model=replace(config.model, arch=base.model.arch, target=base.model.target),
            data=replace(config.data, drop_outliers=False),
        )
        assert same == base


def test_the_table_has_paired_differences_from_base(compared):
    _, _, table = compared
    assert list(table.index) == [
        (name, m) for name in HYPOTHESES for m in ("mean", "gp", "ridge-voxels", "volumes", "chain")
    ]
    assert table.loc[("H1", "chain"), "mae"] == 6
    spread = 1 + np.arange(12) / 100
    signs = np.where(np.arange(12) % 2, 1, -1)
    by_hand = paired_difference(TRUTH, TRUTH + signs * 6 * spread, TRUTH + signs * 8 * spread)
    found = table.loc[("H1", "chain"), ["difference", "low", "high"]].astype(float)
    np.testing.assert_allclose(found, [by_hand.difference, by_hand.low, by_hand.high], rtol=0.01)
    assert found["high"] < 0 < table.loc[("H3", "chain"), "low"]
    assert table.loc["base", ["difference", "low", "high"]].isna().all(axis=None)
    assert table.loc[("H2", "gp"), "difference"] == pytest.approx(0)
    assert table.loc[("H2", "chain"), "tissue_mse_z"] == pytest.approx(0.5)


def test_the_figure_is_there(compared, tmp_path):
    assert (tmp_path / "study.hypotheses.png").read_bytes().startswith(b"\x89PNG")


def test_only_participants_that_both_predicted_are_compared(brain_config, tmp_path):
    compare_hypotheses(brain_config(), tmp_path / "a.safetensors", fake([], shift=100))
    table = pd.read_csv(tmp_path / "a.hypotheses.csv")
    assert table["difference"].isna().all()
