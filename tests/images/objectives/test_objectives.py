"""Every objective in training: its names, and the same bytes for threads, interruptions and kept epochs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussian_codes import gaussian_codes, objective_of, pairwise_correlation
from small_run import CPU, small_images, small_run

from aekit.images.config import LEAST_BATCH, ModelConfig, RunConfig, TrainConfig
from aekit.images.data.batches import ImageLoader
from aekit.images.models import build_model
from aekit.images.objectives import OBJECTIVES, build_objective
from aekit.images.objectives.base import Objective
from aekit.images.run_building import build_team
from aekit.images.steps import FixedStep, train_step
from aekit.images.term_names import USUAL, own_terms
from aekit.images.training import State, fit

OF_BATCHES = [
    *({"objective": name, "beta": 3.0} for name in LEAST_BATCH),
    {"capacity": 3.0, "beta": 5.0},
    {"free_bits": 0.2},
]
ALL = [{}, {"objective": "iwae", "samples": 3}, {"objective": "iwae", "samples": 1}, *OF_BATCHES]


def _trained(options: dict[str, object], threads: int) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    run = small_run(n=45, epochs=2, batch_size=22, lr=1e-2, **options)
    with build_team(run.model, run.objective, RunConfig(train=run.train_config), CPU, threads) as team:
        run = replace(run, team=team)
        history = fit(run, State()).history
    return {**run.model.state_dict(), **run.objective.state()}, [{"total": row.total, **row.terms} for row in history]


@pytest.mark.parametrize("options", OF_BATCHES, ids=str)
def test_one_thread_and_three_train_to_the_same_bytes(options):
    (one, rows), (other, other_rows) = (_trained(options, threads) for threads in (1, 3))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert rows == other_rows
    assert all(np.isfinite(list(row.values())).all() for row in rows)


@pytest.mark.parametrize("options", ALL, ids=str)
def test_its_terms_are_those_of_tables_and_what_is_minimised_of_parts_adds_up(options):
    config = TrainConfig(**options)
    model = build_model(ModelConfig(kind="vae", arch="dense", latent=3, width=8), (1, 9, 8))
    objective = build_objective(model, config)
    assert own_terms(model.config, config) == tuple(name for name in objective.names if name not in USUAL)
    means = {name: 1.5 + number for number, name in enumerate(objective.names)}
    of_batch = {name: means[name] for name in objective.batch_names}
    of_images = {name: means[name] for name in objective.names if name not in of_batch}
    weights = objective.weights(0.5)
    parts = [objective.combine(part, weights) for part in (of_images, of_batch) if part]
    assert sum(parts) == pytest.approx(objective.combine(means, weights))


@pytest.mark.parametrize("options", OF_BATCHES, ids=str)
@pytest.mark.parametrize("n", [1, 2])
def test_batches_of_one_image_and_of_two_have_finite_terms_and_gradients(options, n):
    objective = objective_of(3, **options)
    codes = gaussian_codes(n, pairwise_correlation(3, 0.3))
    leaves = type(codes)(*(value.float().requires_grad_() for value in codes))
    means = {name: term.mean() for name, term in objective.batch_terms(leaves, 100).items()}
    loss = objective.combine(means, objective.weights(1.0))
    gradients = torch.autograd.grad(loss, leaves, materialize_grads=True, allow_unused=True)
    assert all(bool(value.isfinite().all()) for value in (*gradients, loss))


@pytest.mark.parametrize("options", OF_BATCHES, ids=str)
def test_a_step_from_fixed_places_is_the_step(options):
    plain, fixed = (small_run(epochs=4, batch_size=10, n=20, **options) for _ in range(2))
    for group in fixed.optimizer.param_groups:
        group["lr"] = torch.tensor(0.0)
    step = FixedStep(fixed, fixed.model, n_images=10)
    for number, batch in enumerate(torch.arange(20).split(10)):
        loss, means = train_step(plain, plain.model, plain.images.take(batch), epochs_done=number / 2)
        step.load(batch, None, number / 2)
        step.take()
        assert step.result.tolist() == pytest.approx([loss.item(), *means.tolist()], rel=1e-5)


def test_the_epoch_that_is_kept_has_the_discriminator_of_that_epoch():
    run = small_run(n=40, epochs=3, batch_size=20, objective="factor", keep="best", lr=1e-2)
    state = fit(run, State())
    assert state.best_objective.keys() == run.objective.state().keys()
    run.model.load_state_dict(state.best_weights)
    run.objective.load_state(state.best_objective)
    best = min((row for row in state.history if row.split == "val"), key=lambda row: row.total)
    with torch.no_grad():
        assert (state.best_epoch, state.best_total) == (best.epoch, best.total)
        images = ImageLoader(small_images(9, seed=1), CPU)
        x, noise = images.take(torch.arange(9)), torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
        output = run.model(x, noise)
        tc = run.objective.batch_terms(
            type(gaussian_codes(1, torch.eye(2).double()))(output.mean, output.logvar, output.z), 9
        )["tc"].mean()
    assert tc.item() == pytest.approx(best.terms["tc"], rel=1e-4)


def test_every_name_of_the_configuration_is_an_objective():
    assert set(OBJECTIVES) == {"elbo", "iwae", *LEAST_BATCH}
    assert all(issubclass(each, Objective) for each in OBJECTIVES.values())
