from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, r2_score

from aekit.brains.measures.conformal import fit_conformal
from aekit.brains.measures.regression import age_corrected_delta
from aekit.brains.predictions import AGE, Predictions
from aekit.brains.scores import (
    PREDICTION_COLUMNS,
    conformal_table,
    differences_table,
    judged_split,
    metrics_table,
    predictions_table,
)

N = 30


def part(model="chain", target=AGE, split="test", *, n=N, seed=0, start=0, slope=0.7, noise=4.0, folds=None):
    """Return predictions with the bias that regression has: old people too young, young ones too old."""
    random = np.random.default_rng(seed)
    truth = random.uniform(10, 80, n)
    said = 45 + slope * (truth - 45) + random.normal(0, noise, n)
    fold = np.zeros(n, np.int64) if folds is None else np.arange(n) % folds
    return Predictions(
        model, target, split, np.arange(start, start + n), fold, truth, said, np.full(n, 45.0), np.full(n, 20.0)
    )


def everyone(cohort_of, n=100):
    return cohort_of(participant_id=[f"p{row:03}" for row in range(n)], age=np.linspace(10, 80, n))


def test_metrics_are_those_of_scikit_learn():
    parts = [part(), part("gp", noise=2.0), part("volumes", "gmv_ml", "val")]
    table = metrics_table(parts)
    expected = "model target split n mae mae_low mae_high mse_z r2 skill"
    assert list(table.columns) == expected.split()
    for made, row in zip(parts, table.itertuples(), strict=True):
        assert (row.model, row.target, row.split, row.n) == (made.model, made.target, made.split, N)
        assert row.mae == pytest.approx(mean_absolute_error(made.truth, made.prediction))
        assert row.r2 == pytest.approx(r2_score(made.truth, made.prediction))
        assert row.mae_low < row.mae < row.mae_high
        assert row.mse_z == pytest.approx(np.mean(((made.prediction - made.truth) / 20) ** 2))
        assert row.skill == pytest.approx(1 - row.mae / mean_absolute_error(made.truth, np.full(N, 45)))


def test_differences_are_below_zero_where_the_network_is_better():
    truth = part().truth
    network = replace(part(), prediction=truth + np.where(np.arange(N) % 2, 2.0, -2.0))
    parts = [
        replace(part("mean"), prediction=truth + 10),
        replace(part("median"), prediction=truth - 3),
        replace(part("gp"), prediction=truth + 0.5),
        replace(part("ridge-voxels"), prediction=truth + np.linspace(0.5, 1.5, N)),
        network,
        replace(network, model="direct", prediction=truth + 4),
    ]
    table = differences_table(parts).set_index(["model", "baseline"])
    assert table.loc[("chain", "mean"), "difference"] == pytest.approx(-8)
    assert table.loc[("chain", "gp"), "difference"] == pytest.approx(1.5)
    assert table.loc[("direct", "median"), "difference"] == pytest.approx(1)
    assert table.loc[("chain", "ridge-voxels"), "difference"] == pytest.approx(1)
    assert table.loc[("chain", "ridge-voxels"), "low"] < 1 < table.loc[("chain", "ridge-voxels"), "high"]
    # gp is closer, but it read the true volumes; the best rival of an image is the ridge on voxels.
    assert [name for name in table.index if table.loc[name, "best"]] == [
        ("chain", "ridge-voxels"), ("direct", "ridge-voxels"),
    ]  # fmt: skip
    assert set(table["n"]) == {N}


def test_differences_stay_within_a_target_and_a_split():
    pairs = [(target, split) for target in (AGE, "gmv_ml") for split in ("val", "test")]
    parts = [part(model, *key, seed=seed) for seed, key in enumerate(pairs) for model in ("mean", "chain")]
    table = differences_table(parts)
    assert list(zip(table["target"], table["split"], strict=True)) == [(t, s) for t, s in pairs]
    assert list(table["best"]) == [True] * 4


def test_a_row_a_person_model_and_target_with_the_raw_delta(cohort_of):
    parts = [part(), part("volumes", "gmv_ml", start=5)]
    table = predictions_table(parts, everyone(cohort_of))
    assert len(table) == 2 * N
    ages = table[table["target"] == AGE]
    assert list(ages["participant_id"]) == [f"p{row:03}" for row in range(N)]
    np.testing.assert_allclose(ages["delta"], parts[0].prediction - parts[0].truth)
    np.testing.assert_array_equal(ages["prediction"], parts[0].prediction)  # reported as it came
    volumes = table[table["target"] == "gmv_ml"]
    assert volumes["participant_id"].iloc[0] == "p005"
    assert volumes[["delta", "delta_corrected"]].isna().all(axis=None)


def corrected(parts, cohort_of, split):
    table = predictions_table(parts, everyone(cohort_of))
    return table[(table["split"] == split) & (table["model"] == "chain")]["delta_corrected"].to_numpy(float)


def test_the_delta_of_test_is_corrected_by_a_line_through_val(cohort_of):
    val, test = part(split="val", seed=1, start=50), part()
    found = corrected([val, test], cohort_of, "test")
    slope, intercept = np.polyfit(val.truth, val.prediction - val.truth, 1)
    np.testing.assert_allclose(found, test.prediction - test.truth - (intercept + slope * test.truth))
    assert (
        abs(np.corrcoef(found, test.truth)[0, 1]) < 0.4 < -np.corrcoef(test.prediction - test.truth, test.truth)[0, 1]
    )
    moved = replace(test, prediction=test.prediction + np.eye(N)[3] * 9)
    change = corrected([val, moved], cohort_of, "test") - found
    np.testing.assert_allclose(change, np.eye(N)[3] * 9, atol=1e-9)  # nobody but the one, and by all of it


