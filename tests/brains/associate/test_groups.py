import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from aekit.brains.associate.groups import area_under_curve, cohens_d
from aekit.brains.associate.multiple import benjamini_hochberg, holm


def test_the_area_under_the_curve_is_that_of_scikit_learn_also_with_ties():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 8, 40).astype(float) + 1, random.integers(0, 8, 55).astype(float)
    found = area_under_curve(first, second)
    assert found.value == pytest.approx(roc_auc_score([1] * 40 + [0] * 55, [*first, *second]), rel=1e-12)
    assert 0 < found.low < found.value < found.high < 1


def test_delongs_error_is_that_of_all_pairs():
    # The definition, pair by pair, without ranks.
    random = np.random.default_rng(1)
    first, second = random.normal(1, 1, 30), random.normal(0, 1, 20)
    pairs = (first[:, None] > second) + 0.5 * (first[:, None] == second)
    variance = pairs.mean(axis=1).var(ddof=1) / 30 + pairs.mean(axis=0).var(ddof=1) / 20
    auc = pairs.mean()
    half = stats.norm.ppf(0.975) * np.sqrt(variance) / (auc * (1 - auc))
    centre = np.log(auc / (1 - auc))
    expected = auc, 1 / (1 + np.exp(half - centre)), 1 / (1 + np.exp(-half - centre))
    assert area_under_curve(first, second) == pytest.approx(expected, rel=1e-9)


def test_groups_that_do_not_overlap_have_an_area_of_one_and_an_interval():
    found = area_under_curve(np.array([5.0, 6, 7]), np.array([1.0, 2, 3, 4]))
    assert found.value == found.high == 1
    assert 0.5 < found.low < 1
    assert area_under_curve(np.array([1.0, 2]), np.array([3.0, 4])).value == 0


def test_cohens_d_of_an_unadjusted_difference_is_that_of_the_textbook():
    first, second = np.array([3.0, 5, 4, 6, 7]), np.array([1.0, 2, 4, 3, 2, 3])
    pooled = np.sqrt((4 * first.var(ddof=1) + 5 * second.var(ddof=1)) / 9)
    difference, error = first.mean() - second.mean(), pooled * np.sqrt(1 / 5 + 1 / 6)
    found = cohens_d(difference, first, second, error=error)
    d = difference / pooled
    half = stats.norm.ppf(0.975) * np.sqrt(1 / 5 + 1 / 6 + d**2 / 22)
    assert found == pytest.approx((d, d - half, d + half), rel=1e-12)
    assert np.isnan(cohens_d(0.0, np.ones(3), np.ones(3), error=0.0)).all()


def test_corrected_p_values_are_those_of_statsmodels_and_missing_ones_do_not_count():
    p = np.array([0.001, 0.04, np.nan, 0.03, 0.005, 0.2])  # multipletests(p, method="holm"), "fdr_bh"
    np.testing.assert_allclose(holm(p), [0.005, 0.09, np.nan, 0.09, 0.02, 0.2])
    np.testing.assert_allclose(benjamini_hochberg(p), [0.005, 0.05, np.nan, 0.05, 0.0125, 0.2])
    assert holm(np.array([0.6, 0.7])).max() == 1
