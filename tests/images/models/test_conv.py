"""The default network is as deep as the images are large."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aekit.images.config import ModelConfig
from aekit.images.models import build_model
from aekit.images.models.conv import HIDDEN, LARGE_HIDDEN


@pytest.mark.parametrize(
    ("shape", "depth", "left", "hidden"),
    [((1, 8, 8), 1, (4, 4), HIDDEN), ((1, 28, 28), 3, (4, 4), HIDDEN), ((3, 218, 178), 5, (7, 6), LARGE_HIDDEN)],
)
def test_convolutions_halve_images_to_a_few_pixels_before_linear_layers(shape, depth, left, hidden):
    model = build_model(ModelConfig(arch="conv"), shape)
    convolutions = [layer for layer in model.encoder if isinstance(layer, nn.Conv2d)]
    x = torch.rand(1, *shape)
    for layer in convolutions:
        x = layer(x)
    assert len(convolutions) == depth
    assert x.shape[2:] == left
    assert model.mean_head.in_features == hidden


def test_channels_double_up_to_eight_times_the_first():
    model = build_model(ModelConfig(arch="conv", layers=5, width=4), (1, 32, 32))
    convolutions = [layer for layer in model.encoder if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [4, 8, 16, 32, 32]
