"""Scores of disentanglement against closed cases: identity, duplicates, rotations of known angle, chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mutual_info_score

from aekit.images.disentangle.agreement import agreement, unsupervised_ranking
from aekit.images.disentangle.binning import bin_codes, entropies, mutual_information
from aekit.images.disentangle.importance import completeness, disentanglement, measure_dci
from aekit.images.disentangle.information import information_gap, modularity
from aekit.images.disentangle.nulls import turn_axes
from aekit.images.disentangle.request import DisentangleRequest
from aekit.images.disentangle.robustness import interventional_robustness
from aekit.images.disentangle.scores import SCORES, measure_scores
from aekit.images.disentangle.separation import attribute_scores, explicitness, separation
from aekit.images.disentangle.votes import factor_vae_score

SIZES = (3, 6, 10)
NUMERIC = (True, True, True)


def _factors(n=4000, seed=0):
    generator = np.random.default_rng(seed)
    return np.stack([generator.integers(size, size=n) for size in SIZES], axis=1)


def _scores(codes, factors):
    return measure_scores(codes, factors, is_numeric=NUMERIC, request=DisentangleRequest()).values


def test_the_factors_themselves_reach_one_everywhere():
    factors = _factors()
    values = _scores(factors.astype(float), factors)
    for name in SCORES:
        assert values[name] > (0.93 if name == "explicitness" else 0.98), name  # middle values are not linear


def test_each_factor_twice_has_no_gap_between_the_two_and_is_half_complete():
    factors = _factors()
    values = _scores(np.concatenate([factors, factors], axis=1).astype(float), factors)
    assert values["mig"] == pytest.approx(0, abs=1e-9)
    assert values["sap"] == pytest.approx(0, abs=1e-9)
    assert values["modularity"] > 0.98
    assert values["dci_disentanglement"] > 0.98


def test_noise_scores_like_chance():
    factors = _factors()
    values = _scores(np.random.default_rng(1).normal(size=(4000, 5)), factors)
    assert values["mig"] < 0.02
    assert values["sap"] < 0.02
    assert abs(values["explicitness"]) < 0.1
    assert values["factor_vae"] == pytest.approx(1 / 3, abs=0.1)
    assert values["dci_informativeness"] == pytest.approx(np.mean([1 / size for size in SIZES]), abs=0.03)


def test_turned_axes_score_lower_than_the_factors_and_are_as_explicit():
    factors = _factors()
    turned = turn_axes(factors.astype(float), np.random.default_rng(3))
    straight, mixed = _scores(factors.astype(float), factors), _scores(turned, factors)
    for name in ("mig", "sap", "dci_disentanglement", "dci_completeness", "irs", "modularity"):
        assert mixed[name] < straight[name] - 0.1, name
    assert mixed["explicitness"] == pytest.approx(straight["explicitness"], abs=0.02)


@pytest.mark.parametrize("degrees", [0, 10, 25, 45])
def test_two_dimensions_turned_by_an_angle_have_the_squared_correlations_of_that_angle(degrees):
    # Of two independent factors of equal variance, cos^2 of a dimension's variance is of one, and sin^2 of the other.
    generator = np.random.default_rng(0)
    factors = generator.integers(20, size=(20_000, 2))
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    codes = (factors - factors.mean(0)) @ turn
    scores = attribute_scores((codes, factors), (codes, factors), is_numeric=(True, True))
    expected = np.array([[np.cos(angle) ** 2, np.sin(angle) ** 2], [np.sin(angle) ** 2, np.cos(angle) ** 2]])
    np.testing.assert_allclose(scores, expected, atol=0.02)
    np.testing.assert_allclose(separation(scores), abs(np.cos(2 * angle)), atol=0.03)


def test_mutual_information_is_that_of_scikit_learn():
    factors = _factors(500)
    binned = bin_codes(np.random.default_rng(0).normal(size=(500, 4)) + factors[:, [0]], 20, "width")
    found = mutual_information(binned, factors)
    for j in range(4):
        for k in range(3):
            assert found[j, k] == pytest.approx(mutual_info_score(binned[:, j], factors[:, k]), abs=1e-12)
    np.testing.assert_allclose(entropies(factors), [stats.entropy(np.bincount(column)) for column in factors.T])


def test_bins_have_equal_width_or_equally_many():
    codes = np.random.default_rng(0).exponential(size=(1000, 1))
    by_count = np.bincount(bin_codes(codes, 10, "quantile")[:, 0])
    assert by_count.tolist() == [100] * 10
    by_width = bin_codes(codes, 10, "width")[:, 0]
    counts, _ = np.histogram(codes, 10)
    assert np.bincount(by_width, minlength=10).tolist() == counts.tolist()


def test_a_dimension_with_few_values_keeps_them():
    assert bin_codes(np.array([[0.0], [0.1], [100.0]]), 20, "width")[:, 0].tolist() == [0, 1, 2]


def test_the_gap_is_the_difference_of_the_two_best_over_the_entropy():
    information = np.array([[0.9, 0.1], [0.2, 0.4], [0.0, 0.0]])
    np.testing.assert_allclose(information_gap(information, np.array([1.0, 0.5])), [0.7, 0.6])
    assert np.isnan(information_gap(information, np.array([1.0, 0.0]))[1])


def test_modularity_is_one_minus_the_squares_of_the_others():
    information = np.array([[1.0, 0.5, 0.5], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    found = modularity(information)
    np.testing.assert_allclose(found[:2], [1 - (0.25 + 0.25) / 2, 1])
    assert np.isnan(found[2])


def test_dci_of_given_importances_is_in_closed_form():
    importance = np.array([[0.5, 0.0], [0.5, 0.0], [0.0, 1.0]])
    assert disentanglement(importance) == pytest.approx(1)
    assert completeness(importance) == pytest.approx((1 - np.log(2) / np.log(3) + 1) / 2)
    assert disentanglement(np.full((4, 3), 0.25)) == pytest.approx(0)
    assert completeness(np.zeros((4, 3))) == disentanglement(np.zeros((4, 3))) == 0


def test_importances_find_the_dimension_of_each_factor():
    factors = _factors(2000)
    codes = factors[:, [2, 0, 1]] + np.random.default_rng(0).normal(scale=0.05, size=(2000, 3))
    found = measure_dci((codes[:1000], factors[:1000]), (codes[1000:], factors[1000:]), seed=0)
    np.testing.assert_allclose(found.importance, np.eye(3)[[2, 0, 1]], atol=0.05)
    assert (found.informativeness > 0.97).all()


def test_votes_find_dimensions_of_any_scale_and_ignore_dead_ones():
    factors = _factors()
    codes = np.concatenate([factors * [1e-3, 1.0, 1e3], np.full((4000, 1), 7.0)], axis=1)
    assert factor_vae_score(codes, factors, seed=0) > 0.99
    assert factor_vae_score(np.zeros((4000, 2)), factors, seed=0) == pytest.approx(1 / 3)


def test_robustness_is_one_for_the_factor_of_a_dimension_and_small_for_others():
    factors = _factors()
    robustness, score = interventional_robustness(factors.astype(float), factors)
    np.testing.assert_allclose(np.diag(robustness), 1)
    assert robustness[0, 1] < 0.2
    assert score == pytest.approx(1)


def test_names_are_predicted_above_chance_and_numbers_by_correlation():
    factors = _factors()
    codes = np.stack([factors[:, 0] == 1, factors[:, 1]], axis=1).astype(float)  # tells one name from two others
    scores = attribute_scores((codes, factors), (codes, factors), is_numeric=(False, True, True))
    assert scores[0, 0] == pytest.approx((2 / 3 - 1 / 3) / (2 / 3), abs=0.02)
    assert scores[1, 1] == pytest.approx(1)
    assert scores[1, 0] < 0.05


def test_explicitness_sees_all_dimensions_together():
    factors = _factors()
    turned = factors @ stats.ortho_group.rvs(3, random_state=0)
    found = explicitness((turned[:2000], factors[:2000]), (turned[2000:], factors[2000:]))
    assert (found > 0.8).all()


def test_models_agree_up_to_order_sign_and_scale_and_not_when_turned():
    codes = np.random.default_rng(0).normal(size=(3000, 4))
    kl = np.ones(4)
    same = -3 * codes[:, [2, 0, 3, 1]] ** 3
    assert agreement(codes, same, kl, kl) > 0.85  # correlations by chance are in the sum
    assert agreement(codes, codes @ stats.ortho_group.rvs(4, random_state=2), kl, kl) < 0.6
    assert agreement(codes, same, np.array([1, 1, 0, 0.0]), kl) < agreement(codes, same, kl, kl)
    ranking = unsupervised_ranking([codes, same, np.random.default_rng(1).normal(size=(3000, 4))], [kl] * 3)
    assert ranking[0] > ranking[2]


def test_turning_axes_keeps_the_lengths_of_standardised_codes_and_mixes_all_dimensions():
    codes = np.random.default_rng(0).normal(size=(500, 6)) * np.arange(1, 7) + 3
    turned = turn_axes(codes, np.random.default_rng(0))
    standard = (codes - codes.mean(0)) / codes.std(0)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(standard, axis=1))
    assert (abs(np.corrcoef(standard.T, turned.T)[:6, 6:]) < 0.99).all()
