from dataclasses import replace

import numpy as np
import pytest

from aekit.brains.predictions import AGE, Predictions
from aekit.brains.scores import differences_table
from aekit.brains.verdict import describe_verdict, find_verdict

N = 60


def part(model, error, split="test", n=N):
    """Return predictions of 60 ages that err by ``error`` years, with scatter that all models have in common."""
    truth = np.linspace(20, 80, n)
    scatter = np.random.default_rng(0).normal(0, 0.3, n)
    errors = np.where(np.arange(n) % 2, 1, -1) * (error + scatter * error)
    mean = np.full(n, 50.0)
    return Predictions(model, AGE, split, np.arange(n), np.zeros(n, int), truth, truth + errors, mean, mean)


def models(chain, direct, ridge, **options):
    own = {"mean": 15.0, "ridge-voxels": 9.0, "ridge-histogram": ridge, "chain": chain, "direct": direct}
    return [part(model, error, **options) for model, error in own.items()]


def test_a_network_that_does_not_beat_the_histogram_is_named_with_the_paired_difference():
    parts = models(7.0, 6.3, 6.1)
    found = find_verdict(parts)
    assert found["best_age_model"] == "ridge-histogram"
    row = differences_table(parts).query("model == 'direct' and baseline == 'ridge-histogram'").iloc[0]
    values = found["against_baseline"]
    assert [values[name] for name in ("difference", "low", "high")] == [row.difference, row.low, row.high]
    text = describe_verdict(found)
    assert text.startswith(
        f"direct {values['mae']:.2f} against ridge-histogram {values['baseline_mae']:.2f} years (test)"
    )
    assert text.endswith("mri-predict gives the age of ridge-histogram first")


@pytest.mark.parametrize(("noise", "words"), [(3.0, "adds nothing that shows"), (0.0, "the network is worse")])
def test_a_difference_that_may_be_chance_is_told_from_one_that_is_not(noise, words):
    *rest, direct = models(9.0, 6.3, 6.1)
    scatter = np.random.default_rng(1).normal(0, noise, N)
    assert words in describe_verdict(find_verdict([*rest, replace(direct, prediction=direct.prediction + scatter)]))


def test_nothing_is_said_where_a_network_is_better_or_nobody_was_held_out():
    assert describe_verdict(find_verdict(models(5.0, 4.0, 6.1))) == ""
    assert find_verdict(models(5.0, 4.0, 6.1))["best_age_model"] == "direct"
    assert find_verdict(models(7.0, 7.0, 6.1, split="train")) == {}
    assert describe_verdict({}) == ""


def test_too_few_participants_for_an_interval_give_the_difference_alone():
    found = find_verdict(models(7.0, 7.0, 6.0, n=4))
    assert found["against_baseline"]["low"] is None
    assert "[" not in describe_verdict(found)
    assert "adds nothing that shows" in describe_verdict(found)
