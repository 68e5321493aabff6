"""The networks of study 3 have the study's sizes."""

from __future__ import annotations

import pytest

from aekit.images.config import ModelConfig
from aekit.images.models import build_model
from aekit.images.models.base import n_parameters


@pytest.mark.parametrize(("layers", "count"), [(1, 27_543), (2, 49_701), (3, 28_317)])
def test_strided_has_the_parameters_of_study_3_at_20_dimensions(layers, count):
    model = build_model(ModelConfig(kind="ae", arch="strided", latent=20, layers=layers), (1, 28, 28))
    assert n_parameters(model) == count


@pytest.mark.parametrize("latent", [1, 5, 10, 20, 50, 100])
def test_two_strided_layers_grow_by_1801_parameters_per_dimension(latent):
    model = build_model(ModelConfig(kind="ae", arch="strided", latent=latent), (1, 28, 28))
    assert n_parameters(model) == 13_681 + 1_801 * latent
