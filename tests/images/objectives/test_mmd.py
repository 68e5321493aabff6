"""The maximum mean discrepancy of InfoVAE, against draws and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from gaussian_codes import objective_of

from aekit.images.objectives.mmd import squared_mmd


@pytest.mark.parametrize("n_dims", [1, 2, 10])
def test_it_is_zero_in_expectation_for_codes_of_the_prior(n_dims):
    source = torch.Generator().manual_seed(0)
    found = torch.stack([squared_mmd(torch.randn(16, n_dims, generator=source)) for _ in range(2000)])
    assert abs(found.mean().item()) < 3.5 * found.std().item() / math.sqrt(2000)
    assert found.min() < 0 < found.max()


def test_its_expectations_over_the_prior_are_those_of_draws():
    source = torch.Generator().manual_seed(1)
    z = torch.tensor([[0.5, -1.0], [2.0, 0.3], [0.0, 1.5]], dtype=torch.float64)

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.exp(-(a - b).square().sum(-1) / 4)

    draws, others = (torch.randn(400_000, 2, generator=source, dtype=torch.float64) for _ in range(2))
    pairs = sum(kernel(z[i], z[j]) for i in range(3) for j in range(3) if i != j) / 6
    truth = pairs - 2 * torch.stack([kernel(row, draws).mean() for row in z]).mean() + kernel(draws, others).mean()
    assert squared_mmd(z).item() == pytest.approx(truth.item(), abs=3e-3)


def test_two_codes_of_one_dimension_by_hand():
    z = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    truth = math.exp(-2) - 2 * math.sqrt(1 / 2) * math.exp(-1 / 4) + math.sqrt(1 / 3)
    assert squared_mmd(z).item() == pytest.approx(truth)


def test_codes_that_are_elsewhere_or_all_the_same_are_told_from_the_prior():
    z = torch.randn(500, 4, generator=torch.Generator().manual_seed(2))
    near = squared_mmd(z)
    assert squared_mmd(z + 1) > squared_mmd(z + 0.5) > 20 * near.abs()
    assert squared_mmd(0 * z) > 0.05
    assert squared_mmd(z[:1]) == 0


def test_its_gradient_is_that_of_finite_differences():
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(squared_mmd, z)


def test_it_is_minimised_with_the_reconstruction_and_the_divergence_is_not():
    objective = objective_of(objective="mmd", beta=100.0)
    assert objective.total({"reconstruction": 50.0, "kl": 9.0, "mmd": 0.25, "mse": 0.1}) == 75.0
