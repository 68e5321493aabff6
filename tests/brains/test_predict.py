import numpy as np
import pandas as pd
import pytest
from recorded import Recorded

from aekit.brains.measures.conformal import Conformal
from aekit.brains.members import MemberPrediction
from aekit.brains.new_ages import read_intervals, read_new_ages
from aekit.brains.predict import N_SHOWN, _blank_doubtful, _show, _show_doubtful, _table, list_paths
from aekit.brains.quality.judgement import Judgement
from aekit.core.checkpoint import Header
from aekit.errors import AekitError

VOLUMES = np.array([[700.0, 500.0, 200.0], [600.0, 450.0, 300.0]])


NOBODY, SECOND = np.zeros(2, bool), np.array([False, True])


def header(target="absolute", conformal=(), **result):
    keys = ("model", "target", "half_width", "coverage")
    result["conformal"] = [dict(zip(keys, values, strict=True)) for values in conformal]
    return Header({"kind": "brain", "target": target}, {}, {}, result=result)


def table(paths, predicted, of, unlike=NOBODY, unknown=NOBODY):
    return _table(paths, read_new_ages(predicted, of), predicted.tissues, of, unlike, unknown)


@pytest.fixture
def paths(tmp_path):
    return [tmp_path / "a.nii", tmp_path / "b.nii"]


def test_age_is_that_of_the_chain_if_there_is_one(paths):
    chain, direct = np.array([30.0, 50.0]), np.array([31.0, 52.0])
    both = table(paths, MemberPrediction(tissues=VOLUMES, chain_age=chain, direct_age=direct), header())
    assert list(both) == ["file", "age_years", "direct_age_years", "gmv_ml", "wmv_ml", "csfv_ml"]
    assert list(both["age_years"]) == [30, 50]
    alone = table(paths, MemberPrediction(direct_age=direct), header(target=None))
    assert list(alone) == ["file", "age_years"]
    assert list(alone["age_years"]) == [31, 52]


CONFORMAL = [("chain", "age_years", 40.0, 0.9), ("direct", "age_years", 5.0, 0.9), ("volumes", "wmv_ml", 20.0, 0.9)]


def test_intervals_are_those_of_the_same_model_and_target_within_what_is_possible(paths):
    predicted = MemberPrediction(tissues=VOLUMES, chain_age=np.array([30.0, 90.0]))
    found = table(paths, predicted, header(conformal=CONFORMAL))
    assert list(found["age_years_low"]) == [0, 50]
    assert list(found["age_years_high"]) == [70, 120]
    assert list(found["wmv_ml_high"]) == [520, 470]
    assert "gmv_ml_low" not in found


def test_a_scan_that_is_unlike_the_training_has_no_interval(paths):
    predicted = MemberPrediction(tissues=VOLUMES, chain_age=np.array([30.0, 50.0]))
    found = table(paths, predicted, header(conformal=CONFORMAL), SECOND, SECOND)
    assert list(found["age_years"]) == [30, 50]
    for name in ("age_years_low", "age_years_high", "wmv_ml_low", "wmv_ml_high"):
        assert found[name].isna().tolist() == [False, True]


def test_a_reference_gives_ages_an_interval_and_volumes_none(paths):
    predicted = MemberPrediction(tissues=VOLUMES, chain_age=np.array([30.0, 50.0]))
    found = table(paths, predicted, header(conformal=CONFORMAL), SECOND, NOBODY)
    assert found["age_years_low"].notna().all()
    assert found["wmv_ml_low"].isna().tolist() == [False, True]


def test_a_half_width_that_varies_with_age_is_used_where_the_checkpoint_has_one(paths):
    of = header(conformal=CONFORMAL)
    scale = {"half_width": 10.0, "centre": 40.0, "sd": 10.0, "slope": np.log(2), "low": 35.0, "high": 50.0}
    of.result["conformal"][0]["scale"] = scale
    found = table(paths, MemberPrediction(chain_age=np.array([30.0, 50.0])), of)
    half = (found["age_years_high"] - found["age_years"]).tolist()
    assert half == pytest.approx([10 / np.sqrt(2), 20.0])  # 30 years has the width of 35, the youngest


def test_intervals_end_where_ages_and_proportions_do(paths):
    conformal = [("chain", "age_years", 40.0, 0.9), ("volumes", "gmv_fraction", 0.6, 0.9)]
    fractions = np.array([[0.5, 0.3, 0.2], [0.3, 0.3, 0.4]])
    predicted = MemberPrediction(tissues=fractions, chain_age=np.array([30.0, 110.0]))
    found = table(paths, predicted, header("proportion", conformal=conformal))
    assert list(found["age_years_low"]) == [0, 70]
    assert list(found["age_years_high"]) == [70, 120]
    assert list(found["gmv_fraction_low"]) == [0, 0]
    assert list(found["gmv_fraction_high"]) == [1, pytest.approx(0.9)]
    volumes = table(paths, MemberPrediction(tissues=VOLUMES), header(conformal=[("volumes", "gmv_ml", 900.0, 0.9)]))
    assert list(volumes["gmv_ml_high"]) == [1600, 1500]


