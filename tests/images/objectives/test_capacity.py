"""A KL divergence held at a capacity, and free bits, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussian_codes import objective_of

from aekit.images.objectives.base import Codes
from aekit.images.objectives.capacity import CapacityObjective, FreeBitsObjective

# Means of 1 and 3 with the variance of the prior: KL divergences of 0.5 and 4.5 nats.
CODES = Codes(torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.zeros(2, 2), torch.zeros(2, 2))


def test_the_distance_of_the_mean_divergence_from_the_capacity_is_minimised():
    objective = objective_of(2, capacity=4.0, beta=10.0)
    assert type(objective) is CapacityObjective
    assert objective.batch_terms(CODES, 2)["kl"].tolist() == [0.5, 4.5]
    assert objective.total({"reconstruction": 50.0, "kl": 2.5, "mse": 0.1}) == 50 + 10 * 1.5
    assert objective.total({"reconstruction": 50.0, "kl": 5.0, "mse": 0.1}) == 50 + 10 * 1.0


@pytest.mark.parametrize(("options", "capacities"), [({}, [0, 2, 4]), ({"capacity_warmup": 5.0}, [0, 4, 4])])
def test_the_capacity_rises_linearly(options, capacities):
    objective = objective_of(2, capacity=4.0, epochs=10, **options)
    assert [objective.weights(done)["capacity"] for done in (0.0, 5.0, 10.0)] == capacities
    assert objective_of(2, capacity=4.0, capacity_warmup=0.0).weights(0.0)["capacity"] == 4.0


def test_below_the_capacity_the_divergence_is_raised_and_above_it_lowered():
    objective = objective_of(2, capacity=4.0, beta=10.0)
    for shift, sign in ((1.0, -1), (2.0, 1)):
        mean = (CODES.mean * shift).requires_grad_()
        kl = objective.batch_terms(CODES._replace(mean=mean), 2)["kl"].mean()
        (gradient,) = torch.autograd.grad(objective.combine({"kl": kl}, objective.weights(10)), mean)
        torch.testing.assert_close(gradient, sign * 10 * mean.detach() / 2)


def test_the_totals_of_images_have_the_total_as_their_mean():
    objective = objective_of(2, capacity=4.0, beta=10.0)
    terms = {"reconstruction": np.array([40.0, 60.0]), "kl": np.array([0.5, 4.5])}
    assert objective.total_of_images(terms).tolist() == [40 + 35, 60 - 5]
    assert objective.total_of_images(terms).mean() == objective.total({"reconstruction": 50.0, "kl": 2.5})


def test_a_dimension_costs_what_it_has_over_its_free_bits_and_these_in_any_case():
    objective = objective_of(2, free_bits=1.0, beta=2.0)
    assert type(objective) is FreeBitsObjective
    assert objective.batch_terms(CODES, 2)["kl_free"] == 2.5 + 1.0
    assert objective.total({"reconstruction": 50.0, "kl": 2.5, "kl_free": 3.5, "mse": 0.1}) == 57.0


def test_free_bits_have_no_gradient():
    mean = CODES.mean.clone().requires_grad_()
    for free, scale in ((2.0, 0.5), (3.0, 0.0)):  # the mean of dimension 0 is 2.5 nats
        term = objective_of(2, free_bits=free).batch_terms(CODES._replace(mean=mean), 2)["kl_free"]
        (gradient,) = torch.autograd.grad(term, mean)
        torch.testing.assert_close(gradient, scale * mean.detach())
