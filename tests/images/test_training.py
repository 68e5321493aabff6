"""The loop trains what it says: schedules, weights of batches, warm-up, the best epoch, and what stops it."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded import Recorded
from safetensors.torch import load_file

from aekit.core.device import ThreadTeam
from aekit.errors import AekitError, Stopped
from aekit.images.config import ModelConfig, RunConfig, TrainConfig
from aekit.images.data.batches import ImageLoader, mirror
from aekit.images.data.image_set import ImageSet
from aekit.images.models import build_model
from aekit.images.objectives import Objective, build_objective
from aekit.images.runs import build_team
from aekit.images.steps import FixedStep, Run, _whole_batch_gradients, learning_rate, train_step
from aekit.images.training import Row, State, evaluate, fit

CPU = torch.device("cpu")


def _images(n: int, seed: int = 0) -> ImageSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 1, 8, 8), dtype=np.uint8)
    return ImageSet(store=pixels, name="noise")


def _run(*, kind="vae", n=23, loss="bernoulli", **options) -> Run:
    torch.manual_seed(0)
    config = TrainConfig(**{"epochs": 2, "batch_size": 10, "lr": 1e-3, **options})
    model = build_model(ModelConfig(kind=kind, arch="dense", latent=2, width=8, loss=loss), (1, 8, 8))
    return Run(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), fused=True),
        noise=torch.Generator().manual_seed(1),
        train=ImageLoader(_images(n), CPU),
        held_out=ImageLoader(_images(9, seed=1), CPU),
        held_out_split="val",
        config=config,
        precision="fp32",
        team=ThreadTeam(1),
        objective=build_objective(model),
    )


def test_one_cycle_rises_for_a_tenth_of_the_run_and_ends_at_zero():
    rates = [learning_rate(2.0, "one-cycle", step / 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(0.02)
    assert int(np.argmax(rates)) == 100
    assert rates[100] == 2.0
    assert rates[550] == pytest.approx(1.0)
    assert 0 < rates[-1] < 1e-5
    assert np.all(np.diff(rates[:101]) > 0)
    assert np.all(np.diff(rates[100:]) < 0)
    assert learning_rate(2.0, "constant", 0.7) == 2.0


def test_a_step_lowers_the_loss_of_its_batch():
    run = _run(lr=1e-2, schedule="constant")
    x = run.train.take(torch.arange(10))
    losses = [train_step(run, run.model, x, epochs_done=0.5)[0].item() for _ in range(30)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("options", [{"beta_warmup": 2.0}, {"mirror": True, "schedule": "constant"}])
def test_a_step_from_fixed_places_is_the_step(options):
    plain, fixed = (_run(epochs=4, batch_size=10, n=40, **options) for _ in range(2))
    for group in fixed.optimizer.param_groups:
        group["lr"] = torch.tensor(0.0)
    step = FixedStep(fixed, fixed.model, n_images=10)
    places = [step.result.data_ptr(), *(parameter.data_ptr() for parameter in fixed.model.parameters())]
    for number, batch in enumerate(torch.randperm(40).split(10)):
        turned = torch.arange(10) % 3 == number if plain.config.mirror else None
        x = plain.train.take(batch)
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


def test_the_train_row_is_the_mean_over_images_whatever_the_size_of_the_last_batch():
    # With a learning rate that changes nothing, the epoch's mean must be the mean over all images.
    run = _run(kind="ae", lr=1e-30, schedule="constant", epochs=1)
    expected = evaluate(run.model, run.train, seed=0).terms
    row = fit(run, State()).history[0]
    assert row.terms == pytest.approx(expected, rel=1e-5)
    assert "kl" not in row.terms
    assert row.total == row.terms["reconstruction"]


def test_beta_weighs_the_kl_and_warms_up_without_changing_what_total_means():
    run = _run(beta=4.0, beta_warmup=1.0, lr=1e-30, schedule="constant", epochs=2)
    x = run.train.take(torch.arange(10))
    for epochs_done, weight in ((0.0, 0), (0.5, 2), (1.5, 4)):
        loss, (reconstruction, kl, _) = train_step(run, run.model, x, epochs_done=epochs_done)
        assert loss.item() == pytest.approx((reconstruction + weight * kl).item())
        assert kl > 0
    for row in fit(run, State()).history:
        assert row.total == pytest.approx(row.terms["reconstruction"] + 4 * row.terms["kl"])


@pytest.mark.parametrize("n_threads", [2, 3, 16])
def test_a_team_of_threads_takes_the_same_step_but_for_rounding(n_threads):
    alone = _run(n=25, batch_size=25, epochs=1, weight_decay=0.0, lr=1e-3)
    team = _run(n=25, batch_size=25, epochs=1, weight_decay=0.0, lr=1e-3)
    x = alone.train.take(torch.arange(25))
    expected = train_step(alone, alone.model, x, epochs_done=0.5)
    with ThreadTeam(n_threads) as threads:
        team = replace(team, team=threads)
        loss, means = train_step(team, team.model, x, epochs_done=0.5)
        found = evaluate(team.model, team.train, seed=3, team=threads)
    torch.testing.assert_close((loss, means), expected)
    for mine, other in zip(team.model.parameters(), alone.model.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-6)
    assert found.terms == pytest.approx(evaluate(alone.model, alone.train, seed=3).terms, rel=1e-3)


def test_a_team_of_threads_repeats_itself_to_the_bit():
    ends = []
    for _ in range(2):
        with ThreadTeam(3) as threads:
            run = replace(_run(epochs=3), team=threads)
            fit(run, State())
            ends.append([parameter.detach().clone() for parameter in run.model.parameters()])
    assert all(torch.equal(first, second) for first, second in zip(*ends, strict=True))


def test_a_failure_in_a_thread_of_the_team_is_raised():
    def fail(part):
        if part == 2:
            raise ValueError("part 2")
        return part

    with ThreadTeam(3) as team:
        assert team.map(lambda part: part * part, [1, 2, 3]) == [1, 4, 9]
        with pytest.raises(ValueError, match="part 2"):
            team.map(fail, [0, 1, 2])


def test_evaluation_repeats_itself_and_is_the_sum_over_images():
    run = _run()
    assert evaluate(run.model, run.train, seed=5) == evaluate(run.model, run.train, seed=5)
    assert evaluate(run.model, run.train, seed=5) != evaluate(run.model, run.train, seed=6)


def test_history_has_train_and_held_out_rows_for_every_epoch():
    state = fit(_run(epochs=3), State())
    assert [(row.epoch, row.split) for row in state.history] == [(e, s) for e in (1, 2, 3) for s in ("train", "val")]
    assert all(row.images_per_second > 0 for row in state.history)


def test_the_best_epoch_is_kept_by_validation_total():
    run = _run(epochs=6, lr=0.3, schedule="constant", keep="best")
    weights = []
    state = fit(
        run,
        State(),
        on_epoch=lambda rows: weights.append({k: v.clone() for k, v in run.model.state_dict().items()}),
    )
    totals = [row.total for row in state.history if row.split == "val"]
    assert state.best_epoch == int(np.argmin(totals)) + 1
    assert state.best_total == min(totals)
    for name, value in weights[state.best_epoch - 1].items():
        torch.testing.assert_close(state.best_weights[name], value)


def test_a_signal_stops_after_the_step_and_going_on_ends_at_the_same_weights():
    whole = _run(epochs=3)
    fit(whole, State())

    run, saved = _run(epochs=3), []
    with pytest.raises(Stopped, match="epoch 2 of 3") as stopped:
        fit(run, State(), progress=Recorded(stop_after=4), save=saved.append)
    assert stopped.value.signal_number == 15
    assert (saved[-1].epoch, saved[-1].step) == (1, 1)
    state = fit(run, replace(saved[-1]))
    assert len(state.history) == 6
    for mine, other in zip(run.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("options", [{}, {"samples_per_epoch": 37, "mirror": True}])
def test_a_set_that_is_read_ahead_trains_to_the_weights_of_one_in_memory_also_after_a_stop(
    tmp_path, monkeypatch, options
):
    np.save(tmp_path / "x.npy", _images(60).store)
    store = np.load(tmp_path / "x.npy", mmap_mode="r").view(np.ndarray)
    images = ImageSet(store, "noise", rows=np.flatnonzero(np.arange(60) % 5))
    monkeypatch.setattr("aekit.images.data.readahead.BLOCK_BYTES", 3 * 64)
    monkeypatch.setattr("aekit.images.data.batches.GROUP_BLOCKS", 4)
    monkeypatch.setattr("aekit.images.data.batches.MAX_EXACT_BYTES", 0)
    in_memory = replace(_run(epochs=3, **options), train=ImageLoader(images, CPU))
    monkeypatch.setattr("aekit.images.data.batches.MAX_COPY_BYTES", 0)
    read, stopped = (replace(_run(epochs=3, **options), train=ImageLoader(images, CPU)) for _ in range(2))
    assert (in_memory.train.resident is None, read.train.resident is None) == (False, True)
    histories = [[row.total for row in fit(run, State()).history] for run in (in_memory, read)]
    assert histories[0] == histories[1]

    saved = []
    with pytest.raises(Stopped):
        fit(stopped, State(), progress=Recorded(stop_after=6), save=saved.append)
    assert saved[-1].step > 0  # in the middle of an epoch
    fit(stopped, replace(saved[-1]))
    for run in (read, stopped):
        for mine, other in zip(run.model.parameters(), in_memory.model.parameters(), strict=True):
            assert torch.equal(mine, other)


def test_mirrored_training_learns_both_sides_and_goes_on_at_the_same_weights():
    left = np.zeros((20, 1, 8, 8), dtype=np.uint8)
    left[..., :3] = 255  # every image is bright at the left

    def train(*, mirror: bool, stop_at: int | None = None):
        run = replace(
            _run(n=20, kind="ae", epochs=60, lr=1e-2, mirror=mirror), train=ImageLoader(ImageSet(left, "left"), CPU)
        )
        saved = []
        progress = Recorded(stop_after=stop_at)
        if stop_at is None:
            fit(run, State(), progress=progress, save=saved.append)
        else:
            with pytest.raises(Stopped):
                fit(run, State(), progress=progress, save=saved.append)
            fit(run, replace(saved[-1]))
        right = torch.from_numpy(left[..., ::-1].copy()).float() / 255
        with torch.no_grad():
            return run.model, run.model(right).x_hat_logits.sigmoid()[..., -3:].mean().item()

    assert train(mirror=False)[1] < 0.3
    whole, brightness = train(mirror=True)
    assert brightness > 0.9
    stopped, _ = train(mirror=True, stop_at=7)
    for mine, other in zip(stopped.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("size", [("--latent", 99_999_999), ("--width", 100_000_000), ("--latent", 2**62)])
@pytest.mark.parametrize("arch", ["conv", "dense", "blocks"])
def test_a_network_larger_than_memory_is_refused_before_it_is_built(aekit, tmp_path, arch, size):
    options = ("--data", "digits", "--limit", 60, "--epochs", 1, "--arch", arch, "-o", tmp_path / "x.safetensors")
    result = aekit("train-vae", *options, *size)
    assert result.exit_code == 1
    assert re.search(r"takes [\d,]+ GB of memory, and [\d,]+ GB are free", result.stderr.splitlines()[-1]), (
        result.stderr
    )
    assert not any(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_names_epoch_and_step_and_saves_nothing():
    run, saved = _run(epochs=2, lr=1e-3), []

    def poison(n_steps):
        if n_steps == 4:
            with torch.no_grad():
                next(run.model.parameters()).fill_(math.nan)

    progress = Recorded(on_update=poison)
    with pytest.raises(AekitError, match=r"loss: stopped being finite in epoch 2, step 2; lower --lr"):
        fit(run, State(), progress=progress, save=lambda state: saved.append((state.epoch, state.step)))
    assert saved == [(1, 0)]


@pytest.mark.parametrize("loss", ["gaussian", "continuous-bernoulli", "mse"])
def test_every_loss_trains(loss):
    run = _run(kind="ae", loss=loss, lr=1e-2, epochs=15, n=40)
    rows = [row.total for row in fit(run, State()).history if row.split == "train"]
    assert rows[-1] < rows[0]
    if loss == "gaussian":
        assert run.model.log_sigma.item() != -2.0


def test_bf16_trains_to_about_the_same():
    totals = {}
    for precision in ("fp32", "bf16"):
        run = replace(_run(epochs=8, lr=1e-2), precision=precision)
        totals[precision] = fit(run, State()).history[-1].total
    assert totals["bf16"] == pytest.approx(totals["fp32"], rel=0.02)


class TotalVariance(Objective):
    """A test's objective that looks at the whole batch: the variance of the codes over its images."""

    names = ("reconstruction", "variance", "mse")
    needs_whole_batch = True

    def terms(self, x, output):
        spread = output.z.var(0).sum() * torch.linalg.det(torch.eye(2) + output.z.T @ output.z / len(output.z))
        return {**super().terms(x, output), "variance": spread.expand(len(x))}

    def weights(self, config, epochs_done):
        return {"reconstruction": 1.0, "variance": 0.5}


