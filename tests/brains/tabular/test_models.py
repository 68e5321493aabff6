import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.spatial.distance import cdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aekit.brains.tabular import models
from aekit.brains.tabular.models import (
    fit_gaussian_process_features,
    fit_ridge_features,
    negative_log_likelihood,
    standardisation,
)


@pytest.fixture
def planted():
    random = np.random.default_rng(1)
    features = random.normal(5, [1, 2, 3, 4], (60, 4))
    ages = 50 + features @ np.array([2.0, -1.0, 0.5, 0.0]) + random.normal(0, 1, 60)
    return features, ages


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 3.0])
def test_ridge_regression_is_that_of_scikit_learn_at_the_same_penalty(planted, monkeypatch, penalty):
    features, ages = planted
    monkeypatch.setattr(models, "PENALTIES", np.array([penalty]))
    theirs = make_pipeline(StandardScaler(), SklearnRidge(penalty * len(ages))).fit(features, ages)
    np.testing.assert_allclose(fit_ridge_features(features, ages)(features), theirs.predict(features), rtol=1e-9)


def test_the_penalty_is_the_one_with_the_smallest_error_if_each_participant_is_left_out(planted, monkeypatch):
    features, ages = planted
    centre, spread = standardisation(features)
    x = (features - centre) / spread

    def error(penalty):
        fitted = cross_val_predict(SklearnRidge(penalty * len(ages)), x, ages, cv=LeaveOneOut())
        return np.square(fitted - ages).mean()

    grid = np.logspace(-4, 1, 6)
    monkeypatch.setattr(models, "PENALTIES", grid)
    chosen = fit_ridge_features(features, ages)
    best = min(grid, key=error)
    theirs = make_pipeline(StandardScaler(), SklearnRidge(best * len(ages))).fit(features, ages)
    np.testing.assert_allclose(chosen(features), theirs.predict(features), rtol=1e-9)


def test_a_linear_truth_without_noise_is_recovered():
    random = np.random.default_rng(0)
    features = random.normal(size=(40, 5))
    weight = np.array([3.0, -2.0, 0.0, 1.0, 5.0])
    found = fit_ridge_features(features, 40 + features @ weight)
    np.testing.assert_allclose(found.weight, weight, atol=1e-3)
    assert found.bias == pytest.approx(40, abs=1e-3)


def test_more_features_than_participants_are_no_problem():
    random = np.random.default_rng(0)
    features = random.normal(size=(30, 200))
    ages = 50 + features[:, :5].sum(axis=1)
    for fitted in (fit_ridge_features(features, ages), fit_gaussian_process_features(features, ages, seed=0)):
        assert np.isfinite(fitted(features)).all()


def test_the_gaussian_process_predicts_as_scikit_learn_does_with_the_same_kernel(planted):
    features, ages = planted
    ages = ages + 3 * np.sin(features[:, 2])
    found = fit_gaussian_process_features(features, ages, seed=0)
    centre, spread = standardisation(features)
    x, scale = (features - centre) / spread, ages.std()
    squared, products = cdist(x, x, "sqeuclidean"), x @ x.T
    curve = found.smooth * np.exp(-0.5 * squared / found.length**2) + found.linear * products
    noise = np.mean(((ages - ages.mean()) / scale - curve @ found.dual / scale) / (found.dual / scale))
    kernel = ConstantKernel(found.smooth) * RBF(found.length) + ConstantKernel(found.linear) * DotProduct(0.0, "fixed")
    theirs = GaussianProcessRegressor(kernel + WhiteKernel(noise), alpha=0.0, optimizer=None)
    theirs.fit(x, (ages - ages.mean()) / scale)
    others = np.random.default_rng(2).normal(5, 2, (10, 4))
    expected = theirs.predict((others - centre) / spread) * scale + ages.mean()
    np.testing.assert_allclose(found(others), expected, rtol=1e-6)


def test_the_gradient_of_the_likelihood_is_that_of_finite_differences(planted):
    features, ages = planted
    x = (features - features.mean(0)) / features.std(0)
    given = (cdist(x, x, "sqeuclidean"), x @ x.T, (ages - ages.mean()) / ages.std())
    at = np.log([0.4, 2.0, 0.2, 0.3])
    wrong = check_grad(
        lambda logs: negative_log_likelihood(logs, *given)[0], lambda logs: negative_log_likelihood(logs, *given)[1], at
    )
    assert wrong < 1e-3 * np.abs(negative_log_likelihood(at, *given)[1]).max()


def test_the_gaussian_process_follows_a_curve_that_no_line_can():
    random = np.random.default_rng(0)
    features = random.uniform(-2, 2, (120, 2))
    ages = 50 + 5 * features[:, 0] ** 2 + random.normal(0, 0.5, 120)
    train, rest = slice(0, 90), slice(90, None)
    curve = fit_gaussian_process_features(features[train], ages[train], seed=0)
    line = fit_ridge_features(features[train], ages[train])
    assert np.abs(curve(features[rest]) - ages[rest]).mean() < 1.0
    assert np.abs(line(features[rest]) - ages[rest]).mean() > 3.0


def test_a_feature_that_is_constant_in_train_has_no_influence():
    features = np.column_stack([np.linspace(0, 1, 20), np.full(20, 7.0)])
    found = fit_ridge_features(features, 20 + 30 * features[:, 0])
    np.testing.assert_allclose(found(features + np.array([0, 100])), found(features), atol=1e-9)
