"""What every network promises: shapes, gradients, and the same results from its parts."""

from __future__ import annotations

import pytest
import torch

from aekit.errors import AekitError
from aekit.images.config import ModelConfig
from aekit.images.models import MODELS, build_model

ANY_SIZE = ("conv", "dense", "blocks")
SHAPES = [(1, 8, 8), (3, 9, 13), (1, 28, 28), (4, 31, 17), (3, 33, 8)]
CASES = [(arch, shape) for arch in ANY_SIZE for shape in SHAPES] + [
    ("resize-conv", (1, 28, 28)),
    ("resize-conv", (3, 28, 28)),
    ("strided", (1, 28, 28)),
    ("strided", (3, 28, 28)),
]


@pytest.mark.parametrize(("arch", "shape"), CASES)
@pytest.mark.parametrize("kind", ["ae", "vae"])
def test_images_come_out_in_the_size_they_went_in_with_finite_gradients(kind, arch, shape):
    model = build_model(ModelConfig(kind=kind, arch=arch, latent=3), shape)
    x = torch.rand(4, *shape)
    output = model(x, torch.randn(4, 3))
    assert output.x_hat_logits.shape == x.shape
    assert output.mean.shape == (4, 3)
    assert (output.logvar is None) == (kind == "ae")
    output.x_hat_logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        if name.startswith("logvar_head") or parameter.grad is not None:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("arch", list(MODELS))
def test_decode_of_encode_is_the_forward_pass_without_noise(arch):
    model = build_model(ModelConfig(arch=arch, latent=3), (1, 28, 28)).eval()
    x = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        x_hat = model.decode(model.encode(x))
        torch.testing.assert_close(x_hat, torch.sigmoid(model(x).x_hat_logits))
    assert x_hat.min() >= 0
    assert x_hat.max() <= 1


def test_a_decoder_initialised_with_the_mean_image_decodes_to_about_its_brightness():
    for arch in MODELS:
        torch.manual_seed(0)
        model = build_model(ModelConfig(arch=arch), (1, 28, 28))
        model.init_output_bias(torch.full((1, 28, 28), 0.13))
        x_hat = model.decode(torch.zeros(1, 10))
        assert abs(x_hat.mean().item() - 0.13) < 0.1, arch


def test_images_and_codes_of_another_shape_are_refused_with_the_shape_that_is_wanted():
    model = build_model(ModelConfig(kind="ae", arch="dense", latent=3), (1, 8, 8))
    with pytest.raises(AekitError, match=r"x is \(2, 1, 9, 8\); the network takes \(B, 1, 8, 8\)"):
        model.encode(torch.zeros(2, 1, 9, 8))
    with pytest.raises(AekitError, match=r"z is \(2, 4\); the network takes \(B, 3\)"):
        model.decode(torch.zeros(2, 4))


@pytest.mark.parametrize("arch", list(MODELS))
def test_no_image_at_all_passes_through_with_gradients_of_zero(arch):
    # The part of a process that has fewer images in a batch than there are processes.
    model = build_model(ModelConfig(kind="vae", arch=arch, latent=3), (1, 28, 28)).train()
    x = torch.rand(0, 1, 28, 28)
    if arch in ("blocks", "strided"):
        model.eval()  # batch norm of several processes has its own layer: tests/core/test_distributed.py
    output = model(x, torch.randn(0, 3))
    assert output.x_hat_logits.shape == x.shape
    gradients = torch.autograd.grad(
        output.x_hat_logits.sum() + output.mean.sum(), list(model.parameters()), allow_unused=True
    )
    assert all(gradient is None or not gradient.any() for gradient in gradients)
