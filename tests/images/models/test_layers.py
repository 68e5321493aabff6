"""Shared layers compute what PyTorch's own compute."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from aekit.images.models.layers import FlattenPixels, UnflattenPixels, UpConv, UpToGrey, halved_sizes, init_weights


@pytest.mark.parametrize(("kernel", "size"), [((4, 4), (14, 14)), ((3, 4), (13, 9))])
def test_a_step_up_to_grey_is_torchs_transposed_convolution_with_its_gradients(kernel, size):
    layer = UpToGrey(5, 1, kernel, stride=2, padding=1)
    layer = layer.double()
    x = torch.randn(3, 5, *size, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    expected = torch.nn.functional.conv_transpose2d(x, layer.weight, layer.bias, stride=2, padding=1)
    weight = torch.randn_like(expected)
    inputs = (x, layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(
        torch.autograd.grad((layer(x) * weight).sum(), inputs), torch.autograd.grad((expected * weight).sum(), inputs)
    )


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(400, 300), nn.Conv2d(20, 40, 4, stride=2), nn.ConvTranspose2d(40, 20, 4, stride=2)],
    ids=["linear", "convolution", "transposed convolution"],
)
def test_initial_weights_keep_the_variance_of_the_signal(layer):
    torch.manual_seed(0)
    init_weights(layer, gain=1.0)
    assert not layer.bias.any()
    x = torch.randn(50, 400) if isinstance(layer, nn.Linear) else torch.randn(20, layer.in_channels, 20, 20)
    inner = layer(x) if isinstance(layer, nn.Linear) else layer(x)[:, :, 4:-4, 4:-4]  # away from the borders
    assert inner.std().item() == pytest.approx(1.0, abs=0.05)


def test_unflattening_inverts_flattening_and_neither_moves_memory_with_channels_last():
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    flat = FlattenPixels()(x)
    assert flat.shape == (2, 60)
    assert flat.data_ptr() == x.data_ptr()
    back = UnflattenPixels((3, 4, 5))(flat)
    assert back.data_ptr() == x.data_ptr()
    torch.testing.assert_close(back, x)


def test_a_step_up_is_cut_to_the_size_that_is_asked_for():
    layer = UpConv(2, 3, (7, 8))
    x = torch.randn(1, 2, 4, 4)
    whole = nn.functional.conv_transpose2d(x, layer.weight, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(layer(x), whole[:, :, :7, :8])


@pytest.mark.parametrize("size", [(28, 28), (9, 13), (1, 8), (218, 178)])
def test_halved_sizes_round_up(size):
    sizes = halved_sizes(size, 3)
    assert sizes == [(math.ceil(size[0] / 2**i), math.ceil(size[1] / 2**i)) for i in range(4)]
