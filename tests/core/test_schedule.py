"""The learning rate over a run."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.core.schedule import WARMUP, learning_rate


def test_a_constant_rate_stays():
    assert {learning_rate(0.1, "constant", progress) for progress in np.linspace(0, 0.999, 50)} == {0.1}


def test_one_cycle_rises_linearly_and_falls_as_half_a_cosine():
    assert learning_rate(2.0, "one-cycle", 0.0) == pytest.approx(0.02)
    assert learning_rate(2.0, "one-cycle", WARMUP / 2) == pytest.approx(2.0 * 0.505)
    assert learning_rate(2.0, "one-cycle", WARMUP) == pytest.approx(2.0)
    middle = WARMUP + (1 - WARMUP) / 2
    assert learning_rate(2.0, "one-cycle", middle) == pytest.approx(1.0)
    assert learning_rate(2.0, "one-cycle", 1.0) == pytest.approx(0.0, abs=1e-12)


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


def test_linear_rises_as_one_cycle_and_falls_along_a_line():
    times = np.linspace(0, 1, 101)
    rates = [learning_rate(2.0, "linear", time) for time in times]
    rising = times < WARMUP
    assert [learning_rate(2.0, "one-cycle", time) for time in times[rising]] == list(np.array(rates)[rising])
    assert np.array(rates)[~rising] == pytest.approx(2.0 * (1 - times[~rising]) / (1 - WARMUP))


@pytest.mark.parametrize("n_steps", range(1, 11))
def test_a_run_without_time_for_a_warm_up_takes_the_rate_at_the_middle_of_each_step(n_steps):
    rates = [learning_rate(2.0, "one-cycle", step / n_steps, n_steps) for step in range(n_steps)]
    middles = [learning_rate(2.0, "one-cycle", (step + 0.5) / n_steps) for step in range(n_steps)]
    assert rates == pytest.approx(middles)
    assert max(rates) >= 1.0
    assert learning_rate(2.0, "constant", 0.0, n_steps) == 2.0


@pytest.mark.parametrize("n_steps", [11, 12, 100, 6000])
def test_a_longer_run_warms_up_from_a_hundredth_of_the_peak(n_steps):
    for step in range(n_steps):
        assert learning_rate(2.0, "one-cycle", step / n_steps, n_steps) == learning_rate(
            2.0, "one-cycle", step / n_steps
        )
