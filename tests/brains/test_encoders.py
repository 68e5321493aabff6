from typing import get_args

import pytest
import torch
from torch import nn

from aekit.brains.config import BrainArch
from aekit.brains.encoders import DEFAULT_EPOCHS, DEFAULT_LR, ENCODERS, SeededDropout, draw_dropout_from


def test_every_architecture_has_an_encoder_and_defaults():
    archs = set(get_args(BrainArch))
    assert set(ENCODERS) == set(DEFAULT_EPOCHS) == set(DEFAULT_LR) == archs


@pytest.mark.parametrize("arch", ["strided", "deep", "sfcn"])
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 1), (5, 4, 9), (16, 2, 7), (33, 32, 31)])
def test_an_encoder_returns_as_many_features_as_it_says_for_any_grid(arch, size):
    encoder, n_features = ENCODERS[arch](size)
    assert encoder(torch.rand(2, 1, *size)).shape == (2, n_features)


def test_sfcn_has_the_published_widths_and_halves_each_axis_until_one_voxel_is_left():
    encoder, n_features = ENCODERS["sfcn"]((48, 20, 3))
    sizes = []
    for module in encoder:
        if isinstance(module, nn.MaxPool3d):
            module.register_forward_hook(lambda _, __, found: sizes.append(tuple(found.shape[2:])))
    encoder(torch.rand(2, 1, 48, 20, 3))
    assert sizes == [(24, 10, 1), (12, 5, 1), (6, 2, 1), (3, 1, 1), (1, 1, 1)]
    kernels = [tuple(weight.shape) for weight in encoder.parameters() if weight.ndim == 5]
    assert kernels == [
        (32, 1, 3, 3, 3),
        (64, 32, 3, 3, 3),
        (128, 64, 3, 3, 3),
        (256, 128, 3, 3, 3),
        (256, 256, 3, 3, 3),
        (64, 256, 1, 1, 1),
    ]
    assert n_features == 64


def test_on_the_grid_that_it_was_made_for_sfcn_ends_with_5_6_5_voxels():
    encoder, _ = ENCODERS["sfcn"]((160, 192, 160))
    pools = [module.kernel_size for module in encoder if isinstance(module, nn.MaxPool3d)]
    assert pools == [(2, 2, 2)] * 5
    published = 3e6  # "about 3 million" parameters, with 2,600 of the 40 bins
    assert sum(weight.numel() for weight in encoder.parameters()) == pytest.approx(published, rel=0.05)


def test_dropout_keeps_the_mean_and_draws_from_its_own_generator_alone():
    dropout, features = SeededDropout(0.25), torch.ones(200, 100)
    dropout.generator = torch.Generator().manual_seed(3)
    before = torch.get_rng_state()
    first = dropout(features)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert float((first == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert float(first.mean()) == pytest.approx(1, abs=0.02)
    assert not torch.equal(dropout(features), first)
    dropout.generator = torch.Generator().manual_seed(3)
    assert torch.equal(dropout(features), first)


def test_dropout_leaves_features_as_they_are_outside_of_training():
    dropout, features = SeededDropout(0.5), torch.rand(3, 4)
    assert dropout.eval()(features) is features
    assert SeededDropout(0.0)(features) is features


def test_all_dropout_of_a_network_gets_the_generator():
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(SeededDropout(0.5)), SeededDropout(0.1))
    generator = torch.Generator()
    draw_dropout_from(network, generator)
    assert network[1][0].generator is network[2].generator is generator
    draw_dropout_from(network, None)
    assert network[2].generator is None
