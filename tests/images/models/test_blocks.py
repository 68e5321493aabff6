"""The face network takes photographs of any size."""

from __future__ import annotations

import torch

from aekit.images.config import ModelConfig
from aekit.images.models import build_model
from aekit.images.models.layers import DownConv


def test_the_face_network_takes_celeba_in_full_size():
    model = build_model(ModelConfig(arch="blocks", latent=3), (3, 218, 178))
    assert model(torch.rand(2, 3, 218, 178)).x_hat_logits.shape == (2, 3, 218, 178)


def test_a_single_pixel_has_the_gradient_under_bf16_that_it_has_in_fp32(monkeypatch):
    # What training sets, as it writes before it reads; a kernel that does not would leave NaN in the gradient.
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)
    conv = DownConv(64, 128)
    x = torch.randn(7, 64, 1, 1)
    (exact,) = torch.autograd.grad(conv(x).square().sum(), conv.weight)
    for _ in range(3):
        junk = [torch.full_like(exact, torch.nan, dtype=kind) for kind in 8 * [torch.float32, torch.bfloat16]]
        del junk
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            y = conv(x)
        (gradient,) = torch.autograd.grad(y.float().square().sum(), conv.weight)
        torch.testing.assert_close(gradient, exact, rtol=0.02, atol=0.02 * float(exact.abs().max()))
