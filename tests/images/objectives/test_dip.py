"""The covariance penalty of the DIP-VAE, against NumPy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussian_codes import objective_of

from aekit.images.objectives.base import Codes


def _codes(n: int = 20, n_dims: int = 3) -> Codes:
    source = torch.Generator().manual_seed(0)
    mean, logvar, z = (torch.randn(n, n_dims, generator=source, dtype=torch.float64) for _ in range(3))
    return Codes(mean, logvar, z)


@pytest.mark.parametrize(("name", "diagonal"), [("dip-i", 10.0), ("dip-ii", 1.0)])
def test_the_penalty_is_that_of_numpy(name, diagonal):
    codes = _codes()
    covariance = np.cov(codes.mean.numpy(), rowvar=False, bias=True)
    if name == "dip-ii":
        covariance += np.diag(np.exp(codes.logvar.numpy()).mean(0))
    own = np.diag(covariance)
    truth = (covariance**2).sum() - (own**2).sum() + diagonal * ((own - 1) ** 2).sum()
    assert objective_of(objective=name).batch_terms(codes, 99)["dip"].item() == pytest.approx(truth)


def test_white_codes_cost_nothing():
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    codes = Codes(corners, torch.full((4, 2), -torch.inf), corners)
    assert objective_of(2, objective="dip-i").batch_terms(codes, 4)["dip"] == 0
    half = Codes(0.5**0.5 * corners, torch.full((4, 2), 0.5).log(), corners)
    assert objective_of(2, objective="dip-ii").batch_terms(half, 4)["dip"].item() == pytest.approx(0, abs=1e-12)


def test_two_codes_by_hand():
    mean = torch.tensor([[1.0, 2.0], [-1.0, -2.0]])  # covariance [[1, 2], [2, 4]]
    codes = Codes(mean, torch.zeros(2, 2), mean)
    assert objective_of(2, objective="dip-i").batch_terms(codes, 2)["dip"] == 2 * 2**2 + 10 * 3**2
    assert objective_of(2, objective="dip-ii").batch_terms(codes, 2)["dip"] == 2 * 2**2 + 1**2 + 4**2  # + 1 each


def test_beta_weighs_the_penalty_and_the_divergence_stays():
    objective = objective_of(objective="dip-i", beta=4.0)
    assert objective.total({"reconstruction": 50.0, "kl": 9.0, "dip": 2.0, "mse": 0.1}) == 50 + 9 + 4 * 2


def test_one_dimension_has_a_variance_and_one_image_none():
    codes = _codes(20, 1)
    variance = codes.mean.var(unbiased=False).item()
    assert objective_of(1, objective="dip-i").batch_terms(codes, 20)["dip"].item() == pytest.approx(
        10 * (variance - 1) ** 2
    )
    assert objective_of(3, objective="dip-i").batch_terms(_codes(1), 20)["dip"].item() == 10 * 3
