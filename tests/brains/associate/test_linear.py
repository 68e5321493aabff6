"""Numbers of statsmodels 0.14 (OLS with cov_type HC3, use_t) and pingouin 0.5 (partial_corr) for the same values."""

import numpy as np
import pytest
from scipy import stats

from aekit.brains.associate.linear import ConfoundedError, build_design, fisher_interval, fit_columns

AGE = np.array([57.5, 73.8, 66.5, 33.5, 38.0, 72.4, 20.3, 69.3, 67.8, 48.1, 38.2, 36.7, 35.3, 46.7, 50.3, 53.2, 79.7,
                67.6, 57.3, 79.3, 32.9, 29.6, 56.8, 22.6])  # fmt: skip
SEX = np.array([0, 0, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0], float)
SCORE = np.array([25.4, 26.9, 28.8, 25.8, 26.8, 27.2, 27.1, 24.5, 27.2, 29.7, 23.9, 28.7, 27.2, 25.7, 31.0, 28.5, 24.6,
                  27.1, 28.2, 26.6, 28.4, 26.9, 28.3, 29.9])  # fmt: skip
GAP = np.array([-2.65, -4.92, -6.48, 3.76, -3.07, -6.5, 3.14, -0.88, -1.59, -5.45, -1.86, -0.23, -6.6, -2.95, -5.22,
                3.96, -2.39, -5.46, -2.8, -6.23, 2.06, 1.38, -3.94, -1.0])  # fmt: skip
PATIENT = (np.arange(24) % 3 == 0) * 1.0
NUISANCE = np.column_stack([np.ones(24), AGE, SEX])


@pytest.mark.parametrize(
    ("column", "value", "error", "low", "high", "p", "r"),
    [
        (SCORE, -0.40905251480816, 0.28828930638924, -1.01041347, 0.19230844, 0.17132629341127, -0.27258100919372),
        (PATIENT, 1.35700094057729, 1.79560651034672, -2.38856861, 5.10257049, 0.45861775632292, 0.23763098782461),
    ],
)
def test_a_coefficient_and_its_robust_error_are_those_of_statsmodels(column, value, error, low, high, p, r):
    fitted = fit_columns(build_design(NUISANCE, column[:, None]), GAP)
    assert fitted.estimate == pytest.approx((value, low, high), rel=1e-7)
    assert fitted.error == pytest.approx(error, rel=1e-9)
    assert fitted.p == pytest.approx(p, rel=1e-9)
    assert fitted.r.value == pytest.approx(r, rel=1e-9)
    assert fitted.n == 24


def test_the_test_of_several_columns_is_the_robust_f_of_statsmodels():
    dummies = np.column_stack([(np.arange(24) % 4 == k) * 1.0 for k in (1, 2, 3)])
    fitted = fit_columns(build_design(NUISANCE, dummies), GAP)
    assert (fitted.statistic, fitted.p) == pytest.approx((0.8089062291474, 0.50534781426948), rel=1e-9)


def test_units_and_origins_of_the_other_columns_change_nothing():
    a = fit_columns(build_design(NUISANCE, SCORE[:, None]), GAP, n_permutations=99)
    other = np.column_stack([np.ones(24), 1e6 * AGE + 1e7, 1 - SEX, AGE - SEX])  # the last one depends on the others
    b = fit_columns(build_design(other, SCORE[:, None]), GAP, n_permutations=99)
    assert a.estimate == pytest.approx(b.estimate, rel=1e-6)
    assert a.p_permutation == b.p_permutation


def test_the_interval_of_a_correlation_is_fishers_where_the_spread_is_even():
    # scipy's pearsonr gives Fisher's interval of a plain correlation.
    found = stats.pearsonr(SCORE, GAP)
    ends = found.confidence_interval(0.95)
    assert fisher_interval(found.statistic, 24 - 3)[1:] == pytest.approx((ends.low, ends.high), rel=1e-9)
    assert np.isnan(fisher_interval(0.5, 0)[1:]).all()


def test_permutations_of_a_plain_difference_agree_with_all_of_them():
    # Eight values have 70 divisions into two groups of four; Welch's t of each, counted.
    y = np.array([1.0, 2.5, 0.3, 1.9, 3.1, 4.4, 2.2, 5.0])
    group = np.array([0, 0, 0, 0, 1, 1, 1, 1.0])
    exact = stats.permutation_test(
        (y[4:], y[:4]), lambda a, b: abs(stats.ttest_ind(a, b, equal_var=False).statistic), alternative="greater"
    )
    fitted = fit_columns(build_design(np.ones((8, 1)), group[:, None]), y, n_permutations=20_000, seed=3)
    assert fitted.p_permutation == pytest.approx(exact.pvalue, abs=4 * np.sqrt(0.1 * 0.9 / 20_000))


def test_the_same_seed_gives_the_same_permutation_p_and_more_permutations_a_finer_one():
    design = build_design(NUISANCE, SCORE[:, None])
    first, again, other = (fit_columns(design, GAP, n_permutations=199, seed=seed) for seed in (1, 1, 2))
    assert first.p_permutation == again.p_permutation
    assert first.p_permutation != other.p_permutation
    assert (first.p_permutation * 200) == pytest.approx(round(first.p_permutation * 200))
    assert np.isnan(fit_columns(design, GAP).p_permutation)


def test_what_age_and_sex_determine_is_refused():
    for column in (2 * AGE - SEX + 3, np.full(24, 5.0)):
        with pytest.raises(ConfoundedError):
            build_design(NUISANCE, column[:, None])
    with pytest.raises(ConfoundedError):
        build_design(NUISANCE, np.column_stack([SCORE, 3 * SCORE + AGE]))
    with pytest.raises(ConfoundedError):
        build_design(NUISANCE[:4], SCORE[:4, None])


def test_someone_alone_at_a_site_has_no_part_in_a_test():
    alone = np.zeros(24)
    alone[5] = 1
    with_site = fit_columns(build_design(np.column_stack([NUISANCE, alone]), SCORE[:, None]), GAP)
    others = np.delete(np.arange(24), 5)
    without = fit_columns(build_design(NUISANCE[others], SCORE[others, None]), GAP[others])
    assert with_site.estimate == pytest.approx(without.estimate, rel=1e-9)
