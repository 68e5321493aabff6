"""The beta-VAE of study 1a has the study's size."""

from __future__ import annotations

from aekit.images.config import ModelConfig
from aekit.images.models import build_model
from aekit.images.models.base import n_parameters


def test_resize_conv_has_the_parameters_of_study_1a():
    assert n_parameters(build_model(ModelConfig(kind="vae", arch="resize-conv", latent=28), (1, 28, 28))) == 566_249
