"""Samples are those of the prior, or of a Gaussian fitted to the training codes, and repeat with their seed.

What is drawn from a learned prior, and its quantiles, are compared with numbers found by brute force.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from aekit.core.progress import Silent
from aekit.images.config import ModelConfig
from aekit.images.latent import prior_quantiles
from aekit.images.models import build_model
from aekit.images.prior import CodePrior, lower_noise, read_prior, sample_codes
from aekit.images.session import open_session

MIXTURE = CodePrior(
    weight=np.array([0.6, 0.1, 0.3]),
    mean=np.array([[0.0, 5.0], [3.0, 5.0], [-8.0, 5.1]]),
    sd=np.array([[1.0, 0.1], [0.2, 3.0], [0.5, 1.0]]),
)
STANDARD = CodePrior(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)))


class Notes(Silent):
    """Progress that keeps its notices."""

    def __init__(self):
        self.notices = []

    def notice(self, text):
        self.notices.append(text)


def test_samples_of_a_vae_are_those_of_its_prior_and_need_no_images(vae_checkpoint, tmp_path):
    session = open_session([vae_checkpoint], data=str(tmp_path / "nowhere"), device="cpu")
    (checkpoint,) = session.checkpoints()
    z = sample_codes(session, checkpoint, 4, seed=7)
    np.testing.assert_array_equal(z, np.random.default_rng(7).standard_normal((4, 2)))


def test_samples_of_an_autoencoder_have_the_moments_of_its_codes_and_that_is_reported(ae_checkpoint):
    notes = Notes()
    session = open_session([ae_checkpoint], device="cpu", progress=notes)
    (checkpoint,) = session.checkpoints()
    z = sample_codes(session, checkpoint, 50_000, seed=0)
    codes = checkpoint.encode(session.images(checkpoint, "train")).mean
    scale = codes.std(axis=0)
    np.testing.assert_allclose(z.mean(axis=0) / scale, codes.mean(axis=0) / scale, atol=0.02)
    np.testing.assert_allclose(
        np.cov(z.T) / np.outer(scale, scale), np.cov(codes.T) / np.outer(scale, scale), atol=0.03
    )
    assert notes.notices == [
        f"{ae_checkpoint}: a plain autoencoder has no prior; samples come from a Gaussian fitted to the training codes"
    ]


@pytest.mark.parametrize("dimension", [0, 1])
def test_quantiles_of_a_mixture_are_those_of_its_density_summed_up(dimension):
    z = np.linspace(-15, 20, 700_001)
    density = norm.pdf(z[:, None], MIXTURE.mean[:, dimension], MIXTURE.sd[:, dimension]) @ MIXTURE.weight
    probability = np.cumsum(density) * (z[1] - z[0])
    expected = np.interp((np.arange(7) + 0.5) / 7, probability, z)
    np.testing.assert_allclose(MIXTURE.quantiles(dimension, 7), expected, atol=1e-3)


def test_one_standard_component_has_the_numbers_of_the_standard_normal():
    assert (STANDARD.quantiles(1, 12) == prior_quantiles(12)).all()
    assert (STANDARD.draw(50, 3) == np.random.default_rng(3).standard_normal((50, 2))).all()
    assert (STANDARD.centre == 0).all()
    assert (STANDARD.spread == 1).all()


def test_draws_have_the_mean_and_the_spread_that_the_mixture_says():
    codes = MIXTURE.draw(200_000, 0)
    np.testing.assert_allclose(codes.mean(0), MIXTURE.centre, atol=0.03)
    np.testing.assert_allclose(codes.std(0), MIXTURE.spread, rtol=0.01)


def test_components_are_drawn_by_their_weights():
    apart = CodePrior(MIXTURE.weight, np.array([[0.0], [10.0], [20.0]]), np.full((3, 1), 0.1))
    counts = np.bincount(np.rint(apart.draw(100_000, 1)[:, 0] / 10).astype(int))
    np.testing.assert_allclose(counts / 100_000, MIXTURE.weight, atol=0.005)


def test_more_draws_begin_with_the_same():
    assert (MIXTURE.draw(200, 5)[:20] == MIXTURE.draw(20, 5)).all()


def _model(**options):
    torch.manual_seed(0)
    return build_model(ModelConfig(arch="dense", latent=2, width=8, **options), (1, 8, 8))


def test_the_prior_that_is_read_is_the_one_that_training_sees():
    model = _model(prior="mixture", components=3)
    with torch.no_grad():
        model.prior.weight_logits.copy_(torch.tensor([1.0, 2.0, 4.0]))
        model.prior.logvar.fill_(np.log(4.0))
    prior = read_prior(model)
    np.testing.assert_allclose(prior.weight, np.exp([1, 2, 4]) / np.exp([1, 2, 4]).sum(), rtol=1e-6)
    np.testing.assert_allclose(prior.sd, 2.0, rtol=1e-6)
    assert (prior.mean == model.prior.mean.detach().numpy()).all()


def test_the_prior_of_pseudo_inputs_is_where_they_are_encoded():
    model = _model(prior="vamp", components=3)
    with torch.no_grad():
        model.prior.image_logits.normal_(generator=torch.Generator().manual_seed(0))
        mean, logvar = model.posterior(torch.sigmoid(model.prior.image_logits))
    prior = read_prior(model)
    np.testing.assert_allclose(prior.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(prior.sd, torch.exp(0.5 * logvar), rtol=1e-5)
    assert (prior.weight == 1 / 3).all()


def test_noise_for_lower_variables_is_drawn_only_where_there_are_any():
    assert lower_noise(ModelConfig(latent=2), 4, seed=0) is None
    noise = lower_noise(ModelConfig(latent=2, stochastic_layers=2, lower_latent=5), 4, seed=0)
    assert noise.shape == (4, 5)
    assert (lower_noise(ModelConfig(latent=2, stochastic_layers=2, lower_latent=5), 3, seed=0) == noise[:3]).all()
