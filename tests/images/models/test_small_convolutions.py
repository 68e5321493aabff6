"""The layers compute what PyTorch's do, forward and back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aekit.images.models import small_convolutions
from aekit.images.models.small_convolutions import SmallConv2d, SmallConvTranspose2d

PAIRS = {"down": (SmallConv2d, nn.Conv2d), "up": (SmallConvTranspose2d, nn.ConvTranspose2d)}
GEOMETRIES = [
    {"kernel_size": 4, "stride": 2, "padding": 1},
    {"kernel_size": (3, 4), "stride": 2, "padding": 1, "bias": False},
    {"kernel_size": (2, 5), "stride": (1, 3), "padding": (0, 2)},
]


def _gradients(layer: nn.Module, x: torch.Tensor, weights_of_output) -> list[torch.Tensor]:
    """Return output and gradients in bf16, as float32."""
    x = x.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(x)
    assert output.dtype == torch.bfloat16
    loss = (output.float() * weights_of_output(output.shape)).sum()
    return [output, *(value.float() for value in torch.autograd.grad(loss, [x, *layer.parameters()]))]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("way", list(PAIRS))
@pytest.mark.parametrize("last", [True, False])
def test_outputs_and_gradients_are_those_of_pytorch(way, geometry, last):
    torch.manual_seed(0)
    own, plain = (kind(6, 5, **geometry) for kind in PAIRS[way])
    plain.load_state_dict(own.state_dict())
    memory_format = torch.channels_last if last else torch.contiguous_format
    x = torch.randn(4, 6, 7, 8).contiguous(memory_format=memory_format)
    own, plain = (layer.to(memory_format=memory_format) for layer in (own, plain))

    def weights_of_output(shape: torch.Size) -> torch.Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(1))

    mine, theirs = (_gradients(layer, x, weights_of_output) for layer in (own, plain))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0.01, atol=0.01 * other.abs().max().item())
    exact = torch.nn.grad.conv2d_weight
    if way == "down":
        gradient = weights_of_output(mine[0].shape).bfloat16().float()
        wanted = exact(x.bfloat16().float(), own.weight.shape, gradient, own.stride, own.padding)
        torch.testing.assert_close(mine[2], wanted, rtol=0.01, atol=0.01 * wanted.abs().max().item())


@pytest.mark.parametrize("way", list(PAIRS))
def test_patches_beyond_the_cache_are_left_to_pytorch(way, monkeypatch):
    torch.manual_seed(0)
    layer = PAIRS[way][0](6, 5, kernel_size=4, stride=2, padding=1)
    x = torch.randn(4, 6, 8, 8).bfloat16()
    names = []
    for most in (0, small_convolutions._MOST):
        monkeypatch.setattr(small_convolutions, "_MOST", most)
        with torch.autocast("cpu", torch.bfloat16):
            names.append(type(layer(x).grad_fn).__module__)
    assert names[0] != names[1]
