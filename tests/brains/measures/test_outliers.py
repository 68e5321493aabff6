import numpy as np
import pytest
from scipy import stats
from sklearn.covariance import MinCovDet

from aekit.brains.measures.age_trend import age_sex_design, fit_age_basis
from aekit.brains.measures.outliers import fit_outlier_limits
from aekit.errors import AekitError

MIXED = np.array([[30.0, 0.0, 0.0], [12.0, 16.0, 0.0], [-6.0, 9.0, 20.0]])


def cohort(n, *, seed=0, noise=None):
    """Return volumes that bend with age and differ by sex, ages and sexes; noise is a factor of the SD by age."""
    generator = np.random.default_rng(seed)
    age = generator.uniform(8, 80, n)
    sex = np.where(generator.random(n) < 0.5, "F", "M").astype(object)
    bend = np.column_stack([700 - 0.05 * (age - 20) ** 2, 500 - 0.04 * (age - 45) ** 2, 200 + 2.0 * age])
    factor = np.ones(n) if noise is None else noise(age)
    values = bend + 60 * (sex == "M")[:, None] + factor[:, None] * (generator.normal(size=(n, 3)) @ MIXED.T)
    return values, age, sex


@pytest.mark.slow
def test_robust_z_of_usual_participants_is_standard_normal():
    values, age, sex = cohort(4000)
    z = fit_outlier_limits(values, age, sex).robust_z(values, age, sex)
    assert np.abs(z.mean(axis=0)).max() < 0.05
    np.testing.assert_allclose(z.std(axis=0), 1, atol=0.04)
    for column in z.T:
        assert stats.kstest(column, "norm").pvalue > 0.01


@pytest.mark.slow
def test_z_is_taken_given_age_and_sex():
    values, age, sex = cohort(3000)
    limits = fit_outlier_limits(values, age, sex)
    person, at, woman = np.array([[700.0, 500.0, 240.0]]), np.array([20.0]), np.array(["F"], dtype=object)
    man = np.array(["M"], dtype=object)
    # The truth of the recipe: a woman of 20 has 700 mL of grey matter on average, a man 760, SD 30.
    assert limits.robust_z(person, at, woman)[0, 0] == pytest.approx(0, abs=0.15)
    assert limits.robust_z(person, at, man)[0, 0] == pytest.approx(-2, abs=0.15)
    unknown = limits.robust_z(person, at, np.array([np.nan], dtype=object))[0, 0]
    assert unknown == pytest.approx(-1, abs=0.15)


@pytest.mark.slow
def test_mahalanobis_distances_follow_chi_squared_of_usual_people():
    values, age, sex = cohort(4000, seed=1)
    limits = fit_outlier_limits(values, age, sex, p_limit=0.01)
    squared = limits.mahalanobis(values, age, sex)
    assert stats.kstest(squared, "chi2", args=(3,)).statistic < 0.03
    assert (squared > limits.squared_limit).mean() == pytest.approx(0.01, abs=0.006)


@pytest.mark.slow
def test_the_distance_is_that_of_scikit_learns_estimate_up_to_scale():
    values, age, sex = cohort(800, seed=2)
    limits = fit_outlier_limits(values, age, sex)
    theirs = MinCovDet(random_state=0).fit(limits.robust_z(values, age, sex))
    ours = limits.mahalanobis(values, age, sex)
    ratio = ours / theirs.mahalanobis(limits.robust_z(values, age, sex))
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-6)


def test_a_fifth_of_gross_errors_does_not_hide_itself():
    values, age, sex = cohort(500, seed=3)
    wrong = values.copy()
    wrong[:100] += np.array([500.0, 0.0, 0.0])
    limits = fit_outlier_limits(wrong, age, sex)
    flagged = limits.flag(wrong, age, sex)
    assert flagged[:100].all()
    assert flagged[100:].mean() < 0.02
    # Ordinary least squares hides them: none of their z values passes the limit.
    design = age_sex_design(fit_age_basis(age), age, sex)
    residual = wrong[:, 0] - design @ np.linalg.lstsq(design, wrong[:, 0], rcond=None)[0]
    assert (np.abs(residual[:100] / residual.std()) < 3.5).all()


@pytest.mark.slow
def test_the_distance_detects_what_no_single_measure_shows():
    values, age, sex = cohort(1000, seed=4)
    odd = values[:1].copy()
    limits = fit_outlier_limits(values, age, sex)
    # Against the correlation of .6: large grey matter with little white, 2.5 SD each.
    z = limits.robust_z(odd, age[:1], sex[:1])[0]
    odd[0, 0] += (2.5 - z[0]) * 30
    odd[0, 1] += (-2.5 - z[1]) * 20
    odd[0, 2] += (0 - z[2]) * np.linalg.norm(MIXED[2])
    assert np.abs(limits.robust_z(odd, age[:1], sex[:1])).max() < 3
    assert limits.flag(odd, age[:1], sex[:1]).all()


@pytest.mark.slow
def test_a_spread_that_grows_with_age_does_not_make_old_participants_outliers():
    values, age, sex = cohort(6000, seed=5, noise=lambda age: 0.5 + age / 60)
    limits = fit_outlier_limits(values, age, sex)
    flagged = limits.flag(values, age, sex)
    old = age > 60
    assert flagged[old].mean() < 0.006
    single = np.median(np.abs(limits.robust_z(values, age, sex)[old]), axis=0)
    np.testing.assert_allclose(single, 0.6745, atol=0.08)


