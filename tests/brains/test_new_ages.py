import numpy as np
import pandas as pd
import pytest
from recorded import Recorded

from aekit.brains.members import MemberPrediction
from aekit.brains.new_ages import add_deltas, read_new_ages, recalibrate
from aekit.brains.scan_people import ScanPeople
from aekit.core.checkpoint import Header

TWO = MemberPrediction(chain_age=np.array([30.0, 40.0]), direct_age=np.array([31.0, 43.0]))
RIDGE = {"ridge-histogram": np.array([-3.0, 50.0])}


def header(**result):
    return Header({"kind": "brain"}, {}, {}, result=result)


def test_the_best_model_comes_first_and_every_model_has_its_column():
    found = read_new_ages(TWO, header(best_age_model="ridge-histogram"), RIDGE)
    assert list(found.columns.items()) == [
        ("age_years", "ridge-histogram"),
        ("chain_age_years", "chain"),
        ("direct_age_years", "direct"),
        ("ridge_age_years", "ridge-histogram"),
    ]
    assert found.has_choice
    assert found.years["ridge-histogram"].tolist() == [0, 50]  # as ages of networks
    assert found.is_outside.tolist() == [True, False]


def test_a_checkpoint_without_ridge_regression_predicts_as_it_did():
    found = read_new_ages(TWO, header())
    assert found.columns == {"age_years": "chain", "direct_age_years": "direct"}
    assert not found.has_choice
    assert not found.is_outside.any()
    alone = read_new_ages(MemberPrediction(direct_age=np.array([31.0])), header())
    assert alone.columns == {"age_years": "direct"}


def test_deltas_follow_the_age_trend_of_the_model_of_each_column():
    trends = [{"model": "direct", "intercept": 1.0, "slope": 0.1}]
    trends += [{"model": "ridge-histogram", "intercept": 20.0, "slope": -0.5}]
    ages = read_new_ages(TWO, header(best_age_model="ridge-histogram", age_trend=trends), RIDGE)
    columns = {}
    assert add_deltas(columns, ages, np.array([40.0, np.nan])) == ["chain"]
    table = pd.DataFrame(columns)
    assert table["delta"].iloc[0] == table["ridge_delta"].iloc[0] == -40
    assert table["delta_corrected"].iloc[0] == pytest.approx(-40 - (20 - 0.5 * 40))
    assert table["direct_delta_corrected"].iloc[0] == pytest.approx(31 - 40 - (1 + 0.1 * 40))
    assert table["chain_delta_corrected"].isna().all()
    assert table.iloc[1].isna().all()


def test_a_reference_recalibrates_every_model_that_predicts_age():
    random = np.random.default_rng(0)
    truth = random.uniform(30, 70, 40)
    networks = MemberPrediction(direct_age=truth + 8 + random.normal(0, 1, 40))
    simple = {"ridge-histogram": truth - 5 + random.normal(0, 1, 40)}
    ages = read_new_ages(networks, header(best_age_model="ridge-histogram"), simple)
    people = ScanPeople([str(one) for one in range(40)], truth, np.arange(40) < 20)
    progress = Recorded()
    found = recalibrate(ages, people, progress)
    for model in ("direct", "ridge-histogram"):
        assert np.abs(found.years[model] - truth).mean() < 1.2
        assert (model, "age_years") in found.intervals
    assert [text.split(" recalibrated")[0] for text in progress.notices] == ["direct", "ridge-histogram"]
