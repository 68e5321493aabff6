"""The discriminator of the Factor-VAE: what it estimates, and that it continues where it was."""

from __future__ import annotations

import pytest
import torch
from gaussian_codes import gaussian_codes, objective_of, pairwise_correlation

from aekit.images.objectives.base import Codes
from aekit.images.objectives.factor import build_discriminator, mixed


def _taught(objective, correlation, n_steps: int, size: int = 100):
    source = torch.Generator().manual_seed(3)
    for step in range(n_steps):
        codes = gaussian_codes(size, correlation, noise=0.1, seed=step + 1)
        objective.learn(Codes(*(value.float() for value in codes)), source)
    return objective


def _estimate(objective, correlation) -> float:
    codes = gaussian_codes(4000, correlation, noise=0.1, seed=0)
    with torch.no_grad():
        return objective.batch_terms(Codes(*(value.float() for value in codes)), 4000)["tc"].mean().item()


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_the_discriminator_learns_the_total_correlation_of_gaussian_codes(rho):
    correlation = pairwise_correlation(2, rho)
    objective = _taught(objective_of(2, objective="factor"), correlation, 1000)
    truth = -0.5 * torch.logdet(correlation).item()  # 0 and 0.51 nats
    assert _estimate(objective, correlation) == pytest.approx(truth, abs=0.1)


@pytest.mark.parametrize(("n", "n_dims"), [(50, 7), (2, 3), (5, 12)])
def test_codes_are_mixed_within_their_dimensions(n, n_dims):
    rows = torch.arange(n, dtype=torch.float32)[:, None].expand(n, n_dims)
    found = mixed(rows, torch.Generator().manual_seed(0))
    assert torch.equal(found.sort(0).values, rows)  # each dimension has the values that it had
    for row in found:  # and of no two dimensions from the same image, as long as there are enough images
        for start in range(0, n_dims, n):
            block = row[start : start + n]
            assert len(block.unique()) == len(block)


def test_its_weights_depend_on_the_seed_alone_and_leave_the_generator_of_torch():
    before = torch.get_rng_state()
    one, same, other = (build_discriminator(3, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one[0].weight, other[0].weight)


def test_what_it_has_learned_goes_through_its_state_to_the_last_bit():
    correlation = pairwise_correlation(3, 0.5)
    whole = _taught(objective_of(objective="factor"), correlation, 4, size=9)
    first = _taught(objective_of(objective="factor"), correlation, 4, size=9)
    continued = objective_of(objective="factor")
    continued.load_state({name: value.clone() for name, value in first.state().items()})
    for objective in (whole, continued):
        _taught(objective, correlation, 3, size=9)
    assert whole.state().keys() == continued.state().keys()
    assert all(torch.equal(value, continued.state()[name]) for name, value in whole.state().items())


def test_a_batch_that_has_no_two_halves_to_mix_teaches_it_nothing():
    objective = objective_of(objective="factor")
    before = {name: value.clone() for name, value in objective.state().items()}
    _taught(objective, pairwise_correlation(3, 0.0), 1, size=2)
    assert all(torch.equal(value, before[name]) for name, value in objective.state().items())
