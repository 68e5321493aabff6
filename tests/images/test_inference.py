"""Codes, decoded codes and reconstructions are those of the model, in the order of the images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from aekit.errors import AekitError
from aekit.images import inference as module
from aekit.images.config import ModelConfig
from aekit.images.data.image_set import ImageSet
from aekit.images.inference import decode_codes, encode_images, mean_and_error, reconstruct_images
from aekit.images.models import build_model


def _noise_images(n: int) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 1, 9, 8), dtype=np.uint8)
    return ImageSet(store=pixels, name="noise", labels=np.arange(n) % 3)


def _model(kind: str = "vae", **options: object):
    torch.manual_seed(0)
    return build_model(ModelConfig(kind=kind, arch="dense", latent=3, width=8, **options), (1, 9, 8))


def test_codes_are_the_posterior_in_the_order_of_the_images(monkeypatch):
    monkeypatch.setattr(module, "BATCH_SIZE", 3)
    model, images = _model(), _noise_images(7)
    codes = encode_images(model, images)
    with torch.no_grad():
        mean, logvar = model.posterior(torch.from_numpy(images.images).float() / 255)
    np.testing.assert_allclose(codes.mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(codes.logvar, logvar, rtol=1e-5, atol=1e-6)
    assert codes.mean.dtype == np.float32
    assert encode_images(_model("ae"), images).logvar is None


def test_reconstructions_are_decoded_codes(monkeypatch):
    model, images = _model(), _noise_images(7)
    decoded = decode_codes(model, encode_images(model, images).mean)
    monkeypatch.setattr(module, "BATCH_SIZE", 3)
    x_hat = reconstruct_images(model, images)
    np.testing.assert_allclose(x_hat, decoded, atol=1e-6)
    assert x_hat.shape == images.images.shape
    assert x_hat.min() >= 0
    assert x_hat.max() <= 1


def test_with_two_layers_a_reconstruction_is_of_the_layer_next_to_the_image_and_a_decoded_code_is_not():
    model, images = _model(stochastic_layers=2, lower_latent=5), _noise_images(7)
    x_hat = reconstruct_images(model, images)
    with torch.no_grad():
        x = torch.from_numpy(images.images).float() / 255
        lower = model.lower.posterior(model.encoder(x))[0]
        np.testing.assert_allclose(x_hat, torch.sigmoid(model.decoder(lower)), atol=1e-6)
    codes = encode_images(model, images).mean
    noise = np.random.default_rng(0).standard_normal((7, 5))
    drawn, at_mean = decode_codes(model, codes, noise), decode_codes(model, codes)
    assert np.abs(drawn - at_mean).max() > 1e-3
    np.testing.assert_array_equal(decode_codes(model, codes, 0 * noise), at_mean)
    assert np.abs(x_hat - at_mean).max() > 1e-3


def test_the_model_is_left_as_it_was():
    model, images = _model(), _noise_images(7)
    model.train()
    encode_images(model, images)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_standard_error_is_that_of_the_mean():
    values = np.array([1.0, 2.0, 4.0, 9.0], np.float32)
    mean, error = mean_and_error(values)
    assert mean == 4
    assert error == pytest.approx(values.std(ddof=1) / 2)
    assert math.isnan(mean_and_error(values[:1])[1])


def test_results_that_are_not_finite_name_the_images_and_a_way_out():
    model, images = _model(), _noise_images(7)
    with torch.no_grad():
        model.mean_head.weight.fill_(math.inf)
    with pytest.raises(AekitError, match=r"its codes are not finite for 7 of 7 images; train it again with a lower"):
        encode_images(model, images)
