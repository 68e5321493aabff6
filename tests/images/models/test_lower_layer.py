"""Two layers of latent variables: their bound, their codes, and what is decoded."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from aekit.images.config import ModelConfig, TrainConfig
from aekit.images.models import MODELS, build_model
from aekit.images.objectives import build_objective


def _model(arch: str = "dense", **options: object):
    torch.manual_seed(0)
    config = ModelConfig(kind="vae", arch=arch, latent=3, stochastic_layers=2, **options)
    return build_model(config, (1, 28, 28))


@pytest.mark.parametrize("arch", MODELS)
def test_every_network_can_have_two_layers(arch):
    model = _model(arch, lower_latent=7).eval()
    x = torch.rand(4, 1, 28, 28)
    output = model(x, torch.randn(4, 10))
    assert output.x_hat_logits.shape == x.shape
    assert output.z.shape == output.mean.shape == (4, 3)
    assert output.lower.z.shape == output.lower.prior_mean.shape == (4, 7)
    assert model.encode(x).shape == (4, 3)
    assert model.decode(model.encode(x)).shape == x.shape


def test_without_noise_the_pass_is_that_of_the_means():
    model, x = _model(), torch.rand(4, 1, 28, 28)
    output = model(x)
    mean, _ = model.posterior(x)
    torch.testing.assert_close(output.z, mean)
    torch.testing.assert_close(output.lower.z, model.lower.posterior(model.encoder(x))[0])
    # What is decoded of a code is the mean of the lower variables given the code, not given the image.
    torch.testing.assert_close(model.decode_logits(mean), model.decoder(model.lower.prior(mean)[0]))


def test_samples_of_a_code_draw_the_lower_variables_too():
    model, z = _model(lower_latent=7), torch.randn(1, 3)
    noise = torch.randn(5, 7)
    mean, logvar = model.lower.prior(z)
    expected = model.decoder(mean + torch.exp(0.5 * logvar) * noise)
    torch.testing.assert_close(model.decode_logits(z.expand(5, 3), noise), expected)


def test_the_divergence_is_that_of_both_layers_in_expectation():
    model, x = _model(lower_latent=4), torch.rand(1, 1, 28, 28)
    with torch.no_grad():
        for parameter in model.lower.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        n = 2_000
        output = model(x, torch.randn(1, n, 7))
        objective = build_objective(model, TrainConfig())
        terms = objective.terms(x.expand(n, -1, -1, -1), output)
        lower = output.lower
        log_q = Normal(lower.mean, torch.exp(0.5 * lower.logvar)).log_prob(lower.z).sum(1)
        log_q += Normal(output.mean, torch.exp(0.5 * output.logvar)).log_prob(output.z).sum(1)
        log_p = Normal(lower.prior_mean, torch.exp(0.5 * lower.prior_logvar)).log_prob(lower.z).sum(1)
        log_p += Normal(0.0, 1.0).log_prob(output.z).sum(1)
    assert objective.names == ("reconstruction", "kl", "kl_top", "mse")
    difference = terms["kl"] - (log_q - log_p)  # the code's part is exact in one and sampled in the other
    assert abs(difference.mean()) < 4 * difference.std() / math.sqrt(n)
    assert terms["kl"].mean() > terms["kl_top"].mean()
