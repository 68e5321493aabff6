import json

import numpy as np
import pytest

from aekit.brains.histogram_model import describe_histogram_models, predict_histogram_models
from aekit.brains.measures.baselines import fit_ridge, smooth_histogram
from aekit.core.checkpoint import Header
from aekit.errors import AekitError


def header(**result):
    return Header({"kind": "brain"}, {}, {}, result=result)


@pytest.fixture
def people():
    random = np.random.default_rng(0)
    histograms = random.gamma(2.0, 10.0, (40, 12))
    return histograms, {"age_years": histograms[:, 3] + 20, "gmv_ml": 10 * histograms[:, 7] + 300}


def test_coefficients_that_went_through_json_predict_as_the_baselines_of_the_folds(people):
    histograms, targets = people
    trains = [np.arange(0, 30), np.arange(10, 40)]
    stored = json.loads(json.dumps(describe_histogram_models(histograms, targets, trains)))
    found = predict_histogram_models(header(ridge_histogram=stored), histograms[:5], "x")
    features, y = smooth_histogram(histograms), np.column_stack(list(targets.values()))
    expected = np.mean([fit_ridge(features[train], y[train])(features[:5]) for train in trains], axis=0)
    np.testing.assert_allclose(np.column_stack(list(found.values())), expected)


def test_coefficients_for_other_histograms_are_refused(people):
    histograms, targets = people
    stored = describe_histogram_models(histograms, targets, [np.arange(40)])
    with pytest.raises(AekitError, match="x: its header is damaged"):
        predict_histogram_models(header(ridge_histogram=stored), histograms[:, :10], "x")
    stored["folds"][0]["weight"][0].pop()
    with pytest.raises(AekitError, match="x: its header is damaged"):
        predict_histogram_models(header(ridge_histogram=stored), histograms, "x")


def test_a_checkpoint_without_ridge_regression_predicts_none():
    assert predict_histogram_models(header(), np.ones((2, 12)), "x") is None
