import numpy as np
import pytest
from scipy.optimize import minimize

from aekit.brains.predictions import AGE, Predictions
from aekit.brains.stacking import describe_stack, fit_weights, stack_ages

N = 100


@pytest.fixture
def random():
    return np.random.default_rng(0)


def part(model, truth, prediction, split="cv", folds=5, start=0):
    n = len(truth)
    fold = np.arange(n) % folds if folds else np.zeros(n, int)
    return Predictions(
        model, AGE, split, np.arange(start, start + n), fold, truth, prediction, np.full(n, truth.mean()), np.ones(n)
    )


def parts(random, errors, *, truth=None, **options):
    truth = random.uniform(20, 80, N) if truth is None else truth
    models = {"mean": np.full(len(truth), 50.0) - truth}
    models |= {model: random.normal(0, sd, len(truth)) for model, sd in errors.items()}
    return [part(model, truth, truth + error, **options) for model, error in models.items()]


def mae(one):
    return np.abs(one.prediction - one.truth).mean()


def test_weights_are_those_of_a_general_optimiser(random):
    truth = random.normal(50, 10, 80)
    shared = random.normal(0, 3, 80)
    x = np.column_stack([truth + shared + random.normal(0, sd, 80) for sd in (2, 3, 5, 9)])
    found = fit_weights(x, truth)
    general = minimize(
        lambda w: np.square(x @ w - truth).mean(),
        np.full(4, 0.25),
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-12},
    )
    np.testing.assert_allclose(found, general.x, atol=2e-3)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)


def test_independent_models_are_weighted_by_their_precision(random):
    truth = random.uniform(20, 80, 20_000)
    x = np.column_stack([truth + random.normal(0, sd, len(truth)) for sd in (4.0, 4.0, 8.0)])
    np.testing.assert_allclose(fit_weights(x, truth), np.array([4, 4, 1]) / 9, atol=0.02)


def test_the_good_model_is_found_and_independent_errors_average_out(random):
    (good,) = stack_ages(parts(random, {"ridge-histogram": 1.0, "ridge-voxels": 15.0, "direct": 15.0}))
    assert mae(good) < 0.85
    both = parts(random, {"ridge-histogram": 6.0, "direct": 6.0})
    (stack,) = stack_ages(both)
    assert mae(stack) < 0.85 * min(map(mae, both))
    assert mae(stack) < max(map(mae, both))


def test_models_that_know_nothing_shrink_to_the_mean(random):
    truth = random.uniform(20, 80, N)
    guesses = {model: random.permutation(truth) - truth for model in ("ridge-histogram", "direct", "chain")}
    models = [part("mean", truth, np.full(N, truth.mean()))]
    models += [part(model, truth, truth + error) for model, error in guesses.items()]
    (stack,) = stack_ages(models)
    assert mae(stack) == pytest.approx(mae(models[0]), rel=0.06)
    assert mae(stack) < min(map(mae, models[1:]))


def test_a_participants_own_age_does_not_touch_their_prediction(random):
    before = parts(random, {"ridge-histogram": 6.0, "direct": 8.0})
    changed = before[0].truth.copy()
    changed[before[0].fold == 2] += 40
    after = [Predictions(**{**vars(one), "truth": changed}) for one in before]
    (first,), (second,) = stack_ages(before), stack_ages(after)
    same = first.fold == 2
    assert np.array_equal(first.prediction[same], second.prediction[same])
    assert not np.array_equal(first.prediction[~same], second.prediction[~same])


def test_test_is_weighted_by_val_and_val_by_the_rest_of_it(random):
    val = parts(random, {"ridge-histogram": 2.0, "direct": 6.0}, split="val", folds=0)
    test = parts(random, {"ridge-histogram": 2.0, "direct": 6.0}, split="test", folds=0, start=N)
    found = {one.split: one for one in stack_ages([*val, *test])}
    weights = fit_weights(np.column_stack([one.prediction for one in val]), val[0].truth)
    expected = np.column_stack([one.prediction for one in test]) @ weights
    np.testing.assert_allclose(found["test"].prediction, expected)
    rest = np.arange(N) != 7
    left_out = fit_weights(np.column_stack([one.prediction for one in val])[rest], val[0].truth[rest])
    own = np.array([one.prediction[7] for one in val]) @ left_out
    assert found["val"].prediction[7] == pytest.approx(own)
    stored = describe_stack([*val, *test], 50.0)["stack"]
    assert stored["models"] == ["mean", "ridge-histogram", "direct"]
    np.testing.assert_allclose(stored["weights"], weights)


def test_there_is_no_stack_without_ten_others(random):
    few = parts(random, {"direct": 2.0}, truth=random.uniform(20, 80, 10), split="val", folds=0)
    assert stack_ages(few) == []
    assert stack_ages(parts(random, {"direct": 2.0}, split="train", folds=0)) == []
    assert describe_stack(parts(random, {"direct": 2.0}, split="train", folds=0), 50.0) == {}
