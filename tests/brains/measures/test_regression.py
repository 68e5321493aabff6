"""Errors are what scikit-learn says, their intervals hold the truth, and a delta is corrected by others' line."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score

from aekit.brains.measures import regression
from aekit.brains.measures.regression import (
    absolute_error_interval,
    age_corrected_delta,
    bootstrap_mean,
    by_group,
    decades,
    paired_difference,
    score,
)


def _people(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.uniform(20, 80, n)
    return truth, truth + generator.normal(1, 6, n)


def test_errors_are_those_of_scikit_learn():
    truth, prediction = _people(60)
    mean = np.where(np.arange(60) % 2, 45.0, 52.0)  # two folds with different train participants
    sd = np.where(np.arange(60) % 2, 15.0, 17.0)
    found = score(truth, prediction, mean_prediction=mean, sd=sd)
    assert found.n == 60
    assert found.mae == pytest.approx(mean_absolute_error(truth, prediction))
    assert found.r2 == pytest.approx(r2_score(truth, prediction))
    assert found.mse_z == pytest.approx(np.mean(((prediction - mean) / sd - (truth - mean) / sd) ** 2))
    assert found.skill == pytest.approx(1 - mean_absolute_error(truth, prediction) / mean_absolute_error(truth, mean))
    assert found.mae_low < found.mae < found.mae_high
    assert score(truth, mean, mean_prediction=mean, sd=sd).skill == 0


def test_a_perfect_prediction_has_no_error_and_no_width():
    truth, _ = _people(30)
    found = score(truth, truth, mean_prediction=np.full(30, 50.0), sd=10.0)
    assert (found.mae, found.mae_low, found.mae_high, found.mse_z, found.r2, found.skill) == (0, 0, 0, 0, 1, 1)


def test_what_one_participant_or_one_age_cannot_show_is_nan():
    one = score(np.array([30.0]), np.array([33.0]), mean_prediction=np.array([50.0]), sd=10.0)
    assert (one.n, one.mae, one.skill) == (1, 3, 1 - 3 / 20)
    assert np.isnan([one.mae_low, one.mae_high, one.r2]).all()
    same = np.full(20, 0.1 + 0.2)
    alike = score(same, same + 1, mean_prediction=same, sd=1.0)
    assert np.isnan([alike.r2, alike.skill]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": np.zeros(9)}, "one value per participant"),
        ({"prediction": np.full(10, np.nan)}, "finite"),
        ({"sd": 0.0}, "above zero"),
        ({"sd": np.ones(9)}, "one per participant"),
        (
            {"truth": np.zeros(0), "prediction": np.zeros(0), "mean_prediction": np.zeros(0)},
            "one value per participant",
        ),
    ],
)
def test_arrays_that_are_not_predictions_are_refused(change, message):
    given = {"truth": np.arange(10.0), "prediction": np.zeros(10), "mean_prediction": np.zeros(10), "sd": 1.0} | change
    with pytest.raises(ValueError, match=message):
        score(**given)


@pytest.mark.slow
def test_the_interval_agrees_with_a_studentised_bootstrap_written_out():
    values = np.random.default_rng(3).exponential(size=24)
    generator, ratios = np.random.default_rng(4), []
    for _ in range(20_000):
        drawn = generator.choice(values, 24)
        ratios.append((drawn.mean() - values.mean()) / drawn.std())
    upper, lower = np.quantile(ratios, [0.975, 0.025])
    expected = values.mean() - values.std() * upper, values.mean() - values.std() * lower
    found = bootstrap_mean(values, n_resamples=20_000)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(expected, rel=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("n", [36, 100])
def test_intervals_of_skewed_errors_contain_the_truth_where_percentiles_do_not(n):
    generator = np.random.default_rng(n)
    held = percentile_held = 0
    for repeat in range(1000):
        errors = generator.exponential(size=n)
        found = bootstrap_mean(errors, n_resamples=400, seed=repeat)
        held += found.low <= 1 <= found.high
        means = errors[generator.integers(0, n, (400, n))].mean(axis=1)
        percentile_held += np.quantile(means, 0.025) <= 1 <= np.quantile(means, 0.975)
    assert 0.93 <= held / 1000 <= 0.97
    assert percentile_held < held


def test_few_and_very_many_participants_get_students_t():
    for n in (5, 5001):
        values = np.random.default_rng(n).exponential(size=n)
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert bootstrap_mean(values)[1:] == pytest.approx((expected.low, expected.high))


@pytest.mark.slow
def test_at_five_thousand_participants_bootstrap_and_students_t_are_the_same():
    values = np.random.default_rng(5).exponential(size=5000)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = bootstrap_mean(values, n_resamples=8000)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.05 * (found.high - found.low))


def test_ten_errors_of_which_nine_agree_have_a_finite_interval():
    found = bootstrap_mean(np.array([1.0] * 9 + [2.0]))
    assert np.isfinite(found).all()
    assert found.low < 1.1 < found.high


def test_the_interval_of_an_error_never_goes_below_zero():
    errors = np.array([0.0, 0.0, 0.0, 0.0, 9.0])
    (group,) = by_group(np.zeros(5), errors, ["a"] * 5)
    assert bootstrap_mean(errors).low < 0
    assert group.low == 0


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    truth, prediction = _people(40)
    first, again, other = (
        score(truth, prediction, mean_prediction=truth, sd=1.0, seed=seed).mae_low for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_resamples_are_quick_and_bounded_in_memory():
    values = np.abs(np.random.default_rng(0).normal(size=200))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        bootstrap_mean(values)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.1  # 0.007 on one quiet core
    many = np.abs(np.random.default_rng(0).normal(size=100_000))
    tracemalloc.start()
    for size in (5000, 100_000):
        bootstrap_mean(many[:size], n_resamples=500)
    assert tracemalloc.get_traced_memory()[1] < 60e6
    tracemalloc.stop()


def test_paired_differences_are_of_the_same_people():
    truth, a = _people(80)
    found = paired_difference(truth, a, a)
    assert (found.n, found.difference, found.low, found.high) == (80, 0, 0, 0)
    better = truth + 0.5 * (a - truth)  # half the error of everybody
    found = paired_difference(truth, better, a)
    assert found.difference == pytest.approx(-0.5 * np.abs(a - truth).mean())
    assert found.low < found.difference < found.high < 0
    mirrored = paired_difference(truth, a, better)
    assert mirrored.difference == -found.difference
    # The halves of each participant go together, so the interval is narrower than for two separate groups.
    apart = np.hypot(np.abs(a - truth).std(), np.abs(better - truth).std()) * 2 * 1.96 / np.sqrt(80)
    assert found.high - found.low < 0.6 * apart


def test_paired_intervals_contain_a_true_difference_of_zero():
    generator = np.random.default_rng(6)
    held = 0
    for repeat in range(600):
        truth, shared = np.zeros(50), generator.normal(0, 6, 50)
        a, b = (shared + generator.normal(0, 2, 50) for _ in range(2))
        found = paired_difference(truth, a, b, n_resamples=400, seed=repeat)
        held += found.low <= 0 <= found.high
    assert 0.925 <= held / 600 <= 0.975


def test_the_delta_is_corrected_by_the_line_of_other_people():
    generator = np.random.default_rng(7)
    ages, others = generator.uniform(20, 80, 50), generator.uniform(20, 80, 70)
    predicted, others_predicted = (x * 0.6 + 20 + generator.normal(0, 3, len(x)) for x in (ages, others))
    line = LinearRegression().fit(others[:, None], others_predicted - others)
    expected = predicted - ages - line.predict(ages[:, None])
    found = age_corrected_delta(ages, predicted, fit_age=others, fit_predicted=others_predicted)
    assert found == pytest.approx(expected)
    assert abs(np.corrcoef(ages, predicted - ages)[0, 1]) > 0.8
    assert abs(np.corrcoef(ages, found)[0, 1]) < 0.25


def test_a_mean_predictor_looks_perfect_after_correction_which_is_why_accuracy_never_is():
    ages = np.array([20.0, 40.0, 70.0])
    corrected = age_corrected_delta(ages, np.full(3, 45.0), fit_age=ages, fit_predicted=np.full(3, 45.0))
    assert corrected == pytest.approx(np.zeros(3), abs=1e-9)


def test_participants_of_one_age_give_an_offset_and_no_slope():
    found = age_corrected_delta(np.array([20.0, 60.0]), np.array([25.0, 61.0]), fit_age=np.array([30.0]),
                                fit_predicted=np.array([32.0]))  # fmt: skip
    assert found == pytest.approx([3, -1])
    with pytest.raises(ValueError, match="one value per participant"):
        age_corrected_delta(np.ones(1), np.ones(1), fit_age=np.zeros(0), fit_predicted=np.zeros(0))


def test_groups_are_in_their_natural_order_and_the_missing_last():
    truth = np.array([25.0, 105.0, 5.0, 28.0, 26.0, 21.0, 22.0])
    prediction = truth + np.array([1.0, -4.0, 2.0, -3.0, 5.0, -3.0, 3.0])
    found = by_group(truth, prediction, decades(truth))
    assert [group.group for group in found] == ["0-9", "20-29", "100-109"]
    assert [group.n for group in found] == [1, 5, 1]
    assert (found[1].mae, found[1].bias) == pytest.approx((3, 0.6))
    assert found[1].low < 3 < found[1].high
    assert np.isnan([found[0].low, found[0].high]).all()
    sexes = np.array(["M", None, np.nan, " ", "F", "F", "F"], dtype=object)
    assert [(group.group, group.n) for group in by_group(truth, prediction, sexes)] == [
        ("F", 3),
        ("M", 1),
        ("missing", 3),
    ]
    with pytest.raises(ValueError, match="but 4 groups"):
        by_group(truth, prediction, ["a"] * 4)


def test_a_decade_begins_at_its_round_birthday():
    ages = np.array([0.0, 9.999, 10.0, 29.99, 30.0, 89.0, 120.0, np.nan])
    assert list(decades(ages)) == ["0-9", "0-9", "10-19", "20-29", "30-39", "80-89", "120-129", "missing"]


@pytest.mark.parametrize("n", [20, 36, 100])
def test_one_error_of_300_years_does_not_stretch_an_interval_to_many_times_its_percentile_interval(n):
    random = np.random.default_rng(3)
    errors = np.abs(random.normal(0, 6, n))
    errors[0] = 300
    mae, low, high = absolute_error_interval(errors)
    drawn = errors[random.integers(0, n, (4000, n))].mean(axis=1)
    below, above = np.quantile(drawn, [0.025, 0.975])
    assert low <= below < mae < above <= high
    assert high - mae < 2 * (above - mae)


def test_the_bound_for_outliers_does_not_touch_usual_errors(monkeypatch):
    errors = np.abs(np.random.default_rng(0).normal(0, 6, 60))
    bounded = absolute_error_interval(errors)
    monkeypatch.setattr(regression, "_LEAST_VARIANCE", 1e-6)
    assert absolute_error_interval(errors) == pytest.approx(bounded, rel=1e-3)
