"""What the KL divergence is made of under the aggregate posterior: identities, a formula, and a loop."""

from __future__ import annotations

import math

import pytest
import torch
from gaussian_codes import gaussian_codes, pairwise_correlation
from torch.distributions import Independent, Normal

from aekit.images.aggregate import KlParts, aggregate_parts, batch_parts


def _written_out(codes, weights: torch.Tensor) -> KlParts:
    """Return the parts by a loop over codes and posteriors, with torch's distributions."""
    rows = []
    spread = torch.exp(0.5 * codes.logvar)
    for number, z in enumerate(codes.z):
        each = Normal(codes.mean, spread).log_prob(z).exp()  # (N, L)
        joint = (weights[number] @ each.prod(1)).log()
        marginal = (weights[number] @ each).log()
        posterior = Independent(Normal(codes.mean[number], spread[number]), 1).log_prob(z)
        prior = Independent(Normal(torch.zeros(len(z)).double(), 1.0), 1).log_prob(z)
        rows.append((posterior - joint, joint - marginal.sum(), marginal.sum() - prior))
    return KlParts(*(torch.stack(part) for part in zip(*rows, strict=True)))


def _weights(n: int, n_images: int) -> torch.Tensor:
    weights = torch.full((n, n), (n_images - 1) / n_images / (n - 1), dtype=torch.float64)
    return weights.fill_diagonal_(1 / n_images)


@pytest.mark.parametrize("n_images", [12, 1000])
def test_the_parts_of_a_batch_are_those_written_out_with_their_gradients(n_images):
    codes = gaussian_codes(12, pairwise_correlation(3, 0.5))
    leaves = [value.clone().requires_grad_() for value in codes]
    found = batch_parts(leaves[2], leaves[0], leaves[1], n_images)
    others = [value.clone().requires_grad_() for value in codes]
    truth = _written_out(type(codes)(*others), _weights(12, n_images))
    for mine, true in zip(found, truth, strict=True):
        torch.testing.assert_close(mine, true)
        gradients = torch.autograd.grad(mine.mean(), leaves, retain_graph=True, materialize_grads=True)
        expected = torch.autograd.grad(true.mean(), others, retain_graph=True, materialize_grads=True)
        torch.testing.assert_close(gradients, expected)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_the_three_parts_add_up_to_the_log_ratio_of_posterior_and_prior(n):
    codes = gaussian_codes(n, pairwise_correlation(4, 0.3))
    posterior = Normal(codes.mean, torch.exp(0.5 * codes.logvar)).log_prob(codes.z).sum(1)
    ratio = posterior - Normal(0.0, 1.0).log_prob(codes.z).sum(1)
    torch.testing.assert_close(sum(batch_parts(codes.z, codes.mean, codes.logvar, 50)), ratio)
    parts = aggregate_parts(codes.z, codes.mean, codes.logvar).parts
    torch.testing.assert_close(sum(parts), ratio)


def test_a_batch_of_all_images_is_the_mixture_of_all_posteriors():
    codes = gaussian_codes(40, pairwise_correlation(3, 0.6))
    found = aggregate_parts(codes.z, codes.mean, codes.logvar)
    assert found.rows.tolist() == list(range(40))
    for mine, other in zip(found.parts, batch_parts(codes.z, codes.mean, codes.logvar, 40), strict=True):
        torch.testing.assert_close(mine, other)


def test_the_density_from_a_batch_has_no_bias():
    # Of q(z) itself, over batches that hold the image of z: the strata are what makes it so.
    codes = gaussian_codes(60, pairwise_correlation(2, 0.5))
    z, posterior = codes.z[:1], Normal(codes.mean, torch.exp(0.5 * codes.logvar))
    truth = posterior.log_prob(z).sum(1).exp().mean()
    source = torch.Generator().manual_seed(0)
    found = []
    for _ in range(800):
        rows = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(59, generator=source)[:7]])
        parts = batch_parts(*(value[rows] for value in (codes.z, codes.mean, codes.logvar)), 60)
        own = posterior.log_prob(z)[0].sum()
        found.append((own - parts.mi[0]).exp())
    found = torch.stack(found)
    assert abs(found.mean() - truth) < 4 * found.std() / math.sqrt(len(found))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_the_total_correlation_of_gaussian_codes_is_half_the_log_determinant(rho):
    correlation = pairwise_correlation(4, rho)
    codes = gaussian_codes(4000, correlation, noise=0.15)
    parts = aggregate_parts(*(value.float() for value in (codes.z, codes.mean, codes.logvar)), cost=1.6e7).parts
    truth = -0.5 * torch.logdet(correlation).item()
    error = parts.tc.std().item() / math.sqrt(len(parts.tc))
    assert parts.tc.mean().item() == pytest.approx(truth, abs=4 * error + 0.03)
    # What a code says of its image: the Gaussian channel from the means to the codes.
    information = 0.5 * torch.logdet(correlation / 0.15).item()
    spread = parts.mi.std().item() / math.sqrt(len(parts.mi))
    assert parts.mi.mean().item() == pytest.approx(information, abs=4 * spread + 0.05)


def test_of_many_images_evenly_spaced_codes_are_taken_and_their_number_is_told():
    codes = gaussian_codes(500, pairwise_correlation(2, 0.5))
    found = aggregate_parts(codes.z, codes.mean, codes.logvar, cost=20_000)
    assert (len(found.rows), found.n_images) == (20, 500)
    assert (found.rows[0], found.rows[-1]) == (0, 499)
    whole = aggregate_parts(codes.z, codes.mean, codes.logvar)
    torch.testing.assert_close(found.parts.tc, whole.parts.tc[found.rows])
