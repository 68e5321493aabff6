"""Networks by name: defaults of each, and refusals of sizes and depths that it does not have."""

from __future__ import annotations

import pytest

from aekit.errors import AekitError
from aekit.images.config import ModelConfig
from aekit.images.models import LARGE_IMAGE_LR, MODELS, build_model, default_lr, default_optimizer


@pytest.mark.parametrize("arch", ["resize-conv", "strided"])
def test_networks_for_28_by_28_refuse_other_sizes_by_name(arch):
    with pytest.raises(
        AekitError, match=f"--arch {arch}: is made for images of height 28, width 28, not height 8, width 9"
    ):
        build_model(ModelConfig(arch=arch), (1, 8, 9))


@pytest.mark.parametrize(
    ("arch", "options"),
    [("strided", {"layers": 4}), ("strided", {"width": 8}), ("resize-conv", {"layers": 2}), ("conv", {"layers": 9})],
)
def test_depths_and_widths_that_an_architecture_does_not_have_are_refused(arch, options):
    with pytest.raises(AekitError, match="--layers"):
        build_model(ModelConfig(arch=arch, **options), (1, 28, 28))


@pytest.mark.parametrize("arch", list(MODELS))
def test_the_default_learning_rate_is_the_models_own_and_lower_for_large_images(arch):
    assert default_lr(arch, (1, 28, 28)) == MODELS[arch].default_lr
    assert default_lr(arch, (3, 48, 48)) == LARGE_IMAGE_LR


def test_the_default_learning_rate_falls_with_the_square_root_of_a_small_batch_and_is_short():
    assert default_lr("conv", (1, 28, 28), 25) == 2.5e-3
    assert default_lr("conv", (1, 28, 28), 20) == 2.2e-3
    assert default_lr("conv", (1, 28, 28), 8) == default_lr("dense", (1, 28, 28), 8) == 2e-3
    assert default_lr("conv", (1, 28, 28), 400) == default_lr("conv", (1, 28, 28), 100) == 5e-3
    assert default_lr("conv", (3, 64, 64), 8) == LARGE_IMAGE_LR


def test_default_learning_rates_are_those_of_earlier_versions():
    rates = {arch: architecture.default_lr for arch, architecture in MODELS.items()}
    assert rates == {"conv": 5e-3, "dense": 2e-3, "mlp": 5e-3, "resize-conv": 2e-3, "strided": 4e-3, "blocks": 2e-3}


def test_muon_is_the_default_of_conv_on_small_images_in_usual_batches():
    assert default_optimizer("conv", (1, 28, 28)) == default_optimizer("conv", (1, 28, 28), 500) == "muon"
    others = [("conv", (3, 28, 28), 100), ("conv", (1, 28, 28), 99), ("dense", (1, 28, 28), 100)]
    assert {default_optimizer(*each) for each in others} == {"adamw"}
    assert default_lr("conv", (1, 28, 28), 100, "muon") == 1e-2
    assert default_lr("conv", (1, 28, 28), 25, "muon") == 5e-3
