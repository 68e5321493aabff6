"""Errors at each site agree with those of its participants, and planted traces of a scanner are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

from aekit.brains.config import CohortConfig
from aekit.brains.people import Fold
from aekit.brains.predictions import AGE, Predictions
from aekit.brains.sites import _components, describe_sites, describe_worse_sites, probe_table, site_names, site_table

NOBODY = np.empty(0, np.int64)


def predictions_of(model, truth, prediction, fold, *, target=AGE, split="cv"):
    n = len(truth)
    rows = np.arange(n)
    return Predictions(model, target, split, rows, fold, truth, prediction, np.full(n, 50.0), np.full(n, 10.0))


def folds_by(number):
    rows = np.arange(len(number))
    return [Fold(one, rows[number != one], NOBODY, {"cv": rows[number == one]}, NOBODY) for one in np.unique(number)]


def test_a_row_has_the_errors_of_the_participants_of_its_site():
    random = np.random.default_rng(0)
    site = np.array(["a"] * 30 + ["b"] * 20 + [None] * 5, object)
    truth = random.uniform(20, 80, 55)
    prediction = truth + random.normal(0, 3, 55) + np.where(site == "b", 8.0, 0.0)
    fold = random.integers(0, 3, 55)
    table = site_table([predictions_of("chain", truth, prediction, fold)], folds_by(fold), site)
    assert list(table["site"]) == ["a", "b"]
    for row in table.itertuples():
        error = (prediction - truth)[site == row.site]
        assert (row.n, row.split, row.in_train) == ((site == row.site).sum(), "cv", "yes")
        assert row.mae == pytest.approx(np.abs(error).mean())
        assert row.bias == pytest.approx(error.mean())
        assert row.bias_low < error.mean() < row.bias_high
        assert row.r == pytest.approx(np.corrcoef(prediction[site == row.site], truth[site == row.site])[0, 1])


def test_a_site_that_was_held_out_was_not_in_train():
    fold = np.repeat([0, 1, 2], 10)
    site = np.repeat(np.array(["a", "b", "c"], object), 10)
    truth = np.linspace(20, 80, 30)
    parts = [predictions_of("direct", truth, truth + 1, fold)]
    assert list(site_table(parts, folds_by(fold), site)["in_train"]) == ["no"] * 3
    moved = np.where(np.arange(30) == 9, 1, fold)  # one of a is held out with b
    moved_parts = [replace(parts[0], fold=moved)]
    assert list(site_table(moved_parts, folds_by(moved), site)["in_train"]) == ["yes", "no", "no"]
    everywhere = [replace(parts[0], fold=np.full(30, -1))]  # the mean of all folds, as for test with --cv
    assert list(site_table(everywhere, folds_by(fold), site)["in_train"]) == ["some folds"] * 3


def test_planted_traces_of_a_scanner_are_found_and_scored(phantom_people):
    n = len(phantom_people.cohort)
    site = np.array(["a", "b"] * (n // 2), object)
    fold = np.arange(n) % 2
    histograms = phantom_people.volumes.histograms_ml.copy()
    histograms[site == "b"] = np.roll(histograms[site == "b"], 6, axis=1)  # a brighter scanner
    people = replace(phantom_people, volumes=replace(phantom_people.volumes, histograms_ml=histograms))
    truth = people.cohort.age_years
    noise = np.resize([-0.2, 0.2], n // 2)
    prediction = truth + np.where(site == "b", 5.0, 1.0) + np.repeat(noise, 2)  # a bias of the site, and a little else
    parts = [predictions_of("ridge-histogram", truth, prediction, fold)]
    table = probe_table(people, parts, folds_by(fold), site, seed=0).set_index("features")
    assert table.loc["histogram", "accuracy"] > 0.9
    assert table.loc["histogram", "chance"] == 0.5
    left = table.loc["ridge-histogram: predicted minus true age"]
    assert left["accuracy"] == 1.0
    # Each site is one fold, so all participants are of a site that their model has not seen.
    assert table.loc["histogram", "unseen_n"] == n
    assert table.loc["histogram", "unseen_mae"] == pytest.approx(3.0)
    assert table.loc["histogram", "score"] == pytest.approx(3.0 * table.loc["histogram", "accuracy"] ** 0.3)


def test_sites_that_were_in_train_have_no_external_error(phantom_people):
    n = len(phantom_people.cohort)
    site, fold = np.array(["a", "b"] * (n // 2), object), np.arange(n) // 2 % 2
    truth = phantom_people.cohort.age_years
    parts = [predictions_of("ridge-histogram", truth, truth + 1.0, fold)]
    table = probe_table(phantom_people, parts, folds_by(fold), site, seed=0)
    assert (table["unseen_n"] == 0).all()
    assert table["score"].isna().all()


def test_components_are_those_of_scikit_learn():
    x = np.random.default_rng(0).normal(size=(20, 50))
    found, expected = _components(x @ x.T)[:, :5], PCA(5, svd_solver="full").fit_transform(x)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-8)


def test_sites_are_a_column_of_the_table_or_the_one_that_is_held_out(phantom_people):
    assert set(site_names(phantom_people, CohortConfig())) == set(phantom_people.cohort.table["site"])
    assert set(site_names(phantom_people, CohortConfig(cv="sex", val=0, test=0))) == {"F", "M"}
    assert site_names(phantom_people, CohortConfig(cv="study", val=0, test=0)) is None  # the same for all


def test_the_sentence_names_the_worst_site_first_and_chance():
    fold = np.repeat([0, 1], 10)
    site = np.repeat(np.array(["a", "b"], object), 10)
    truth = np.linspace(20, 80, 20)
    parts = [predictions_of("direct", truth, truth + np.where(site == "b", 6.0, 2.0), fold)]
    table = site_table(parts, folds_by(fold), site)
    probes = pd.DataFrame(
        [{"features": "histogram", "accuracy": 0.8, "accuracy_low": 0.7, "accuracy_high": 0.9, "chance": 0.5}]
    )
    assert describe_sites(table, probes) == (
        "MAE of direct by site, in years: b 6.0, a 2.0; the site is told from intensity histograms with a balanced "
        "accuracy of 80 % [70, 90], 50 % by chance"
    )


def test_a_model_that_errs_more_than_the_mean_at_a_held_out_site_is_named_with_both_errors():
    truth = np.array([30.0, 50.0, 70.0, 30.0, 50.0, 70.0])
    number = np.array([0, 0, 0, 1, 1, 1])
    site = np.array(list("aaabbb"), object)
    stack = predictions_of("stack", truth, truth + np.where(number == 0, 30.0, 2.0), number)
    mean = predictions_of("mean", truth, np.full(6, 50.0), number)
    table = site_table([stack, mean], folds_by(number), site)
    text = describe_worse_sites(table, "stack")
    assert text.startswith("stack errs more than the mean predictor at 1 of 2 sites that it was not trained on")
    assert "in years: a 30.0 against 13.3;" in text
    assert describe_worse_sites(table, "mean") == ""
    assert describe_worse_sites(table, "") == ""
    mixed = site_table([stack, mean], [Fold(-1, np.arange(6), NOBODY, {}, NOBODY)], site)
    assert describe_worse_sites(mixed.assign(in_train="yes"), "stack") == ""
