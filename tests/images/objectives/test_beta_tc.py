"""The beta-TC-VAE: what it minimises, and the bias of its estimate."""

from __future__ import annotations

import pytest
import torch
from gaussian_codes import gaussian_codes, objective_of, pairwise_correlation


def test_it_minimises_the_three_parts_with_beta_on_the_total_correlation():
    objective = objective_of(objective="beta-tc", beta=6.0)
    means = {"reconstruction": 50.0, "kl": 9.0, "mi": 5.0, "tc": 1.5, "dimension_kl": 2.0, "mse": 0.1}
    assert objective.total(means) == 50 + 5 + 6 * 1.5 + 2


def test_beta_warms_up_on_the_total_correlation_alone():
    objective = objective_of(objective="beta-tc", beta=6.0, beta_warmup=2.0)
    assert objective.weights(1.0) == {"reconstruction": 1.0, "mi": 1.0, "tc": 3.0, "dimension_kl": 1.0}


def test_without_a_total_correlation_batches_estimate_too_little_and_all_images_none():
    objective = objective_of(4, objective="beta-tc")
    codes = gaussian_codes(1000, pairwise_correlation(4, 0.0), noise=0.3)
    of_all = objective.batch_terms(codes, 1000)["tc"]
    batches = [
        objective.batch_terms(type(codes)(*(value[rows] for value in codes)), 1000)["tc"]
        for rows in torch.arange(1000).split(50)
    ]
    assert abs(of_all.mean().item()) < 0.1
    assert torch.cat(batches).mean().item() < of_all.mean().item() - 0.1


def test_a_batch_of_one_image_has_finite_terms_that_stand_for_it():
    codes = gaussian_codes(1, pairwise_correlation(3, 0.0))
    terms = objective_of(objective="beta-tc").batch_terms(codes, 100)
    assert terms["mi"].item() == pytest.approx(0, abs=1e-9)
    assert terms["tc"].item() == pytest.approx(0, abs=1e-9)
