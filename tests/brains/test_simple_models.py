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


def predict(voxel_weights=None, **result):
    return predict_simple_ages(
        "x", Header({"kind": "brain"}, {}, {}, result=result), voxel_weights, PREDICTED, VOLUMES, ROWS
    )


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
