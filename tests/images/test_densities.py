"""Densities of codes are those of torch.distributions, and one standard component is the standard normal."""

from __future__ import annotations

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from aekit.images import densities
from aekit.images.densities import Components


def _mixture(n: int, latent: int = 4) -> Components:
    generator = torch.Generator().manual_seed(3)
    mean, logvar = torch.randn(2, n, latent, generator=generator, dtype=torch.float64)
    return Components(mean, logvar, torch.log_softmax(torch.randn(n, generator=generator, dtype=torch.float64), 0))


def test_the_density_of_a_mixture_is_that_of_torch():
    for n in (1, 5):
        mixture = _mixture(n)
        parts = Independent(Normal(mixture.mean, torch.exp(0.5 * mixture.logvar)), 1)
        truth = MixtureSameFamily(Categorical(logits=mixture.log_weight), parts)
        z = 2 * torch.randn(50, 4, dtype=torch.float64)
        torch.testing.assert_close(densities.log_prior(z, mixture), truth.log_prob(z))


def test_the_standard_normal_is_that_of_torch():
    z = torch.randn(50, 4)
    truth = Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(densities.log_prior(z, None), truth)
    torch.testing.assert_close(densities.log_normal(z, torch.zeros(4), torch.zeros(4)).sum(1), truth)


def test_one_standard_component_gives_the_numbers_of_the_standard_normal_to_the_last_bit():
    standard = Components(torch.zeros(1, 4), torch.zeros(1, 4), torch.zeros(1))
    z, mean, logvar = torch.randn(3, 50, 4)
    assert torch.equal(densities.log_prior(z, standard), densities.log_prior(z, None))
    assert torch.equal(densities.kl_from_one(mean, logvar, standard), densities.kl_divergence(mean, logvar))


def test_the_divergence_from_one_component_is_that_of_torch():
    one = _mixture(1)
    mean, logvar = torch.randn(2, 50, 4, dtype=torch.float64)
    posterior, prior = Normal(mean, torch.exp(0.5 * logvar)), Normal(one.mean, torch.exp(0.5 * one.logvar))
    torch.testing.assert_close(densities.kl_from_one(mean, logvar, one), kl_divergence(posterior, prior).sum(1))


def test_a_mixture_of_equal_components_is_the_component():
    one = _mixture(1)
    many = Components(one.mean.repeat(6, 1), one.logvar.repeat(6, 1), torch.full((6,), 1 / 6).log().double())
    z = torch.randn(20, 4, dtype=torch.float64)
    torch.testing.assert_close(densities.log_prior(z, many), densities.log_prior(z, one))
