"""The second stage: its log density is a bound, nearly tight where the truth is known; its draws are like the codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.stats import multivariate_normal

from aekit.images.second_stage import CodeNetwork, SecondStage, fit_second_stage

MEAN, COVARIANCE = np.array([3.0, -1.0]), np.array([[4.0, 1.5], [1.5, 1.0]])


def _draw(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal(MEAN, COVARIANCE, n)


@pytest.mark.slow
def test_of_gaussian_codes_the_density_is_a_bound_that_is_nearly_tight_and_samples_have_the_moments():
    stage = fit_second_stage(_draw(20_000, 0), seed=0)
    held_out = _draw(4000, 1)
    truth = multivariate_normal(MEAN, COVARIANCE).logpdf(held_out)
    bound = stage.log_density(held_out)
    assert truth.mean() - 0.03 < bound.mean() < truth.mean() + 0.003
    drawn = stage.draw(50_000, 0)
    assert drawn.mean(axis=0) == pytest.approx(MEAN, abs=0.1)
    assert np.cov(drawn.T) == pytest.approx(COVARIANCE, abs=0.25)


@pytest.mark.slow
def test_codes_on_a_ring_are_described_better_than_by_a_gaussian_and_the_same_on_any_threads(monkeypatch):
    monkeypatch.setattr("aekit.images.second_stage.STEPS", 1000)
    generator = np.random.default_rng(0)
    angle = generator.uniform(0, 2 * np.pi, 5000)
    codes = 3 * np.stack([np.cos(angle), np.sin(angle)], 1) + generator.normal(0, 0.2, (5000, 2))
    train, held_out = codes[:4000], codes[4000:]
    found = []
    before = torch.get_num_threads()
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        found.append(fit_second_stage(train, seed=3))
        assert torch.get_num_threads() == n_threads
    torch.set_num_threads(before)
    assert found[0].arrays().keys() == found[1].arrays().keys()
    for name, values in found[0].arrays().items():
        assert (values == found[1].arrays()[name]).all(), name
    gaussian = multivariate_normal(train.mean(0), np.cov(train.T)).logpdf(held_out).mean()
    assert found[0].log_density(held_out).mean() > gaussian + 0.5
    assert np.linalg.norm(found[0].draw(2000, 0), axis=1).mean() == pytest.approx(3, abs=0.2)


def test_the_density_is_the_one_of_the_network():
    """With one dimension p(z) is an integral that can be computed."""
    network = CodeNetwork(1, torch.Generator().manual_seed(0)).requires_grad_(False)
    stage = SecondStage(network, np.array([2.0]), np.array([3.0]), 0)

    def density(z: float) -> float:
        u = torch.linspace(-8, 8, 4001)[:, None]
        p = torch.exp(-network.loss(torch.full_like(u, (z - 2) / 3), u) - 0.5 * u[:, 0] ** 2) / np.sqrt(2 * np.pi)
        return float(integrate.simpson(p.double().numpy(), x=u[:, 0].double().numpy())) / 3

    codes = np.array([[-1.0], [2.0], [4.0]])
    expected = np.log([density(z) for z in codes[:, 0]])
    estimates = np.mean([np.exp(stage.log_density(np.repeat(codes, 400, axis=0)))], axis=0).reshape(3, 400).mean(axis=1)
    assert np.log(estimates) == pytest.approx(expected, abs=0.02)


def test_a_dimension_that_does_not_vary_breaks_nothing(monkeypatch):
    monkeypatch.setattr("aekit.images.second_stage.STEPS", 20)
    codes = np.random.default_rng(0).normal(size=(30, 3)) * [1, 0, 1] + [0, 7, 0]
    stage = fit_second_stage(codes, seed=0)
    assert np.isfinite(stage.log_density(codes)).all()
    assert np.isfinite(stage.draw(10, 0)).all()