@pytest.mark.slow
def test_proportions_count_as_two_independent_ones():
    values, age, sex = cohort(2000, seed=6)
    shares = values / values.sum(axis=1, keepdims=True)
    limits = fit_outlier_limits(shares, age, sex)
    assert len(limits.kept) == 2
    squared = limits.mahalanobis(shares, age, sex)
    assert stats.kstest(squared, "chi2", args=(2,)).statistic < 0.05
    assert limits.squared_limit == pytest.approx(stats.chi2.ppf(0.999, 2), rel=0.03)


def test_what_is_missing_is_never_flagged_and_moves_nothing():
    values, age, sex = cohort(300, seed=7)
    limits = fit_outlier_limits(values, age, sex)
    gap = np.vstack([values, [[9999.0, np.nan, 200.0], [9999.0, 1.0, 1.0]]])
    gap_age, gap_sex = np.append(age, [30.0, np.nan]), np.append(sex, ["F", "F"])
    again = fit_outlier_limits(gap, gap_age, gap_sex)
    np.testing.assert_array_equal(again.coefficients, limits.coefficients)
    z = again.robust_z(gap, gap_age, gap_sex)
    assert np.isnan(z[-2, 1])
    assert np.isnan(z[-1]).all()
    assert not again.flag(gap, gap_age, gap_sex)[-1]
    assert again.flag(gap, gap_age, gap_sex)[-2]  # its grey matter is there, and absurd
    assert np.isnan(again.mahalanobis(gap, gap_age, gap_sex)[-2:]).all()


def test_limits_of_some_participants_are_applied_to_others_unchanged():
    values, age, sex = cohort(400, seed=8)
    limits = fit_outlier_limits(values[:200], age[:200], sex[:200])
    alone = limits.robust_z(values[300:301], age[300:301], sex[300:301])
    np.testing.assert_array_equal(alone[0], limits.robust_z(values, age, sex)[300])


def test_ages_beyond_those_seen_are_treated_as_the_nearest_seen():
    values, age, sex = cohort(300, seed=9)
    limits = fit_outlier_limits(values, age, sex)
    ages = np.array([age.max(), 119.0])
    z = limits.robust_z(np.repeat(values[:1], 2, axis=0), ages, np.array(["F", "F"], dtype=object))
    np.testing.assert_array_equal(z[0], z[1])


def test_a_cohort_of_unknown_sex_still_has_limits():
    values, age, _ = cohort(100, seed=10)
    unknown = np.full(100, np.nan, dtype=object)
    assert np.isfinite(fit_outlier_limits(values, age, unknown).robust_z(values, age, unknown)).all()


@pytest.mark.parametrize("column", [np.full(50, 7.0), np.r_[np.full(40, 7.0), np.arange(10.0)]])
def test_a_measure_that_hardly_varies_breaks_nothing(column):
    values, age, sex = cohort(50, seed=11)
    values[:, 1] = column
    limits = fit_outlier_limits(values, age, sex)
    assert np.isfinite(limits.robust_z(values, age, sex)).all()
    assert np.isfinite(limits.mahalanobis(values, age, sex)).all()


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 30, 60, 100])
def test_few_participants_are_not_outliers_by_chance_and_neither_are_others(n):
    own, others = [], []
    for seed in range(12):
        values, age, sex = cohort(n, seed=seed)
        limits = fit_outlier_limits(values, age, sex)
        own.append(limits.flag(values, age, sex).mean())
        others.append(limits.flag(*cohort(500, seed=1000 + seed)).mean())
    assert np.mean(own) < 0.005
    assert np.mean(others) < 0.005  # it was 0.06, 0.03, 0.015 and 0.01


@pytest.mark.slow
def test_limits_of_many_participants_are_the_stated_ones_and_of_few_wider():
    limits = [fit_outlier_limits(*cohort(n)) for n in (20, 60, 200, 5000)]
    z_limits, squared = [each.z_limit for each in limits], [each.squared_limit for each in limits]
    assert z_limits == sorted(z_limits, reverse=True)
    assert squared == sorted(squared, reverse=True)
    assert z_limits[-1] == pytest.approx(3.5, abs=0.02)
    assert z_limits[0] == pytest.approx(stats.t.isf(stats.norm.sf(3.5), 0.36 * 17))
    assert squared[-1] == pytest.approx(stats.chi2.ppf(0.999, 3), rel=0.02)


def test_participants_of_one_age_have_limits():
    values, _, sex = cohort(60, seed=12)
    age = np.full(60, 21.0)
    assert np.isfinite(fit_outlier_limits(values, age, sex).mahalanobis(values, age, sex)).all()


def test_too_few_participants_are_refused_with_their_number():
    values, age, sex = cohort(12, seed=13)
    age[:4] = np.nan
    with pytest.raises(AekitError, match="8 participants with an age and all measures, too few"):
        fit_outlier_limits(values, age, sex)


def test_arrays_of_different_lengths_are_a_bug():
    values, age, sex = cohort(20, seed=14)
    with pytest.raises(ValueError, match="19 ages"):
        fit_outlier_limits(values, age[:19], sex)
    with pytest.raises(ValueError, match="3 measures"):
        fit_outlier_limits(values, age, sex).robust_z(values[:, :2], age, sex)
