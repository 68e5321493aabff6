"""The face network takes photographs of any size."""

from __future__ import annotations

import torch

from aekit.images.config import ModelConfig
from aekit.images.models import build_model


def test_the_face_network_takes_celeba_in_full_size():
    model = build_model(ModelConfig(arch="blocks", latent=3), (3, 218, 178))
    assert model(torch.rand(2, 3, 218, 178)).x_hat_logits.shape == (2, 3, 218, 178)
