import pandas as pd
import pytest
from recorded import Recorded

from aekit.brains.finished import from_header
from aekit.core.checkpoint import Header
from aekit.errors import AekitError


def row(model, target, split, mae, skill=0.25):
    return {
        "model": model, "target": target, "split": split, "n": 1200, "mae": mae, "mae_low": mae - 1,
        "mae_high": mae + 1, "mse_z": 0.5, "r2": None, "skill": skill,
    }  # fmt: skip


@pytest.fixture
def header():
    rows = [
        row("mean", "age_years", "val", 9.0),
        row("mean", "age_years", "test", 8.0),
        row("chain", "age_years", "test", 4.0),
        row("chain", "gmv_fraction", "test", 2.0),
    ]
    return Header({}, {}, {}, result={"metrics": rows, "judged": "test", "parameters": 99})


def test_json_has_the_metrics_of_the_judged_split(header, tmp_path):
    result = from_header(tmp_path / "m.safetensors", header).to_result()
    assert result.path == tmp_path / "m.safetensors"
    assert result.values == {"split": "test", "parameters": 99, "metrics": header.result["metrics"][1:]}


def test_the_level_of_intervals_of_new_scans_is_in_json_and_named_if_it_is_not_ninety_percent(header, tmp_path):
    for coverage, n_notices in ((12 / 13, 1), (0.9, 0)):
        interval = {"model": "chain", "target": "age_years", "half_width": 5.0, "coverage": coverage, "n": 12}
        header.result["conformal"] = [interval]
        progress, finished = Recorded(), from_header(tmp_path / "m.safetensors", header)
        finished.show(progress)
        assert all("12/13 = 92.3 %" in text for text in progress.notices)
        assert len(progress.notices) == n_notices
        assert finished.to_result().values["interval_level"] == coverage


def test_a_table_per_target_has_errors_with_intervals_and_units(header, tmp_path):
    progress = Recorded()
    finished = from_header(tmp_path / "m.safetensors", header)
    finished.show(progress)
    ages, fractions = progress.tables
    assert ages[:2] == (
        "m.safetensors: age_years, test, 1,200 participants",
        ["model", "MAE years [95 %]", "R2", "skill"],
    )
    assert [cells[:2] for cells in ages[2]] == [("mean", "8 [7, 9]"), ("chain", "4 [3, 5]")]
    assert fractions[1][1] == "MAE [95 %]"
    assert pd.isna(finished.metrics["r2"]).all()  # null in JSON


@pytest.mark.parametrize("missing", [None, float("nan")])  # in a header that was read, and in one just made
def test_an_error_of_a_few_participants_has_no_interval(header, tmp_path, missing):
    for each in header.result["metrics"]:
        each |= {"n": 4, "mae_low": missing, "mae_high": missing}
    header.result["metrics"][2]["mae"] = missing  # a model that predicts nothing
    progress = Recorded()
    from_header(tmp_path / "m.safetensors", header).show(progress)
    ages, fractions = progress.tables
    assert (ages[1][1], [cells[1] for cells in ages[2]]) == ("MAE years", ["8", None])
    assert (fractions[1][1], [cells[1] for cells in fractions[2]]) == ("MAE", ["2"])


@pytest.mark.parametrize(("skill", "text"), [(-7.482e-06, "0.000"), (-0.25, "-0.250"), (0.75, "0.750"), (None, None)])
def test_a_skill_has_three_decimals(header, tmp_path, skill, text):
    header.result["metrics"] = [row("chain", "age_years", "test", 4.0, skill)]
    progress = Recorded()
    from_header(tmp_path / "m.safetensors", header).show(progress)
    assert progress.tables[0][2][0][2:] == (None, text)


@pytest.mark.parametrize("metrics", [None, [{"model": "mean"}], [{"mae": "many"}]])
def test_a_header_without_metrics_is_an_error(header, tmp_path, metrics):
    header.result["metrics"] = metrics
    with pytest.raises(AekitError, match=r"m\.safetensors: its header is damaged; train it again with --overwrite"):
        from_header(tmp_path / "m.safetensors", header)
