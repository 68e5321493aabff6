from types import SimpleNamespace

import numpy as np
import pytest
import torch

from aekit.brains.histogram_model import describe_histogram_models
from aekit.brains.members import MemberPrediction
from aekit.brains.simple_models import predict_simple_ages
from aekit.core.checkpoint import Header
from aekit.errors import AekitError

RANDOM = np.random.default_rng(0)
HISTOGRAMS, IMAGES = RANDOM.gamma(2.0, 10.0, (40, 12)), RANDOM.random((40, 2, 2, 2))
VOLUMES = SimpleNamespace(histograms_ml=HISTOGRAMS, images=IMAGES)
ROWS = np.arange(5)
RIDGE = describe_histogram_models(HISTOGRAMS, {"age_years": HISTOGRAMS[:, 3] + 20}, [np.arange(40)])
STACK = {"models": ["mean", "ridge-histogram", "ridge-voxels", "direct"], "weights": [0.1, 0.2, 0.3, 0.4]}
STACK |= {"mean_years": 50.0, "voxel_bias": 7.0}
PREDICTED = MemberPrediction(direct_age=np.full(5, 60.0))


def predict(voxel_weights=None, tissue_weights=None, **result):
    given = {"ridge-voxels.age_years": voxel_weights, "ridge-tissues.age_years": tissue_weights}
    tensors = {name: value for name, value in given.items() if value is not None}
    header = Header({"kind": "brain"}, {"spacing_mm": 4.0}, {}, result=result)
    return predict_simple_ages("x", header, tensors, PREDICTED, VOLUMES, ROWS)


def test_a_stack_adds_its_models_with_their_weights():
    found = predict(torch.ones(2, 2, 2), ridge_histogram=RIDGE, stack=STACK)
    voxels = IMAGES[:5].sum((1, 2, 3)) + 7
    expected = 0.1 * 50 + 0.2 * found["ridge-histogram"] + 0.3 * voxels + 0.4 * 60
    np.testing.assert_allclose(found["stack"], expected)


def test_an_older_checkpoint_has_no_other_models_than_networks():
    assert predict() == {}
    assert list(predict(ridge_histogram=RIDGE)) == ["ridge-histogram"]


@pytest.mark.parametrize(
    ("change", "weights"),
    [
        ({}, None),
        ({}, torch.ones(2, 2, 3)),
        ({"models": ["mean", "ridge-histogram", "ridge-voxels", "chain"]}, torch.ones(2, 2, 2)),
        ({"models": ["mean"], "weights": [0.5, 0.5]}, torch.ones(2, 2, 2)),
        ({"weights": [0.0] * 4}, torch.ones(2, 2, 2)),
    ],
)
def test_a_stack_that_does_not_fit_its_checkpoint_is_refused(change, weights):
    with pytest.raises(AekitError, match="x: its header is damaged"):
        predict(weights, ridge_histogram=RIDGE, stack=STACK | change)


def test_ridge_regression_without_ages_is_refused():
    volumes = describe_histogram_models(HISTOGRAMS, {"gmv_ml": HISTOGRAMS[:, 7]}, [np.arange(40)])
    with pytest.raises(AekitError, match="x: its header is damaged"):
        predict(ridge_histogram=volumes)


TISSUES = {"shape": [0.0] * 12, "bias": 40.0}


def test_the_regression_on_tissues_is_one_of_the_models_and_may_be_part_of_the_stack():
    stack = {"models": ["ridge-tissues", "direct"], "weights": [0.5, 0.5], "mean_years": 50.0}
    found = predict(None, torch.zeros(3, 1, 1, 1), ridge_histogram=RIDGE, ridge_tissues=TISSUES, stack=stack)
    assert list(found) == ["ridge-histogram", "ridge-tissues", "stack"]
    np.testing.assert_allclose(found["ridge-tissues"], 40)
    np.testing.assert_allclose(found["stack"], 50)


@pytest.mark.parametrize(
    ("stored", "weights"),
    [
        (TISSUES, None),
        (TISSUES, torch.zeros(3, 1, 1, 2)),
        (TISSUES, torch.zeros(3, 1)),
        ({"shape": [0.0] * 12}, torch.zeros(3, 1, 1, 1)),
        ({"shape": [0.0] * 7, "bias": 1.0}, torch.zeros(3, 1, 1, 1)),
        ({"shape": ["x"], "bias": 1.0}, torch.zeros(3, 1, 1, 1)),
    ],
)
def test_a_regression_on_tissues_that_does_not_fit_its_checkpoint_is_refused(stored, weights):
    with pytest.raises(AekitError, match="x: its header is damaged"):
        predict(None, weights, ridge_histogram=RIDGE, ridge_tissues=stored)
