"""What a page is checked on: all places of an image, and weights that are stored finely enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from aekit.images.explore.network import build_network
from aekit.images.explore.reference import N_CODES, build_reference, choose_precision, differences, pixel_places
from aekit.images.session import open_session


@pytest.fixture
def studied(vae_checkpoint):
    """Return a checkpoint, its test images and their codes."""
    session = open_session(vae_checkpoint, device="cpu", threads=1)
    checkpoint = next(session.checkpoints())
    images = session.studied(checkpoint, "test")
    return checkpoint, images, checkpoint.encode(images).mean


def _reference(studied):
    checkpoint, images, codes = studied
    samples = codes.std(axis=0) * np.random.default_rng(0).standard_normal((50, codes.shape[1]))
    return build_reference(checkpoint, images, samples, codes)


@pytest.mark.parametrize("n_pixels", [1, 64, 784, 1024, 1025, 29_103, 102_400])
def test_the_compared_places_cover_the_image(n_pixels):
    places = [pixel_places(n_pixels, row) for row in range(N_CODES)]
    assert all(len(each) == min(n_pixels, 1024) and len(set(each.tolist())) == len(each) for each in places)
    assert set(np.concatenate(places).tolist()) == set(range(n_pixels))


def test_half_precision_is_enough_for_a_trained_model(studied):
    network, reference = build_network(studied[0].model), _reference(studied)
    assert choose_precision(network, reference) == "float16"
    of_pixels, of_codes = differences(network.rounded("float16"), reference)
    assert 0 < of_pixels < 0.5 / 255
    assert 0 < of_codes < 0.005


def test_weights_that_half_precision_spoils_are_stored_in_full(studied):
    checkpoint = studied[0]
    # Weights of a hidden layer so large that those of 16 bits overflow, undone in the next layer.
    linear = [module for module in checkpoint.model.decoder.modules() if isinstance(module, torch.nn.Linear)]
    with torch.no_grad():
        for parameter in checkpoint.model.mean_head.parameters():
            parameter.mul_(1e-6)
        linear[0].weight.mul_(1e6)
    codes = checkpoint.encode(studied[1]).mean
    network, reference = build_network(checkpoint.model), _reference((*studied[:2], codes))
    assert not np.isfinite(differences(network.rounded("float16"), reference)).all()
    assert choose_precision(network, reference) == "float32"


def test_layers_that_are_not_those_of_the_model_are_a_bug(studied):
    network, reference = build_network(studied[0].model), _reference(studied)
    wrong = replace(network, decoder=[layer for layer in network.decoder if layer.kind != "silu"])
    with pytest.raises(ValueError, match="the layers differ from the model"):
        choose_precision(wrong, reference)