def test_a_person_of_val_is_corrected_by_the_others_of_val(cohort_of):
    val = part(split="val")
    found = corrected([val], cohort_of, "val")
    for row in (0, 7):
        rest = np.delete(np.arange(N), row)
        slope, intercept = np.polyfit(val.truth[rest], (val.prediction - val.truth)[rest], 1)
        expected = val.prediction[row] - val.truth[row] - intercept - slope * val.truth[row]
        assert found[row] == pytest.approx(expected)


def test_a_person_of_a_fold_is_corrected_by_the_other_folds(cohort_of):
    cv = part(split="cv", folds=3)
    found = corrected([cv], cohort_of, "cv")
    for number in range(3):
        own = cv.fold == number
        expected = age_corrected_delta(
            cv.truth[own], cv.prediction[own], fit_age=cv.truth[~own], fit_predicted=cv.prediction[~own]
        )
        np.testing.assert_allclose(found[own], expected)
    moved = replace(cv, prediction=cv.prediction + (cv.fold == 1) * 5.0)
    np.testing.assert_allclose(corrected([moved], cohort_of, "cv")[cv.fold == 1], found[cv.fold == 1] + 5)


def test_test_people_beside_folds_are_corrected_by_all_folds(cohort_of):
    cv, test = part(split="cv", folds=3), part(start=60, seed=4)
    test = replace(test, fold=np.full(N, -1))
    found = corrected([cv, test], cohort_of, "test")
    expected = age_corrected_delta(test.truth, test.prediction, fit_age=cv.truth, fit_predicted=cv.prediction)
    np.testing.assert_allclose(found, expected)
    table = predictions_table([cv, test], everyone(cohort_of))
    assert table[table["split"] == "test"]["fold"].isna().all()
    assert set(table[table["split"] == "cv"]["fold"]) == {0, 1, 2}


def test_dropped_people_of_a_fold_are_corrected_by_the_other_folds_too(cohort_of):
    cv = part(split="cv", folds=3)
    own = np.array([0, 3, 4])
    fields = ("rows", "fold", "truth", "prediction", "mean_prediction", "sd")
    dropped = replace(cv, split="dropped", **{name: getattr(cv, name)[own] for name in fields})
    found = corrected([cv, dropped], cohort_of, "dropped")
    np.testing.assert_allclose(found, corrected([cv], cohort_of, "cv")[own])


@pytest.mark.parametrize("splits", [["test"], ["train", "test"]])
def test_without_people_to_fit_on_nothing_is_corrected(cohort_of, splits):
    parts = [part(split=split, seed=k, start=40 * k) for k, split in enumerate(splits)]
    assert np.isnan(corrected(parts, cohort_of, "test")).all()
    few = [part(split="val", n=2, start=80), *parts]
    assert np.isnan(corrected(few, cohort_of, "test")).all()


def test_no_accuracy_is_of_corrected_ages(cohort_of):
    val, test = part(split="val", seed=1, start=50), part()
    raw = metrics_table([test])["mae"].item()
    assert metrics_table([val, test]).set_index("split").loc["test", "mae"] == raw
    flat = np.abs(corrected([val, test], cohort_of, "test")).mean()
    assert flat < raw  # so it would have looked better


@pytest.mark.parametrize("split", ["val", "cv"])
def test_conformal_intervals_are_of_networks_and_of_people_who_were_held_out(split):
    held_out = part(split=split)
    found = conformal_table(
        [held_out, part("gp", split=split), part(split="train"), part(split="test"), part("volumes", "gmv_ml", split)]
    )
    assert [(one["model"], one["target"]) for one in found] == [("chain", AGE), ("volumes", "gmv_ml")]
    expected = fit_conformal(held_out.truth - held_out.prediction)
    assert found[0]["half_width"] == expected.half_width
    errors = np.abs(held_out.truth - held_out.prediction)
    assert np.mean(errors <= found[0]["half_width"]) >= 0.89
    assert conformal_table([part(split="test"), part(split="train")]) == []


@pytest.mark.parametrize(
    ("splits", "judged"),
    [
        ("train val test", "test"),
        ("cv test dropped", "test"),
        ("cv dropped", "cv"),
        ("train val", "val"),
        ("train", "train"),
    ],
)
def test_test_judges_before_folds_and_folds_before_val(splits, judged):
    assert judged_split([part(split=split) for split in splits.split()]) == judged


def test_the_further_columns_of_the_table_are_behind_those_of_the_predictions(cohort_of):
    cohort = everyone(cohort_of)
    table = cohort.table.assign(diagnosis=[f"d{row % 3}" for row in range(len(cohort))], split="old")
    plain = predictions_table([part(start=5)], cohort)
    found = predictions_table([part(start=5)], replace(cohort, table=table))
    own = list(PREDICTION_COLUMNS)
    assert list(found)[: len(own)] == list(plain)[: len(own)] == own
    pd.testing.assert_frame_equal(found[own], plain[own])
    assert list(found["diagnosis"]) == [f"d{row % 3}" for row in range(5, 5 + N)]
    assert set(found["table_split"]) == {"old"}
    assert not {"age", "gmv", "file"} & set(found)