@pytest.mark.parametrize("loss", ["bernoulli", "gaussian"])
def test_an_objective_of_whole_batches_trains_to_the_same_bytes_with_one_thread_and_with_two(loss):
    weights, rows = [], []
    for threads in (1, 2, 3):
        run = _run(n=64, epochs=3, batch_size=32, lr=1e-2, loss=loss)
        config = RunConfig(train=run.config)
        with build_team(run.model, TotalVariance(run.model), config, CPU, threads) as team:
            run = replace(run, objective=TotalVariance(run.model), team=team)
            rows.append([(row.total, row.terms) for row in fit(run, State()).history])
        weights.append(run.model.state_dict())
    for other in weights[1:]:
        assert all(torch.equal(value, other[name]) for name, value in weights[0].items())
    assert rows[0] == rows[1] == rows[2]
    assert list(rows[0][0][1]) == ["reconstruction", "variance", "mse"]


def test_the_gradients_of_a_whole_batch_are_those_of_the_loss_itself():
    run = _run(n=32, batch_size=32, loss="gaussian")
    objective = TotalVariance(run.model)
    x, noise = run.train.take(torch.arange(32)), torch.randn(32, 2)
    terms = objective.terms(x, run.model(x, noise))
    loss = terms["reconstruction"].mean() + 0.5 * terms["variance"].mean()
    expected = torch.autograd.grad(loss, list(run.model.parameters()), materialize_grads=True, allow_unused=True)
    parts = list(zip(x.chunk(4), noise.chunk(4), strict=True))
    with build_team(run.model, objective, RunConfig(train=run.config), CPU, 2) as team:
        run = replace(run, objective=objective, team=team)
        weights = objective.weights(run.config, 0)
        found, means = _whole_batch_gradients(run, run.model, parts, weights, 32)
    assert means.tolist() == pytest.approx([terms[name].mean().item() for name in objective.names], rel=1e-5)
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_histories_and_states_carry_the_names_of_terms():
    row = Row(1, "train", 3.0, {"reconstruction": 2.0, "mse": 0.1, "variance": 4.0}, 1.0, 2.0)
    stored = row.to_dict()
    assert list(stored)[:7] == ["epoch", "split", "total", "reconstruction", "kl", "mse", "variance"]
    assert stored["kl"] is None
    assert Row.from_dict(stored) == row
