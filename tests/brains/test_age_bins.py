import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Categorical, kl_divergence

from aekit.brains.age_bins import N_AGE_BINS, AgeBins

# Train from 20 to 80 years, with a mean of 40 and an SD of 20.
LOWEST, HIGHEST = -1.0, 2.0


@pytest.fixture
def bins():
    return AgeBins(torch.tensor(LOWEST), torch.tensor(HIGHEST)).double()


def test_bins_are_equal_and_reach_beyond_the_ages_of_train(bins):
    centres, width = bins.centres.numpy(), float(bins.width)
    np.testing.assert_allclose(np.diff(centres), width, rtol=1e-5)
    assert len(centres) == N_AGE_BINS
    ends = centres[0] - width / 2, centres[-1] + width / 2
    np.testing.assert_allclose(ends, (LOWEST - 0.2 * 3, HIGHEST + 0.2 * 3), rtol=1e-5)


@pytest.mark.parametrize("place", ["youngest", "middle of a bin", "edge of a bin", "between", "oldest"])
def test_labels_sum_to_one_with_the_age_as_mean_and_an_sd_of_one_bin(bins, place):
    width = float(bins.width)
    z = {
        "youngest": LOWEST,
        "middle of a bin": float(bins.centres[17]),
        "edge of a bin": float(bins.centres[17]) + width / 2,
        "between": float(bins.centres[17]) + width / 3,
        "oldest": HIGHEST,
    }[place]
    (label,) = bins.labels(torch.tensor([z], dtype=torch.float64)).numpy()
    centres = bins.centres.numpy()
    assert label.sum() == pytest.approx(1, abs=1e-12)
    assert label @ centres == pytest.approx(z, abs=1e-5 * width)
    # A normal distribution in bins has the variance of the bin besides (Sheppard's correction).
    assert label @ (centres - z) ** 2 == pytest.approx(width**2 * (1 + 1 / 12), rel=1e-3)


def test_a_label_is_a_normal_distribution_integrated_over_each_bin(bins):
    z, width, centres = 0.37, float(bins.width), bins.centres.numpy()
    (label,) = bins.labels(torch.tensor([z], dtype=torch.float64)).numpy()
    expected = stats.norm.cdf(centres + width / 2, z, width) - stats.norm.cdf(centres - width / 2, z, width)
    np.testing.assert_allclose(label, expected, atol=1e-6)


def test_the_label_of_an_age_in_the_margin_has_it_as_mean_and_one_beyond_is_that_of_the_last(bins):
    lowest, highest = (float(one) for one in bins.labelled)
    assert lowest < LOWEST
    assert highest > HIGHEST
    z = torch.tensor([lowest, highest, lowest - 1, highest + 50], dtype=torch.float64)
    labels = bins.labels(z)
    np.testing.assert_allclose(labels.sum(1), 1)
    np.testing.assert_allclose(
        labels @ bins.centres, [lowest, highest, lowest, highest], atol=0.005 * float(bins.width)
    )
    assert torch.equal(labels[:2], labels[2:])


@pytest.mark.slow
def test_the_expectation_of_many_labels_is_unbiased(bins):
    z = torch.linspace(LOWEST, HIGHEST, 997, dtype=torch.float64)
    found = bins.expectation(bins.labels(z).clamp_min(1e-300).log())
    torch.testing.assert_close(found, z, rtol=0, atol=1e-5)


def test_the_loss_is_the_divergence_of_the_outputs_and_zero_at_the_label(bins):
    z = torch.linspace(LOWEST, HIGHEST, 9, dtype=torch.float64)
    labels = bins.labels(z)
    assert float(bins.loss(labels.clamp_min(1e-300).log() + 3.0, z)) == pytest.approx(0, abs=1e-9)
    outputs = torch.randn(9, N_AGE_BINS, generator=torch.Generator().manual_seed(0)).double()
    expected = kl_divergence(Categorical(labels), Categorical(logits=outputs)).mean()
    assert float(bins.loss(outputs, z)) == pytest.approx(float(expected), rel=1e-6)
    assert float(bins.loss(outputs, z)) > 1


def test_the_gradient_of_the_loss_is_the_difference_of_the_distributions(bins):
    z = torch.tensor([0.2, 1.1], dtype=torch.float64)
    outputs = torch.randn(2, N_AGE_BINS, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    bins.loss(outputs, z).backward()
    expected = (torch.softmax(outputs, 1) - bins.labels(z)) / 2
    torch.testing.assert_close(outputs.grad, expected.detach())


def test_the_gradient_of_the_expectation_is_the_covariance_with_the_centres(bins):
    outputs = torch.randn(2, N_AGE_BINS, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    expectation = bins.expectation(outputs)
    expectation.sum().backward()
    expected = torch.softmax(outputs, 1) * (bins.centres - expectation[:, None])
    torch.testing.assert_close(outputs.grad, expected.detach())


def test_outputs_that_are_linear_in_a_prediction_have_it_as_expectation(bins):
    weight, bias = torch.tensor([[0.5, -0.25]]).double(), torch.tensor([0.3]).double()
    features = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)).double()
    prediction = (features @ weight.T + bias)[:, 0]
    inside = (prediction > LOWEST + 0.1) & (prediction < HIGHEST - 0.1)
    slope, offset = bins.outputs_of(weight, bias, torch.tensor(0.15).double())
    outputs = features @ slope.T + offset
    torch.testing.assert_close(bins.expectation(outputs)[inside], prediction[inside], rtol=0, atol=2e-3)
    assert int(inside.sum()) > 30
    spread = (torch.softmax(outputs, 1) * (bins.centres - prediction[:, None]) ** 2).sum(1).sqrt()
    torch.testing.assert_close(spread[inside], torch.full_like(spread[inside], 0.15), rtol=0.02, atol=0)


def test_a_prediction_without_errors_is_as_wide_as_a_bin(bins):
    slope, offset = bins.outputs_of(torch.zeros(1, 1).double(), torch.tensor([0.4]).double(), torch.tensor(0.0))
    assert float(bins.expectation(offset[None])) == pytest.approx(0.4, abs=1e-6)
    assert not slope.any()
    spread = (torch.softmax(offset, 0) * (bins.centres - 0.4) ** 2).sum().sqrt()
    assert float(spread) == pytest.approx(float(bins.width), rel=1e-3)


def test_labels_of_months_are_those_of_decades_on_another_scale():
    months, decades = AgeBins(torch.tensor(0.0), torch.tensor(0.01)), AgeBins(torch.tensor(0.0), torch.tensor(10.0))
    torch.testing.assert_close(
        months.labels(torch.tensor([0.0, 0.0042])), decades.labels(torch.tensor([0.0, 4.2])), rtol=1e-3, atol=1e-5
    )
