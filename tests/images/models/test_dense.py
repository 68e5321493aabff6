"""Fully connected networks have the layers that depth and width ask for."""

from __future__ import annotations

import torch

from aekit.images.config import ModelConfig
from aekit.images.models import build_model
from aekit.images.models.base import n_parameters


def test_dense_is_784_512_d_by_default_and_halves_with_depth():
    model = build_model(ModelConfig(kind="ae", arch="dense", latent=2), (1, 28, 28))
    assert n_parameters(model) == (784 * 512 + 512) + (512 * 2 + 2) + (2 * 512 + 512) + (512 * 784 + 784)
    deep = build_model(ModelConfig(kind="ae", arch="dense", latent=2, layers=3, width=64), (1, 28, 28))
    assert [m.out_features for m in deep.encoder if isinstance(m, torch.nn.Linear)] == [64, 32, 16]
