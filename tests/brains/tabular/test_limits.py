import numpy as np
import pytest

from aekit.brains.tabular.limits import fit_feature_limits


@pytest.fixture
def train():
    random = np.random.default_rng(0)
    return random.normal(100, 10, (200, 30)), random.uniform(20, 80, 200)


NAMES = [f"roi_{number}" for number in range(30)]


def test_few_participants_like_those_of_training_are_called_unlike(train):
    limits = fit_feature_limits(*train)
    new = np.random.default_rng(1).normal(100, 10, (500, 30))
    reasons = limits.unlike(new, NAMES, np.full((500, 1), 50.0))
    assert sum(map(bool, reasons)) <= 5


def test_a_value_far_outside_is_named_with_the_range(train):
    limits = fit_feature_limits(*train)
    new = np.full((1, 30), 100.0)
    new[0, 7] = 400.0
    (reasons,) = limits.unlike(new, NAMES, np.full((1, 1), 50.0))
    assert reasons[0].startswith("values outside of the training range: roi_7 400 (")


def test_a_shift_of_all_values_is_seen_though_each_is_usual(train):
    limits = fit_feature_limits(*train)
    (reasons,) = limits.unlike(np.full((1, 30), 125.0), NAMES, np.full((1, 1), 50.0))
    assert len(reasons) == 1
    assert reasons[0].startswith("all values together deviate")


def test_an_age_outside_the_training_range_is_named(train):
    limits = fit_feature_limits(*train)
    (reasons,) = limits.unlike(np.full((1, 30), 100.0), NAMES, np.array([[50.0, 95.0]]))
    assert reasons == ["predicted age is outside the usual range of the training (21-80 years)"]


def test_a_broken_value_in_training_does_not_widen_the_limits(train):
    features, ages = train
    broken = features.copy()
    broken[0] = 1e6
    clean, dirty = fit_feature_limits(features, ages), fit_feature_limits(broken, ages)
    np.testing.assert_allclose(dirty.high, clean.high, rtol=0.05)
    assert dirty.distance == pytest.approx(clean.distance, rel=0.05)


def test_values_of_a_feature_that_is_mostly_zero_are_usual():
    features = np.zeros((100, 2))
    features[::5, 0] = np.linspace(1, 5, 20)
    features[:, 1] = np.linspace(0, 1, 100)
    limits = fit_feature_limits(features, np.linspace(20, 80, 100))
    assert limits.unlike(features, ["lesions", "b"], np.full((100, 1), 50.0)) == [[]] * 100


def test_features_in_other_units_are_named_with_their_factor():
    random = np.random.default_rng(0)
    features = np.column_stack([random.normal(1000, 50, 80), random.normal(3, 0.2, 80), random.normal(0, 1, 80)])
    limits = fit_feature_limits(features, random.uniform(20, 80, 80))
    names = ("volume", "thickness", "score")
    assert limits.in_other_units(features, names) == {}
    found = limits.in_other_units(features[:5] * [1e-3, 10, 1000], names)
    assert found == {"volume": pytest.approx(1e-3, rel=0.1), "thickness": pytest.approx(10, rel=0.1)}
    assert limits.in_other_units(features[:2] * 1000, names) == {}
    odd = features[:5].copy()
    odd[0] *= 1000  # one participant with broken values is no other unit
    assert limits.in_other_units(odd, names) == {}
