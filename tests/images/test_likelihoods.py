"""The losses agree with torch.distributions, and their gradients stay finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Bernoulli, ContinuousBernoulli, Normal, kl_divergence

from aekit.images import densities
from aekit.images import likelihoods as losses

LOGITS = torch.tensor([-60.0, -12.0, -3.0, -0.3, -0.101, -0.099, -1e-3, -1e-7, 0.0, 1e-5, 0.05, 0.2, 1.0, 7.0, 30.0])


def _images(n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, 4, 5, generator=generator) * 3, torch.rand(n, 3, 4, 5, generator=generator)


def _per_image(log_prob: torch.Tensor) -> torch.Tensor:
    return -log_prob.flatten(1).sum(1)


def test_kl_divergence_is_that_of_torch():
    mean, scale = torch.randn(7, 4), torch.rand(7, 4) + 0.1
    truth = kl_divergence(Normal(mean, scale), Normal(torch.zeros(7, 4), torch.ones(7, 4)))
    torch.testing.assert_close(densities.kl_per_dimension(mean, 2 * scale.log()), truth)
    torch.testing.assert_close(densities.kl_divergence(mean, 2 * scale.log()), truth.sum(1))


def test_kl_divergence_is_never_negative_and_zero_at_the_prior():
    assert densities.kl_divergence(torch.zeros(1, 3), torch.zeros(1, 3)).item() == 0
    assert bool((densities.kl_divergence(torch.randn(100, 3), torch.randn(100, 3)) >= 0).all())


def test_bernoulli_is_the_log_probability_of_binary_images():
    logits, x = _images()
    truth = _per_image(Bernoulli(logits=logits).log_prob(x.round()))
    torch.testing.assert_close(losses.reconstruction_loss(logits, x.round(), "bernoulli"), truth)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 28, 28), (3, 7, 5), (3, 32, 32), (1, 64, 64), (2, 9, 128)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_bernoulli_is_exact_for_rows_of_several_images_of_any_size(shape, channels_last):
    logits, x = 4 * torch.randn(3 * 40, *shape, dtype=torch.float64), torch.rand(3, *shape)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    truth = _per_image(Bernoulli(logits=logits, validate_args=False).log_prob(x.double().repeat_interleave(40, 0)))
    ours = logits.float().to(memory_format=layout).requires_grad_()
    values = losses.reconstruction_loss(ours, x.to(memory_format=layout), "bernoulli")
    torch.testing.assert_close(values.double(), truth, rtol=1e-6, atol=1e-6)
    weights = torch.randn(120)
    values.backward(weights)
    slopes = (torch.sigmoid(logits) - x.repeat_interleave(40, 0)) * weights.view(-1, 1, 1, 1)
    torch.testing.assert_close(ours.grad.double(), slopes, rtol=1e-5, atol=1e-6)


def test_bernoulli_of_bf16_logits_is_computed_in_fp32():
    logits, x = _images()
    rounded = logits.bfloat16().requires_grad_()
    values = losses.reconstruction_loss(rounded, x, "bernoulli")
    torch.testing.assert_close(values, losses.reconstruction_loss(rounded.float(), x, "bernoulli"), rtol=0, atol=0)
    values.sum().backward()
    assert rounded.grad.dtype == torch.bfloat16
    slopes = torch.sigmoid(rounded.detach().float()) - x
    torch.testing.assert_close(rounded.grad, slopes.bfloat16(), rtol=0, atol=0)


def test_bernoulli_of_impossible_pixels_is_as_large_as_their_logits():
    logits = torch.tensor([-1e4, 1e4, -88.0, 120.0]).view(4, 1, 1, 1)
    x = torch.tensor([1.0, 0.0, 1.0, 1.0]).view(4, 1, 1, 1)
    torch.testing.assert_close(losses.reconstruction_loss(logits, x, "bernoulli"), torch.tensor([1e4, 1e4, 88.0, 0.0]))


def test_bernoulli_of_no_image_is_empty():
    logits = torch.zeros(0, 1, 4, 4, requires_grad=True)
    values = losses.reconstruction_loss(logits, torch.zeros(0, 1, 4, 4), "bernoulli")
    assert values.shape == (0,)
    assert torch.autograd.grad(values.sum(), logits)[0].shape == logits.shape


def test_bernoulli_of_grey_images_is_the_expectation_over_binary_ones():
    logits, x = _images()
    bernoulli = Bernoulli(logits=logits)
    truth = _per_image(x * bernoulli.log_prob(torch.ones_like(x)) + (1 - x) * bernoulli.log_prob(torch.zeros_like(x)))
    torch.testing.assert_close(losses.reconstruction_loss(logits, x, "bernoulli"), truth)


def test_gaussian_is_the_log_density_of_torch():
    logits, x = _images()
    log_sigma = torch.tensor(-1.3)
    truth = _per_image(Normal(torch.sigmoid(logits), log_sigma.exp()).log_prob(x))
    torch.testing.assert_close(losses.reconstruction_loss(logits, x, "gaussian", log_sigma), truth)


@pytest.mark.parametrize("log_scale", [-9.0, -4.0, -2.0, 0.0])
def test_probabilities_of_the_256_values_of_a_discretised_logistic_add_up_to_one(log_scale):
    means = torch.tensor([0.0, 1e-4, 0.3, 0.5, 0.999, 1.0], dtype=torch.float64)
    values = torch.arange(256, dtype=torch.float64) / 255
    log_p = losses.discretised_logistic(
        means[:, None].expand(-1, 256), values.expand(6, -1), torch.tensor(log_scale, dtype=torch.float64)
    )
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(6, dtype=torch.float64), rtol=1e-9, atol=0)


def test_a_discretised_logistic_is_the_difference_of_scipys_distribution_function():
    mean, scale = 0.37, 0.05
    values = np.arange(256) / 255
    edges = stats.logistic.cdf(np.concatenate([[-np.inf], (values[:-1] + values[1:]) / 2, [np.inf]]), mean, scale)
    found = losses.discretised_logistic(
        torch.full((256,), mean, dtype=torch.float64),
        torch.from_numpy(values),
        torch.tensor(np.log(scale), dtype=torch.float64),
    )
    np.testing.assert_allclose(found.exp().numpy(), np.diff(edges), rtol=1e-8)


def test_a_discretised_logistic_has_finite_gradients_far_from_its_mean():
    logits = torch.tensor([[[[-30.0, 30.0, 0.0, 5.0]]]], requires_grad=True)
    x = torch.tensor([[[[1.0, 0.0, 128 / 255, 3 / 255]]]])
    log_scale = torch.tensor(-9.0, requires_grad=True)
    losses.reconstruction_loss(logits, x, "logistic", log_scale).sum().backward()
    assert logits.grad.isfinite().all()
    assert log_scale.grad.isfinite()


def test_gaussian_noise_is_never_narrower_than_a_step_of_eight_bits():
    logits, x = _images()
    narrow, bound = (
        losses.reconstruction_loss(logits, x, "gaussian", torch.tensor(s)) for s in (-50.0, -math.log(255))
    )
    torch.testing.assert_close(narrow, bound)


def test_gaussian_without_a_noise_is_a_broken_promise():
    logits, x = _images()
    with pytest.raises(ValueError, match="log_sigma"):
        losses.reconstruction_loss(logits, x, "gaussian")


def test_continuous_bernoulli_is_the_log_density_of_torch():
    logits, x = _images()
    truth = _per_image(ContinuousBernoulli(logits=logits.double()).log_prob(x.double()))
    torch.testing.assert_close(losses.reconstruction_loss(logits, x, "continuous-bernoulli"), truth.float())


@pytest.mark.parametrize("logit", LOGITS.tolist())
def test_continuous_bernoulli_normaliser_holds_for_logits_of_any_size(logit):
    # torch's own series near a probability of one half is good to about 1e-6, and its probabilities stop at 1 - 1e-16.
    t = torch.tensor([logit], dtype=torch.float64)
    truth = ContinuousBernoulli(logits=t.clamp(-30, 30))._cont_bern_log_norm()
    if abs(logit) > 30:
        truth = torch.tensor([math.log(abs(logit))], dtype=torch.float64)
    torch.testing.assert_close(
        losses.continuous_bernoulli_log_normaliser(t.float()).double(), truth, atol=3e-6, rtol=1e-5
    )


def test_continuous_bernoulli_mean_is_that_of_torch():
    moderate = LOGITS[LOGITS.abs() < 10].double()
    truth = ContinuousBernoulli(logits=moderate).mean
    torch.testing.assert_close(losses.pixel_mean(moderate, "continuous-bernoulli"), truth, atol=3e-6, rtol=1e-5)


@pytest.mark.parametrize("loss", ["bernoulli", "gaussian", "mse"])
def test_pixel_mean_is_the_sigmoid_for_every_other_loss(loss):
    torch.testing.assert_close(losses.pixel_mean(LOGITS, loss), torch.sigmoid(LOGITS))


def test_pixel_means_lie_between_black_and_white():
    for loss in ("bernoulli", "continuous-bernoulli"):
        mean = losses.pixel_mean(torch.tensor([-1e4, -200.0, 200.0, 1e4]), loss)
        assert bool(((mean >= 0) & (mean <= 1)).all())


@pytest.mark.parametrize("loss", ["bernoulli", "continuous-bernoulli", "gaussian", "mse"])
def test_gradients_are_finite_for_logits_of_any_size(loss):
    logits = LOGITS.reshape(1, 1, 3, 5).clone().requires_grad_()
    x = torch.rand(1, 1, 3, 5, generator=torch.Generator().manual_seed(0))
    losses.reconstruction_loss(logits, x, loss, torch.tensor(-2.0)).sum().backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


def test_continuous_bernoulli_gradient_is_that_of_finite_differences():
    logits = LOGITS[LOGITS.abs() < 20].double().requires_grad_()
    assert torch.autograd.gradcheck(losses.continuous_bernoulli_log_normaliser, (logits,), eps=1e-6, atol=1e-5)


def test_mse_is_a_mean_over_pixels_and_channels():
    logits, x = _images()
    truth = torch.stack([torch.nn.functional.mse_loss(torch.sigmoid(a), b) for a, b in zip(logits, x, strict=True)])
    torch.testing.assert_close(losses.reconstruction_loss(logits, x, "mse"), truth)