def test_a_doubtful_scan_has_a_reason_and_no_prediction():
    table = pd.DataFrame(
        {"file": ["a.nii", "b.nii"], "age_years": 30.0, "age_years_low": 20.0, "warnings": ["", "odd"]}
    )
    judged = Judgement(np.array([0.2, 3.0]), ["", "blurred"], np.zeros(2, bool), np.zeros((2, 1)), None)
    kept = table.copy()
    _blank_doubtful(table, judged, np.array([False, True]))
    assert list(table["reason"]) == ["", "blurred"]
    assert list(table["age_years"].isna()) == list(table["age_years_low"].isna()) == [False, True]
    assert list(table["warnings"]) == ["", "odd"]
    _blank_doubtful(kept, judged, np.zeros(2, bool))
    assert list(kept["reason"]) == ["", "blurred"]
    assert not kept["age_years"].isna().any()
    progress = Recorded()
    _show_doubtful(table, np.array([False, True]), progress)
    assert progress.notices == ["b.nii: blurred; not predicted"]


def test_proportions_are_shown_with_three_digits_and_the_rest_with_one(tmp_path):
    progress = Recorded()
    shown = pd.DataFrame(
        {"file": ["x/a.nii"], "age_years": [30.04], "age_years_low": [25.0], "age_years_high": [35.0],
         "gmv_fraction": [0.45678], "delta": [-1.25], "unlike_training": "no", "warnings": [""]}
    )  # fmt: skip
    _show(shown, read_intervals(header("proportion", [("chain", "age_years", 5.0, 0.9)])), NOBODY, progress)
    cells = ["a.nii", "30.0 [25.0, 35.0]", "0.457", "-1.2"]
    assert progress.tables == [
        ("predicted with 90 % intervals", ["file", "age_years", "gmv_fraction", "delta"], [cells])
    ]
    assert progress.notices == []


def test_ages_of_scans_that_are_unlike_the_training_are_marked():
    progress = Recorded()
    ends = {"age_years_low": [np.nan, 20.0], "age_years_high": [np.nan, 40.0]}
    shown = pd.DataFrame({"file": ["a", "b"], "age_years": 30.0, **ends, "unlike_training": ["yes", "no"]})
    _show(shown, {}, ~SECOND, progress)
    assert progress.tables[0][2] == [["a", "30.0*"], ["b", "30.0 [20.0, 40.0]"]]


def test_no_level_is_shown_where_no_scan_has_an_interval():
    few, progress = header(conformal=[("chain", "age_years", 5.0, 6 / 7)]), Recorded()
    shown = pd.DataFrame({"file": ["a.nii"], "age_years": 30.0, "age_years_low": np.nan, "age_years_high": np.nan})
    _show(shown, read_intervals(few), ~NOBODY, progress)
    assert progress.tables[0][0] == "predicted without intervals, as the errors are unknown"
    assert progress.notices == []


def test_with_a_reference_the_level_is_that_of_its_ages_where_no_volume_has_an_interval():
    ages, volumes, progress = Conformal(30.0, 22 / 24, 0.9, 23), Conformal(50.0, 49 / 54, 0.9, 53), Recorded()
    shown = pd.DataFrame(
        {"file": ["a.nii"], "age_years": 30.0, "age_years_low": 0.0, "age_years_high": 60.0, "gmv_ml": 700.0,
         "gmv_ml_low": np.nan, "gmv_ml_high": np.nan}
    )  # fmt: skip
    intervals = {("chain", "age_years"): ages, ("volumes", "gmv_ml"): volumes}
    _show(shown, intervals, NOBODY, progress)
    assert progress.tables[0][0] == "predicted with 92 % intervals"
    assert progress.notices[0].startswith("the level of the intervals is 22/24 = 91.7 %")


def test_the_level_that_few_participants_allow_is_shown_with_the_reason():
    few, progress = header(conformal=[("chain", "age_years", 5.0, 6 / 7)]), Recorded()
    few.result["conformal"][0]["n"] = 6
    ends = {"age_years_low": [25.0], "age_years_high": [35.0]}
    shown = pd.DataFrame({"file": ["a.nii"], "age_years": 30.0, **ends, "warnings": ""})
    _show(shown, read_intervals(few), NOBODY, progress)
    assert progress.tables[0][0] == "predicted with 86 % intervals"
    (notice,) = progress.notices
    assert notice.startswith("the level of the intervals is 6/7 = 85.7 %, the most that 6 held-out participants")


def test_of_many_scans_the_first_are_shown():
    progress, n = Recorded(), N_SHOWN + 5
    _show(
        pd.DataFrame({"file": [f"{row}.nii" for row in range(n)], "age_years": 30.0}), {}, np.zeros(n, bool), progress
    )
    ((title, _, rows),) = progress.tables
    assert title == f"predicted without intervals, as no participants were held out, the first {N_SHOWN} of {n}"
    assert len(rows) == N_SHOWN


def test_a_volume_that_is_named_twice_is_read_once(tmp_path):
    for name in ("b.nii", "a.nii"):
        (tmp_path / name).touch()
    found = list_paths([tmp_path / "b.nii", tmp_path, tmp_path / "." / "b.nii"])
    assert found == [tmp_path / "b.nii", tmp_path / "a.nii"]
    with pytest.raises(AekitError, match=r"c\.nii: does not exist"):
        list_paths([tmp_path / "c.nii"])
