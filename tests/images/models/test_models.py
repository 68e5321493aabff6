"""Every architecture keeps the model's contract, and the studies' networks have the studies' sizes."""

from __future__ import annotations

import pytest
import torch

from aekit.errors import AekitError
from aekit.images.config import ModelConfig
from aekit.images.models import MODELS, build_model
from aekit.images.models.base import n_parameters
from aekit.images.models.layers import UpToGrey

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


def test_the_face_network_takes_celeba_in_full_size():
    model = build_model(ModelConfig(arch="blocks", latent=3), (3, 218, 178))
    assert model(torch.rand(2, 3, 218, 178)).x_hat_logits.shape == (2, 3, 218, 178)


def test_resize_conv_has_the_parameters_of_study_1a():
    assert n_parameters(build_model(ModelConfig(kind="vae", arch="resize-conv", latent=28), (1, 28, 28))) == 566_249


@pytest.mark.parametrize(("layers", "count"), [(1, 27_543), (2, 49_701), (3, 28_317)])
def test_strided_has_the_parameters_of_study_3_at_20_dimensions(layers, count):
    model = build_model(ModelConfig(kind="ae", arch="strided", latent=20, layers=layers), (1, 28, 28))
    assert n_parameters(model) == count


@pytest.mark.parametrize("latent", [1, 5, 10, 20, 50, 100])
def test_two_strided_layers_grow_by_1801_parameters_a_dimension(latent):
    model = build_model(ModelConfig(kind="ae", arch="strided", latent=latent), (1, 28, 28))
    assert n_parameters(model) == 13_681 + 1_801 * latent


def test_dense_is_784_512_d_by_default_and_halves_with_depth():
    model = build_model(ModelConfig(kind="ae", arch="dense", latent=2), (1, 28, 28))
    assert n_parameters(model) == (784 * 512 + 512) + (512 * 2 + 2) + (2 * 512 + 512) + (512 * 784 + 784)
    deep = build_model(ModelConfig(kind="ae", arch="dense", latent=2, layers=3, width=64), (1, 28, 28))
    assert [m.out_features for m in deep.encoder if isinstance(m, torch.nn.Linear)] == [64, 32, 16]


@pytest.mark.parametrize("arch", ["resize-conv", "strided"])
def test_networks_for_28_by_28_refuse_other_sizes_by_name(arch):
    with pytest.raises(AekitError, match=f"--arch {arch}: is made for 28x28 images, not 8x9"):
        build_model(ModelConfig(arch=arch), (1, 8, 9))


@pytest.mark.parametrize(
    ("arch", "options"),
    [("strided", {"layers": 4}), ("strided", {"width": 8}), ("resize-conv", {"layers": 2}), ("conv", {"layers": 9})],
)
def test_depths_and_widths_that_an_architecture_has_not_are_refused(arch, options):
    with pytest.raises(AekitError, match="--layers"):
        build_model(ModelConfig(arch=arch, **options), (1, 28, 28))


def test_a_decoder_that_starts_at_the_mean_image_decodes_to_about_its_brightness():
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


@pytest.mark.parametrize("arch", list(MODELS))
def test_no_image_at_all_goes_through_with_gradients_of_zero(arch):
    # The part of a process that has fewer images in a batch than there are processes.
    model = build_model(ModelConfig(kind="vae", arch=arch, latent=3), (1, 28, 28)).train()
    x = torch.rand(0, 1, 28, 28)
    if arch in ("blocks", "strided"):
        model.eval()  # batch norm of several processes has its own layer: tests/test_distributed.py
    output = model(x, torch.randn(0, 3))
    assert output.x_hat_logits.shape == x.shape
    gradients = torch.autograd.grad(
        output.x_hat_logits.sum() + output.mean.sum(), list(model.parameters()), allow_unused=True
    )
    assert all(gradient is None or not gradient.any() for gradient in gradients)
