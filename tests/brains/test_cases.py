from dataclasses import replace

import numpy as np
import pytest
from recorded import Recorded
from scipy import stats

from aekit.brains.cases import build_control_folds, group_deltas, show_group_deltas
from aekit.brains.config import CohortConfig
from aekit.brains.people import build_folds
from aekit.brains.predictions import Predictions
from aekit.brains.scores import corrected_delta

CONTROLS = "diagnosis=control"


@pytest.fixture
def people(phantom_people):
    """Return the phantoms, of whom every fourth is a patient and one has no diagnosis."""
    n = len(phantom_people.cohort)
    diagnosis = np.where(np.arange(n) % 4 == 3, "patient", "control").astype(object)
    diagnosis[0] = np.nan
    return replace(
        phantom_people,
        cohort=replace(phantom_people.cohort, table=phantom_people.cohort.table.assign(diagnosis=diagnosis)),
    )


@pytest.mark.parametrize("options", [{"cv": 2, "val": 0.0, "test": 0.0}, {"cv": 0}])
def test_cases_are_in_no_train_and_are_held_out_of_every_fold(people, options):
    labels = people.cohort.table["diagnosis"]
    found, folds = build_control_folds(people, CohortConfig(**options, controls=CONTROLS), None)
    ids = people.cohort.table["participant_id"]
    assert list(found.left_out["participant_id"])[-1] == ids[0]
    for fold in folds:
        assert set(labels[fold.train]) == {"control"}
        assert set(fold.held_out["cases"]) == set(np.flatnonzero(labels == "patient"))
        others = [rows for split, rows in fold.held_out.items() if split != "cases"]
        assert set(labels[np.concatenate(others)]) == {"control"}
    everyone = np.concatenate([folds[0].train, *folds[0].held_out.values()])
    assert sorted(everyone) == [row for row in range(len(labels)) if row != 0]


def test_without_the_option_folds_are_as_before_and_cases_in_train_are_named(people):
    progress, config = Recorded(), CohortConfig()
    _, folds = build_control_folds(people, config, None, progress)
    assert [fold.train.tolist() for fold in folds] == [f.train.tolist() for f in build_folds(people, config, None)]
    (notice,) = progress.notices
    assert "in train have diagnosis patient" in notice
    assert "--controls 'diagnosis=control' leaves them out" in notice


def _ages(split, rows, truth, delta):
    n = len(rows)
    means = np.full(n, 50.0)
    return Predictions(
        "direct", "age_years", split, rows, np.full(n, -1), truth, truth + delta, means, np.full(n, 10.0)
    )


def test_mean_deltas_are_those_of_scipy_and_recover_a_planted_difference(people):
    rng = np.random.default_rng(0)
    n = len(people.cohort)
    labels = people.cohort.table["diagnosis"]
    cases, rows = np.flatnonzero(labels == "patient"), np.flatnonzero(labels == "control")
    age = rng.uniform(20, 80, n)
    delta = -0.3 * (age - 50) + rng.normal(0, 3, n)
    val = _ages("val", rows, age[rows], delta[rows])
    own = _ages("cases", cases, age[cases], delta[cases] + 8)
    predictions = [val, own]
    healthy, ill = corrected_delta(val, predictions), corrected_delta(own, predictions)
    controls, found = group_deltas(predictions, people, CohortConfig(controls=CONTROLS))
    assert (controls["group"], controls["n"], controls["difference"]) == ("controls", len(rows), None)
    assert (found["group"], found["n"], found["split"]) == ("cases", len(cases), "cases")
    welch = stats.ttest_ind(ill, healthy, equal_var=False).confidence_interval()
    assert (found["difference_low"], found["difference_high"]) == pytest.approx((welch.low, welch.high))
    own_ends = stats.t.interval(0.95, len(ill) - 1, ill.mean(), stats.sem(ill))
    assert (found["low"], found["high"]) == pytest.approx(own_ends)
    assert found["low"] < 8 < found["high"]


def test_the_table_of_deltas_has_the_controls_first_and_is_not_shown_without_cases():
    progress = Recorded()
    show_group_deltas([], "m", progress)
    assert progress.tables == []
    row = {"model": "chain", "group": "controls", "split": "cv", "n": 40, "mean": 0.04, "low": -1.0, "high": 1.1}
    gap = {"difference": None, "difference_low": None, "difference_high": None}
    other = {**row, "group": "cases", "mean": None, "low": None, "high": None}
    show_group_deltas([{**row, **gap}, {**other, **gap}], "m", progress)
    ((_, _, cells),) = progress.tables
    assert cells == [("chain", "controls", "40", "+0.0 [-1.0, +1.1]", None), ("chain", "cases", "40", None, None)]
    assert "no corrected delta for 1 group" in progress.notices[0]
