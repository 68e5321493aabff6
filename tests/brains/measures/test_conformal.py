"""Intervals cover as many new participants as stated, and state less if there are too few to know."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.brains.measures.conformal import (
    LEAST,
    cv_plus_interval,
    describe_level,
    fit_conformal,
    fit_conformal_by_prediction,
)


def test_the_half_width_is_the_residual_of_the_right_rank():
    residuals = np.array([3.0, -9.0, 1.0, 4.0, -2.0, 8.0, 7.0, -6.0, 5.0])
    found = fit_conformal(residuals, coverage=0.9)
    assert (found.half_width, found.coverage, found.asked, found.n) == (9, 0.9, 0.9, 9)  # rank ceil(10 x 0.9) = 9
    assert fit_conformal(residuals, coverage=0.5).half_width == 5
    assert fit_conformal(residuals, coverage=0.51).half_width == 6
    assert fit_conformal(np.arange(1.0, 100.0), coverage=0.55).half_width == 55  # though 0.55 x 100 is rounded upwards
    assert found.interval(np.array([20.0, 50.0])).tolist() == [[11, 29], [41, 59]]


def test_too_few_residuals_give_the_widest_and_its_coverage():
    found = fit_conformal(np.array([1.0, -5.0, 2.0]), coverage=0.9)
    assert (found.half_width, found.coverage, found.asked) == (5, 0.75, 0.9)
    assert fit_conformal(np.arange(8.0)).coverage < 0.9 <= fit_conformal(np.arange(9.0)).coverage
    assert (
        fit_conformal(np.arange(18.0), coverage=0.95).coverage
        < 0.95
        <= fit_conformal(np.arange(19.0), coverage=0.95).coverage
    )


@pytest.mark.parametrize(("n", "coverage"), [(9, 0.9), (36, 0.9), (50, 0.8), (5, 0.9)])
def test_new_participants_are_covered_as_often_as_stated(n, coverage):
    generator = np.random.default_rng(n)
    held, said = [], 0.0
    for _ in range(3000):
        found = fit_conformal(generator.standard_t(3, n), coverage=coverage)  # heavy tails
        held.append(np.mean(np.abs(generator.standard_t(3, 20)) <= found.half_width))
        said = found.coverage
    assert np.mean(held) == pytest.approx(said, abs=4 * np.std(held) / np.sqrt(3000))
    assert said == pytest.approx(min(np.ceil((n + 1) * coverage - 1e-9), n) / (n + 1))


def _cross_validated(seed: int, n: int = 40, n_folds: int = 5, n_new: int = 20) -> tuple[float, float]:
    # Least squares with so many features that models of different folds differ.
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=15)
    x, new = generator.normal(size=(n, 15)), generator.normal(size=(n_new, 15))
    y, y_new = x @ weights + generator.normal(size=n), new @ weights + generator.normal(size=n_new)
    folds = generator.permutation(n) % n_folds
    models = [np.linalg.lstsq(x[folds != fold], y[folds != fold], rcond=None)[0] for fold in range(n_folds)]
    residuals = np.array([y[i] - x[i] @ models[folds[i]] for i in range(n)])
    predictions = np.array([new @ model for model in models])
    ends = cv_plus_interval(predictions, residuals, folds, coverage=0.9)
    pooled = fit_conformal(residuals, coverage=0.9).interval(predictions.mean(axis=0))
    return tuple(np.mean((each[:, 0] <= y_new) & (y_new <= each[:, 1])) for each in (ends, pooled))


def test_intervals_of_folds_cover_what_they_guarantee_and_close_to_the_request():
    cv_plus, pooled = np.mean([_cross_validated(seed) for seed in range(300)], axis=0)
    assert 0.88 < cv_plus < 0.97
    assert pooled > 0.88


def test_cv_plus_is_split_conformal_when_all_folds_predict_the_same():
    generator = np.random.default_rng(0)
    residuals, folds = generator.normal(size=30), np.arange(30) % 3
    same = np.tile(generator.normal(50, 10, 4), (3, 1))
    expected = fit_conformal(residuals, coverage=0.8).interval(same[0])
    assert cv_plus_interval(same, residuals, folds, coverage=0.8) == pytest.approx(expected)


def test_cv_plus_takes_the_ranks_of_the_paper():
    predictions = np.array([[10.0], [12.0]])
    residuals, folds = np.array([1.0, -2.0, 3.0, 0.5]), np.array([0, 0, 1, 1])
    # Lower ends 9, 8, 9, 11.5; upper ones 11, 12, 15, 12.5; rank ceil(5 x 0.6) = 3 from either side.
    assert cv_plus_interval(predictions, residuals, folds, coverage=0.6).tolist() == [[9, 12.5]]


@pytest.mark.parametrize(
    ("residuals", "coverage"),
    [(np.zeros(0), 0.9), (np.array([np.nan]), 0.9), (np.ones(3), 1.0), (np.ones((2, 2)), 0.9)],
)
def test_input_without_an_interval_is_refused(residuals, coverage):
    with pytest.raises(ValueError, match=r"residuals|coverage"):
        fit_conformal(residuals, coverage=coverage)


def test_a_fold_without_predictions_is_refused():
    with pytest.raises(ValueError, match="number of a fold"):
        cv_plus_interval(np.zeros((2, 1)), np.ones(3), np.array([0, 1, 2]))


def test_a_level_that_is_not_ninety_percent_is_the_fraction_that_the_participants_allow():
    texts = {}
    for n in (6, 9, 12, 1000):
        found = fit_conformal(np.arange(float(n)))
        texts[n] = describe_level(found.coverage, found.n)
    assert texts[6] == (
        "the level of the intervals is 6/7 = 85.7 %, the most that 6 held-out participants can give; "
        "90 % needs 9 or more"
    )
    assert texts[12] == (
        "the level of the intervals is 12/13 = 92.3 %, the lowest of at least 90 % that 12 held-out participants can "
        "give"
    )
    assert texts[9] == texts[1000] == ""
    assert "that 1 held-out participant can give" in describe_level(0.5, 1)
    assert describe_level(0.75) == "the level of the intervals is 75.0 %"  # older checkpoints


def test_nine_participants_are_the_fewest_for_ninety_percent():
    reached = [n for n in range(1, 30) if fit_conformal(np.arange(float(n))).coverage >= 0.9]
    assert reached == list(range(LEAST, 30))


def _people(n, rng, *, grows):
    age = rng.uniform(20, 90, n)
    sd = 2 + 8 * (age - 20) / 70 if grows else 6
    return age, age + sd * rng.standard_normal(n)


@pytest.mark.parametrize("grows", [True, False])
def test_intervals_by_prediction_hold_what_they_state_and_are_narrow_where_errors_are_small(grows):
    rng, held, young, plain = np.random.default_rng(0), [], [], []
    for _ in range(40):
        age, predicted = _people(100, rng, grows=grows)
        interval = fit_conformal_by_prediction(predicted, age - predicted)
        new, new_predicted = _people(400, rng, grows=grows)
        half = interval.half_widths(new_predicted)
        held.append(np.mean(np.abs(new - new_predicted) <= half))
        young.append(half[new < 35].mean())
        plain.append(interval.half_width)
    assert 0.88 < np.mean(held) < 0.93
    assert (np.mean(young) < 0.75 * np.mean(plain)) == grows


def test_few_residuals_or_equal_predictions_have_the_same_width_everywhere():
    rng = np.random.default_rng(0)
    for predicted, residuals in ((np.arange(19.0), np.arange(19.0)), (np.full(50, 3.0), rng.normal(size=50))):
        assert fit_conformal_by_prediction(predicted, residuals) == fit_conformal(residuals)
    assert fit_conformal_by_prediction(np.arange(50.0), np.zeros(50)).scale is None


def test_the_order_of_participants_does_not_change_the_interval():
    age, predicted = _people(80, np.random.default_rng(1), grows=True)
    order = np.random.default_rng(2).permutation(80)
    found = fit_conformal_by_prediction(predicted, age - predicted)
    other = fit_conformal_by_prediction(predicted[order], (age - predicted)[order])
    assert found.scale is not None
    np.testing.assert_allclose(found.half_widths(predicted), other.half_widths(predicted))
    ends = found.interval(predicted)
    np.testing.assert_allclose(ends[:, 1] - ends[:, 0], 2 * found.half_widths(predicted))
