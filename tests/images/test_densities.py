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


def test_narrow_components_far_from_zero_have_the_density_of_64_bits():
    generator = torch.Generator().manual_seed(3)
    mean = 30 * torch.randn(20, 50, generator=generator)
    narrow = Components(mean, torch.full_like(mean, -8.0), torch.full((20,), 1 / 20).log())
    z = mean + 0.02 * torch.randn(20, 50, generator=generator)
    exact = densities.log_prior(z.double(), Components(*(each.double() for each in narrow)))
    torch.testing.assert_close(densities.log_prior(z, narrow).double(), exact, rtol=0, atol=1e-3)


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


def test_the_divergence_from_a_marginal_is_that_of_many_samples():
    mixture = _mixture(4, latent=2)
    mean, logvar = torch.tensor([[0.5, -2.0]]).double(), torch.tensor([[-1.0, 0.3]]).double()
    z = mean + torch.exp(0.5 * logvar) * torch.randn(400_000, 2, dtype=torch.float64)
    ratio = Normal(mean, torch.exp(0.5 * logvar)).log_prob(z)
    for dimension in range(2):
        parts = Normal(mixture.mean[:, dimension], torch.exp(0.5 * mixture.logvar[:, dimension]))
        marginal = MixtureSameFamily(Categorical(logits=mixture.log_weight), parts)
        ratio[:, dimension] -= marginal.log_prob(z[:, dimension])
    found = densities.kl_from_marginals(mean, logvar, mixture)[0]
    torch.testing.assert_close(found, ratio.mean(0), atol=0.01, rtol=0)


def test_divergences_of_dimensions_add_up_where_the_prior_is_one_gaussian():
    one = _mixture(1)
    many = Components(one.mean.repeat(3, 1), one.logvar.repeat(3, 1), torch.full((3,), 1 / 3).log().double())
    mean, logvar = torch.randn(2, 50, 4, dtype=torch.float64)
    for prior in (one, many):
        found = densities.kl_from_marginals(mean, logvar, prior).sum(1)
        torch.testing.assert_close(found, densities.kl_from_one(mean, logvar, one))
