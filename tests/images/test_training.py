"""The loop trains what it says: schedules, weights of batches, warm-up, the best epoch, and what stops it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded import Recorded
from small_run import CPU, small_images, small_run

from aekit.core.device import ThreadTeam
from aekit.errors import AekitError, Stopped
from aekit.images.data.batches import ImageLoader
from aekit.images.data.image_set import ImageSet
from aekit.images.steps import train_step
from aekit.images.training import Row, State, evaluate, fit


def test_the_train_row_is_the_mean_over_images_whatever_the_size_of_the_last_batch():
    # With a learning rate that changes nothing, the epoch's mean must be the mean over all images.
    run = small_run(kind="ae", lr=1e-30, schedule="constant", epochs=1)
    expected = evaluate(run.model, run.images, seed=0, objective=run.objective).terms
    row = fit(run, State()).history[0]
    assert row.terms == pytest.approx(expected, rel=1e-5)
    assert "kl" not in row.terms
    assert row.total == row.terms["reconstruction"]


def test_beta_weighs_the_kl_and_warms_up_without_changing_what_total_means():
    run = small_run(beta=4.0, beta_warmup=1.0, lr=1e-30, schedule="constant", epochs=2)
    x = run.images.take(torch.arange(10))
    for epochs_done, weight in ((0.0, 0), (0.5, 2), (1.5, 4)):
        loss, (reconstruction, kl, _) = train_step(run, run.model, x, epochs_done=epochs_done)
        assert loss.item() == pytest.approx((reconstruction + weight * kl).item())
        assert kl > 0
    for row in fit(run, State()).history:
        assert row.total == pytest.approx(row.terms["reconstruction"] + 4 * row.terms["kl"])


def test_a_team_of_threads_repeats_itself_to_the_bit():
    ends = []
    for _ in range(2):
        with ThreadTeam(3) as threads:
            run = replace(small_run(epochs=3), team=threads)
            fit(run, State())
            ends.append([parameter.detach().clone() for parameter in run.model.parameters()])
    assert all(torch.equal(first, second) for first, second in zip(*ends, strict=True))


def test_evaluation_repeats_itself_and_is_the_sum_over_images():
    run = small_run()
    once, again, other = (evaluate(run.model, run.images, seed=n, objective=run.objective) for n in (5, 5, 6))
    assert once == again != other


def test_history_has_train_and_held_out_rows_for_every_epoch():
    state = fit(small_run(epochs=3), State())
    assert [(row.epoch, row.split) for row in state.history] == [(e, s) for e in (1, 2, 3) for s in ("train", "val")]
    assert all(row.images_per_second > 0 for row in state.history)


def test_the_best_epoch_is_kept_by_validation_total():
    run = small_run(epochs=6, lr=0.3, schedule="constant", keep="best")
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
    whole = small_run(epochs=3)
    fit(whole, State())

    run, saved = small_run(epochs=3), []
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
    np.save(tmp_path / "x.npy", small_images(60).store)
    store = np.load(tmp_path / "x.npy", mmap_mode="r").view(np.ndarray)
    images = ImageSet(store, "noise", rows=np.flatnonzero(np.arange(60) % 5))
    monkeypatch.setattr("aekit.images.data.readahead.BLOCK_BYTES", 3 * 64)
    monkeypatch.setattr("aekit.images.data.batches.GROUP_BLOCKS", 4)
    monkeypatch.setattr("aekit.images.data.batches.MAX_EXACT_BYTES", 0)
    in_memory = replace(small_run(epochs=3, **options), images=ImageLoader(images, CPU))
    monkeypatch.setattr("aekit.images.data.batches.MAX_COPY_BYTES", 0)
    read, stopped = (replace(small_run(epochs=3, **options), images=ImageLoader(images, CPU)) for _ in range(2))
    assert (in_memory.images.resident is None, read.images.resident is None) == (False, True)
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
            small_run(n=20, kind="ae", epochs=60, lr=1e-2, mirror=mirror),
            images=ImageLoader(ImageSet(left, "left"), CPU),
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


def test_a_loss_that_is_not_finite_names_epoch_and_step_and_saves_nothing():
    run, saved = small_run(epochs=2, lr=1e-3), []

    def poison(n_steps):
        if n_steps == 4:
            with torch.no_grad():
                next(run.model.parameters()).fill_(math.nan)

    progress = Recorded(on_update=poison)
    with pytest.raises(AekitError, match=r"loss: stopped being finite in epoch 2, step 2; lower --lr"):
        fit(run, State(), progress=progress, save=lambda state: saved.append((state.epoch, state.step)))
    assert saved == [(1, 0)]


@pytest.mark.parametrize("loss", ["gaussian", "continuous-bernoulli", "logistic", "mse"])
def test_every_loss_trains(loss):
    run = small_run(kind="ae", loss=loss, lr=1e-2, epochs=15, n=40)
    rows = [row.total for row in fit(run, State()).history if row.split == "train"]
    assert rows[-1] < rows[0]
    if loss == "gaussian":
        assert run.model.log_sigma.item() != -2.0


def test_bf16_trains_to_about_the_same():
    totals = {}
    for precision in ("fp32", "bf16"):
        run = replace(small_run(epochs=8, lr=1e-2), precision=precision)
        totals[precision] = fit(run, State()).history[-1].total
    assert totals["bf16"] == pytest.approx(totals["fp32"], rel=0.02)


def test_histories_and_states_carry_the_names_of_terms():
    row = Row(1, "train", 3.0, {"reconstruction": 2.0, "mse": 0.1, "variance": 4.0}, 1.0, 2.0)
    stored = row.to_dict()
    assert list(stored)[:7] == ["epoch", "split", "total", "reconstruction", "kl", "mse", "variance"]
    assert stored["kl"] is None
    assert Row.from_dict(stored) == row
