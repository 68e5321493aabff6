"""The bias of the total correlation from batches, on a network whose codes are known."""

from __future__ import annotations

import pytest
import torch
from gaussian_codes import objective_of
from small_run import CPU, small_images, small_run

from aekit.images.aggregate import batch_parts
from aekit.images.batch_bias import batch_bias, total_correlation
from aekit.images.data.batches import ImageLoader


def test_batches_of_all_images_have_no_bias_and_smaller_ones_that_of_their_parts():
    run = small_run(objective="beta-tc")
    with torch.no_grad():  # codes that are far apart
        run.model.mean_head.weight.mul_(8)
        run.model.logvar_head.bias.sub_(3)
    images = ImageLoader(small_images(60), CPU)
    whole = batch_bias(run.model, run.objective, images, batch_size=60, seed=0)
    assert whole.bias == pytest.approx(0, abs=1e-4)
    small = batch_bias(run.model, run.objective, images, batch_size=10, seed=0)
    assert (small.batch_size, small.images, small.codes) == (10, 60, 60)
    assert small.all == pytest.approx(whole.all, abs=1e-4)
    # Written out: the same codes and the same order.
    mean, logvar = run.model.posterior(images.take(torch.arange(60)))
    z = mean + torch.exp(0.5 * logvar) * torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    parts = [batch_parts(z[rows], mean[rows], logvar[rows], 60).tc for rows in order.split(10)]
    assert small.batch == pytest.approx(torch.cat(parts).mean().item(), abs=1e-4)
    assert small.bias == pytest.approx(small.batch - small.all)
    assert small.bias < -0.05
    assert "from batches of 10 as in training: a bias of -" in small.in_words(is_learned=False)


def test_an_objective_without_a_total_correlation_has_none():
    run = small_run()
    assert batch_bias(run.model, run.objective, ImageLoader(small_images(9), CPU), batch_size=3, seed=0) is None


def test_a_set_that_is_smaller_than_a_batch_is_one_batch():
    objective = objective_of(2, objective="beta-tc")
    run = small_run(objective="beta-tc")
    found = batch_bias(run.model, objective, ImageLoader(small_images(5), CPU), batch_size=100, seed=0)
    assert (found.batch_size, found.codes, found.images) == (5, 5, 5)


def test_the_total_correlation_of_any_objective_is_that_of_all_pairs_written_out():
    run = small_run()
    with torch.no_grad():  # codes that are far apart
        run.model.mean_head.weight.mul_(8)
        run.model.logvar_head.bias.sub_(3)
    images = ImageLoader(small_images(60), CPU)
    found = total_correlation(run.model, images, seed=0)
    mean, logvar = run.model.posterior(images.take(torch.arange(60)))
    std = torch.exp(0.5 * logvar)
    z = mean + std * torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    each = torch.distributions.Normal(mean, std).log_prob(z[:, None])  # (codes, images, dimensions)
    joint, marginal = each.sum(2).logsumexp(1), each.logsumexp(1)
    expected = (joint - marginal.sum(1)).mean() + torch.tensor(60.0).log()
    assert found["all"] == pytest.approx(expected.item(), abs=1e-4)
    assert (found["images"], found["codes"]) == (60, 60)
    assert abs(found["all"]) > 0.05


def test_two_layers_of_latent_variables_have_no_total_correlation_of_their_own():
    assert (
        total_correlation(small_run(network={"stochastic_layers": 2}).model, ImageLoader(small_images(9), CPU), seed=0)
        is None
    )


@pytest.mark.parametrize("factor", [1e12, 1e25])
def test_a_network_that_diverged_has_no_total_correlation_that_is_not_finite(factor):
    run = small_run()
    images = ImageLoader(small_images(9), CPU)
    assert total_correlation(run.model, images, seed=0) is not None
    with torch.no_grad():
        run.model.logvar_head.weight.mul_(-factor)
    assert total_correlation(run.model, images, seed=0) is None
