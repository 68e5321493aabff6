"""One step of training: its gradients, by threads, recorded, and of whole batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from small_run import CPU, small_run

from aekit.core.device import ThreadTeam
from aekit.images.config import RunConfig
from aekit.images.data.batches import mirror
from aekit.images.objectives.base import Objective
from aekit.images.run_building import build_team
from aekit.images.steps import FixedStep, _gradients_of_batch, train_step
from aekit.images.training import State, evaluate, fit


def test_a_step_lowers_the_loss_of_its_batch():
    run = small_run(lr=1e-2, schedule="constant")
    x = run.images.take(torch.arange(10))
    losses = [train_step(run, run.model, x, epochs_done=0.5)[0].item() for _ in range(30)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("options", [{"beta_warmup": 2.0}, {"mirror": True, "schedule": "constant"}])
def test_a_step_from_fixed_places_is_the_step(options):
    plain, fixed = (small_run(epochs=4, batch_size=10, n=40, **options) for _ in range(2))
    for group in fixed.optimizer.param_groups:
        group["lr"] = torch.tensor(0.0)
    step = FixedStep(fixed, fixed.model, n_images=10)
    places = [step.result.data_ptr(), *(parameter.data_ptr() for parameter in fixed.model.parameters())]
    for number, batch in enumerate(torch.randperm(40).split(10)):
        turned = torch.arange(10) % 3 == number if plain.train_config.mirror else None
        x = plain.images.take(batch)
        x = x if turned is None else mirror(x, turned)
        loss, means = train_step(plain, plain.model, x, epochs_done=number / 4)
        step.load(batch, turned, number / 4)
        step.take()
        assert step.result.tolist() == pytest.approx([loss.item(), *means.tolist()], rel=1e-6)
    assert places == [step.result.data_ptr(), *(parameter.data_ptr() for parameter in fixed.model.parameters())]
    for mine, other in zip(fixed.model.parameters(), plain.model.parameters(), strict=True):
        # The rate is a float32 in the tensor, and a float64 in the number.
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_recorded_steps_train_what_steps_one_by_one_do(aekit, tmp_path, monkeypatch, precision):
    options = ["train-vae", "--data", "digits", "--epochs", 20, "--device", "cuda", "--precision", precision]
    recorded = aekit(*options, "-o", tmp_path / "recorded.safetensors")
    assert "recorded" not in recorded.stderr, recorded.stderr
    monkeypatch.setattr("aekit.images.steps.RECORDED_STEPS", 10**9)
    aekit(*options, "-o", tmp_path / "plain.safetensors", "-q")
    one, other = (load_file(tmp_path / f"{name}.safetensors") for name in ("recorded", "plain"))
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("n_threads", [2, 3, 16])
def test_a_team_of_threads_takes_the_same_step_but_for_rounding(n_threads):
    alone = small_run(n=25, batch_size=25, epochs=1, weight_decay=0.0, lr=1e-3)
    team = small_run(n=25, batch_size=25, epochs=1, weight_decay=0.0, lr=1e-3)
    x = alone.images.take(torch.arange(25))
    expected = train_step(alone, alone.model, x, epochs_done=0.5)
    with ThreadTeam(n_threads) as threads:
        team = replace(team, team=threads)
        loss, means = train_step(team, team.model, x, epochs_done=0.5)
        found = evaluate(team.model, team.images, seed=3, objective=team.objective, team=threads)
    torch.testing.assert_close((loss, means), expected)
    for mine, other in zip(team.model.parameters(), alone.model.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-6)
    expected = evaluate(alone.model, alone.images, seed=3, objective=alone.objective).terms
    assert found.terms == pytest.approx(expected, rel=1e-3)


class TotalVariance(Objective):
    """A test's objective that looks at the whole batch: the variance of the codes over its images."""

    names = ("reconstruction", "variance", "mse")
    batch_names = ("variance",)

    def batch_terms(self, codes, n_images):
        spread = codes.z.var(0).sum() * torch.linalg.det(torch.eye(2) + codes.z.T @ codes.z / len(codes.z))
        return {"variance": spread}

    def weights(self, epochs_done):
        return {"reconstruction": 1.0, "variance": 0.5}


@pytest.mark.parametrize("loss", ["bernoulli", "gaussian"])
def test_an_objective_of_whole_batches_trains_to_the_same_bytes_with_one_thread_and_with_two(loss):
    weights, rows = [], []
    for threads in (1, 2, 3):
        run = small_run(n=64, epochs=3, batch_size=32, lr=1e-2, loss=loss)
        config = RunConfig(train=run.train_config)
        objective = TotalVariance(run.model, run.train_config)
        with build_team(run.model, objective, config, CPU, threads) as team:
            run = replace(run, objective=objective, team=team)
            rows.append([(row.total, row.terms) for row in fit(run, State()).history])
        weights.append(run.model.state_dict())
    for other in weights[1:]:
        assert all(torch.equal(value, other[name]) for name, value in weights[0].items())
    assert rows[0] == rows[1] == rows[2]
    assert list(rows[0][0][1]) == ["reconstruction", "variance", "mse"]


def test_the_gradients_of_a_whole_batch_are_those_of_the_loss_itself():
    run = small_run(n=32, batch_size=32, loss="gaussian")
    objective = TotalVariance(run.model, run.train_config)
    x, noise = run.images.take(torch.arange(32)), torch.randn(32, 2)
    output = run.model(x, noise)
    terms = {**objective.terms(x, output), **objective.batch_terms(output, 32)}
    loss = terms["reconstruction"].mean() + 0.5 * terms["variance"]
    expected = torch.autograd.grad(loss, list(run.model.parameters()), materialize_grads=True, allow_unused=True)
    parts = list(zip(x.chunk(4), noise.chunk(4), [None] * 4, strict=True))
    with build_team(run.model, objective, RunConfig(train=run.train_config), CPU, 2) as team:
        run = replace(run, objective=objective, team=team)
        found, means, codes = _gradients_of_batch(run, run.model, parts, objective.weights(0), 32)
    torch.testing.assert_close(codes.z, output.z)
    assert means.tolist() == pytest.approx([terms[name].mean().item() for name in objective.names], rel=1e-5)
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
