import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.linear_model import Ridge

from aekit.brains.measures import grouped_ridge
from aekit.brains.measures.grouped_ridge import fit_grouped_ridge, predict_grouped_ridge


@pytest.fixture(scope="module")
def groups():
    """Return two groups of features and a target, (N,), to which only the first contributes."""
    random = np.random.default_rng(0)
    first, second = random.normal(3, 1, (120, 8)), random.normal(-2, 5, (120, 30))
    return first, second, 50 + first @ random.normal(0, 4, 8) + random.normal(0, 3, 120)


def kernels_of(*features):
    return [x @ x.T for x in features]


TRAIN, OTHERS = np.arange(0, 90), np.arange(90, 120)


def test_it_is_scikit_learns_ridge_on_features_times_the_roots_of_their_weights(groups):
    first, second, target = groups
    model = fit_grouped_ridge(kernels_of(first, second), target, TRAIN)
    x = np.hstack([np.sqrt(w) * part for w, part in zip(model.weights, (first, second), strict=True)])
    fitted = predict_grouped_ridge(model, kernels_of(first, second), TRAIN, TRAIN)
    penalties = (target[TRAIN] - fitted) / model.dual  # the same for everyone, or it is no ridge
    np.testing.assert_allclose(penalties, penalties[0], rtol=1e-6)
    expected = Ridge(penalties[0]).fit(x[TRAIN], target[TRAIN]).predict(x[OTHERS])
    np.testing.assert_allclose(
        predict_grouped_ridge(model, kernels_of(first, second), TRAIN, OTHERS), expected, rtol=1e-6
    )


def test_its_marginal_likelihood_falls_when_a_weight_or_the_noise_is_changed(groups):
    first, second, target = groups
    y = (target[TRAIN] - target[TRAIN].mean()) / target[TRAIN].std()
    kernels = kernels_of(*(part - part[TRAIN].mean(0) for part in (first, second)))
    model = fit_grouped_ridge(kernels, target, TRAIN)
    fitted = predict_grouped_ridge(model, kernels, TRAIN, TRAIN)
    noise = np.median((target[TRAIN] - fitted) / model.dual)

    def likelihood(first_factor, second_factor, noise_factor):
        weights = model.weights * (first_factor, second_factor)
        parts = [w * k[np.ix_(TRAIN, TRAIN)] for w, k in zip(weights, kernels, strict=True)]
        return multivariate_normal(cov=sum(parts) + noise_factor * noise * np.eye(90)).logpdf(y)

    best = likelihood(1, 1, 1)
    # The prior of the logarithms moves the optimum a little, a factor of 1.5 is beyond that.
    for changed in ((1.5, 1, 1), (1 / 1.5, 1, 1), (1, 100, 1), (1, 1, 1.5), (1, 1, 1 / 1.5)):
        assert likelihood(*changed) < best


def test_features_that_tell_nothing_weigh_little_and_cost_little(groups):
    first, second, target = groups
    alone, both = kernels_of(first), kernels_of(first, second)
    model = fit_grouped_ridge(both, target, TRAIN)
    spread = [w * part[TRAIN].var(axis=0).sum() for w, part in zip(model.weights, (first, second), strict=True)]
    assert spread[1] < 0.1 * spread[0]

    def error(kernels):
        found = predict_grouped_ridge(fit_grouped_ridge(kernels, target, TRAIN), kernels, TRAIN, OTHERS)
        return np.abs(found - target[OTHERS]).mean()

    assert error(alone) < 0.6 * np.abs(target[OTHERS] - target[TRAIN].mean()).mean()
    assert error(both) < 1.15 * error(alone)


def test_the_origin_of_features_and_the_targets_of_others_do_not_matter(groups):
    first, second, target = groups
    expected = predict_grouped_ridge(
        fit_grouped_ridge(kernels_of(first, second), target, TRAIN), kernels_of(first, second), TRAIN, OTHERS
    )
    moved, changed = kernels_of(first + 7, second - 3), np.where(np.arange(120) < 90, target, 1e6)
    found = predict_grouped_ridge(fit_grouped_ridge(moved, changed, TRAIN), moved, TRAIN, OTHERS)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_equal_targets_and_equal_features_give_the_mean():
    features = np.ones((6, 3))
    train = np.arange(4)
    model = fit_grouped_ridge(kernels_of(features), np.arange(6.0), train)
    np.testing.assert_allclose(predict_grouped_ridge(model, kernels_of(features), train, np.arange(6)), 1.5)
    same = fit_grouped_ridge(kernels_of(np.eye(6)), np.full(6, 30.0), train)
    np.testing.assert_allclose(predict_grouped_ridge(same, kernels_of(np.eye(6)), train, np.arange(6)), 30)


def test_of_more_participants_than_are_searched_all_are_used(monkeypatch):
    monkeypatch.setattr(grouped_ridge, "_MAX_SEARCHED", 100)
    random = np.random.default_rng(1)
    x = random.normal(0, 1, (300, 5))
    y = x @ [3.0, -2, 1, 0, 0] + random.normal(0, 1, 300)
    train, others = np.arange(200), np.arange(200, 300)
    found = [
        predict_grouped_ridge(fit_grouped_ridge(kernels_of(x), y, train, seed=seed), kernels_of(x), train, others)
        for seed in (0, 1)
    ]
    np.testing.assert_allclose(found[0], found[1], atol=0.1)
    least_squares = np.linalg.lstsq(np.column_stack([x[train], np.ones(200)]), y[train], rcond=None)[0]
    np.testing.assert_allclose(found[0], np.column_stack([x[others], np.ones(100)]) @ least_squares, atol=0.2)
