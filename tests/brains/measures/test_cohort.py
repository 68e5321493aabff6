import numpy as np
import pytest
from scipy import stats

from aekit.brains.measures.cohort import (
    absolute_error,
    age_floor,
    cohens_d,
    correlate,
    describe,
    sex_difference,
    site_difference,
    stronger_correlation,
)


def test_the_floor_is_the_error_of_one_age_for_everyone():
    age = np.array([10.0, 20, 30, 100])
    floor = age_floor(age)
    assert (floor.mean_years, floor.median_years) == (40, 25)
    assert floor.mae_mean_years.value == pytest.approx((30 + 20 + 10 + 60) / 4)
    assert floor.mae_median_years.value == pytest.approx((15 + 5 + 5 + 75) / 4)
    assert floor.mae_median_years.value <= floor.mae_mean_years.value


@pytest.mark.parametrize("n", [10, 20, 150])
def test_the_floors_intervals_contain_the_truth_as_often_as_stated(n):
    # The mean absolute deviation of a normal distribution is sqrt(2 / pi) SD. A percentile bootstrap held .84 (n = 10).
    truth = 15 * np.sqrt(2 / np.pi)
    floors = [age_floor(np.random.default_rng(seed).normal(45, 15, n)) for seed in range(400)]
    for name in ("mae_mean_years", "mae_median_years"):
        held = [getattr(floor, name).low < truth < getattr(floor, name).high for floor in floors]
        assert 0.93 < np.mean(held) < 0.995


def test_the_error_of_a_constant_is_inside_its_interval_which_is_never_negative():
    error = absolute_error(np.array([20.0, 21, 22, 23, 24, 70]), 22)
    assert error.value == pytest.approx((2 + 1 + 0 + 1 + 2 + 48) / 6)
    assert 0 < error.low < error.value < error.high
    assert absolute_error(np.full(9, 30.0), 30) == (0, 0, 0)
    few = absolute_error(np.array([20.0, 30, 70, 71]), 40)  # Student's t began at -6 years
    assert np.isnan(few[1:]).all()


def test_a_large_cohort_has_its_floor_quickly():
    floor = age_floor(np.random.default_rng(0).normal(45, 15, 100_000))
    assert floor.mae_mean_years.high - floor.mae_mean_years.low < 0.2


def test_one_participant_has_no_interval():
    floor = age_floor(np.array([33.0]))
    assert floor.mae_mean_years.value == 0
    assert np.isnan(floor.mae_mean_years.low)


def test_a_distribution_counts_what_is_missing():
    found = describe(np.array([1.0, 2, 3, 4, np.nan]))
    assert (found.n, found.n_missing, found.mean) == (4, 1, 2.5)
    assert found.sd == pytest.approx(np.sqrt(5 / 3))
    assert found.percentiles[2] == 2.5
    assert found.skewness == pytest.approx(0, abs=1e-12)
    assert describe(np.array([np.nan])).n == 0
    assert np.isnan(describe(np.array([5.0])).sd)
    assert np.isnan(describe(np.full(9, 5.0)).skewness)


def test_correlations_are_scipys_over_participants_with_both():
    generator = np.random.default_rng(0)
    a = generator.normal(size=60)
    measures = np.column_stack([a, a + generator.normal(size=60), np.full(60, 3.0)])
    measures[:10, 1] = np.nan
    found = correlate(measures)
    theirs = stats.pearsonr(measures[10:, 0], measures[10:, 1])
    interval = theirs.confidence_interval(0.95)
    assert found.n[0, 1] == 50
    assert found.pearson[0, 1] == found.pearson[1, 0] == pytest.approx(theirs.statistic)
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx((interval.low, interval.high))
    assert found.spearman[0, 1] == pytest.approx(stats.spearmanr(measures[10:, 0], measures[10:, 1]).statistic)
    assert np.isnan(found.pearson[0, 2])
    assert found.pearson[0, 0] == 1


def test_the_gain_in_correlation_covers_the_truth_and_ignores_signs():
    # Population: age = n0; first = age + 0.5 noise shared, second = -(age) + 1.5 noise, noises correlated.
    held = []
    for seed in range(300):
        generator = np.random.default_rng(seed)
        age, shared, own = generator.normal(size=(3, 100))
        first, second = age + 0.5 * shared, -(age + 1.2 * (0.6 * shared + 0.8 * own))
        found = stronger_correlation(first, second, age)
        truth = 1 / np.sqrt(1.25) - 1 / np.sqrt(2.44)
        held.append(found.low < truth < found.high)
    assert 0.91 < np.mean(held) < 0.985
    assert found.value == pytest.approx(-stronger_correlation(second, first, age).value)


def test_a_measure_against_itself_gains_nothing():
    generator = np.random.default_rng(1)
    age, noise = generator.normal(size=(2, 80))
    found = stronger_correlation(age + noise, -3 * (age + noise), age)
    assert found.value == pytest.approx(0, abs=1e-12)
    assert found.high - found.low < 0.08  # of one correlation alone it is 0.2
    assert np.isnan(stronger_correlation(age, np.ones(80), age).value)


def test_cohens_d_and_its_interval_are_those_of_the_noncentral_t():
    first, second = np.array([5.0, 7, 9, 6, 8, 10]), np.array([4.0, 6, 5, 3, 7])
    found = cohens_d(first, second)
    t = stats.ttest_ind(first, second).statistic
    scale = np.sqrt(1 / 6 + 1 / 5)
    assert found.value == pytest.approx(t * scale)
    # By definition: with the ends as truth, t lies at 97.5 and 2.5 %.
    assert stats.nct.cdf(t, 9, found.low / scale) == pytest.approx(0.975, abs=1e-4)
    assert stats.nct.cdf(t, 9, found.high / scale) == pytest.approx(0.025, abs=1e-4)


@pytest.mark.parametrize(("n", "m", "shift"), [(2, 2, 3.0), (3, 40, -2.0), (22, 22, -0.5), (300, 500, 1.0)])
def test_the_interval_of_d_is_right_for_groups_of_any_size(n, m, shift):
    # Against draws from the definition: with an end as truth, d lies beyond what was found in 2.5 % of draws.
    generator = np.random.default_rng(n)
    found = cohens_d(generator.normal(shift, 1, n), generator.normal(0, 1, m))
    scale, n_free = np.sqrt(1 / n + 1 / m), n + m - 2
    spread = np.sqrt(generator.chisquare(n_free, 400_000) / n_free)
    for end, share in ((found.low, 0.975), (found.high, 0.025)):
        drawn = (end / scale + generator.normal(size=400_000)) / spread
        assert (drawn < found.value / scale).mean() == pytest.approx(share, abs=0.002)


def test_the_interval_of_d_holds_for_100_000_participants():
    generator = np.random.default_rng(2)
    huge = cohens_d(generator.normal(1.5, 1, 50_000), generator.normal(0, 1, 50_000))
    assert huge.low < 1.5 < huge.high
    error = np.sqrt(2 / 50_000 + 1.5**2 / 200_000)  # of large samples
    assert huge.high - huge.low == pytest.approx(2 * 1.96 * error, rel=0.02)


def test_groups_without_spread_or_participants_have_no_d():
    assert np.isnan(cohens_d(np.ones(5), np.ones(5)).value)
    assert np.isnan(cohens_d(np.ones(1), np.arange(5.0)).value)


def people(n, seed=0):
    generator = np.random.default_rng(seed)
    sex = np.where(generator.random(n) < 0.5, "F", "M").astype(object)
    return generator, generator.uniform(20, 80, n), sex


def test_the_sexes_differ_as_constructed_with_men_positive():
    generator, age, sex = people(5000)
    values = 600 + 80 * (sex == "M") + generator.normal(0, 80, 5000)
    values[:10] = np.nan
    found = sex_difference(values, age, sex)
    assert found.d.low < 1 < found.d.high
    assert found.d_given_age.low < 1 < found.d_given_age.high
    assert found.male.mean - found.female.mean == pytest.approx(80, abs=8)
    assert found.female.n + found.male.n == 4990
    assert 0 < found.hedges_g < found.d.value


def test_hedges_correction_is_the_known_one():
    _, age, sex = people(20, seed=3)
    values = np.arange(20.0)
    found = sex_difference(values, age, sex)
    assert found.hedges_g / found.d.value == pytest.approx(1 - 3 / (4 * 18 - 1), rel=1e-3)


def test_a_difference_in_age_is_not_a_difference_given_age():
    generator, age, sex = people(3000, seed=4)
    age = np.where(sex == "M", age, age * 0.7)
    values = 800 - 4 * age + 0.03 * age**2 + generator.normal(0, 20, 3000)
    found = sex_difference(values, age, sex)
    assert found.d.high < -0.3
    assert found.d_given_age.low < 0 < found.d_given_age.high


@pytest.mark.slow
def test_the_interval_given_age_covers_the_truth():
    held = []
    for seed in range(120):
        generator, age, sex = people(80, seed=seed)
        found = sex_difference(age + 0.5 * (sex == "M") + generator.normal(size=80), age, sex)
        held.append(found.d_given_age.low < 0.5 < found.d_given_age.high)
    assert 0.89 < np.mean(held) < 0.995


def test_sites_differ_by_what_was_added_given_age_and_sex():
    generator, age, sex = people(900, seed=5)
    site = np.repeat(["A", "B", "C"], 300).astype(object)
    age = np.where(site == "A", age - 10, age)  # younger participants at A, which is not a site effect
    values = 900 - 3 * age + 50 * (sex == "M") + generator.normal(0, 20, 900)
    values[site == "C"] += 30
    found = site_difference(values, age, sex, site)
    np.testing.assert_allclose(found.difference, [-10, -10, 20], atol=4)
    assert ((found.low < [-10, -10, 20]) & (found.high > [-10, -10, 20])).all()
    assert found.p_value < 1e-6
    assert found.explained == pytest.approx(200 / 600, abs=0.06)  # variance of (-10, -10, 20), and noise of 400
    assert found.mean[0] == pytest.approx(values[site == "A"].mean())


def test_equal_sites_give_even_p_values():
    values = []
    for seed in range(150):
        generator, age, sex = people(60, seed=seed)
        site = np.array(["A", "B", "C"] * 20, dtype=object)
        values.append(site_difference(generator.normal(size=60), age, sex, site).p_value)
    assert stats.kstest(values, "uniform").pvalue > 0.01


def test_one_site_or_too_few_participants_make_no_comparison():
    _, age, sex = people(30, seed=6)
    assert site_difference(age, age, sex, np.full(30, "A", dtype=object)) is None
    assert site_difference(age, age, sex, np.full(30, np.nan, dtype=object)) is None
    few = np.array(["A", "B"], dtype=object)
    assert site_difference(age[:2], age[:2], sex[:2], few) is None


def test_participants_without_a_site_are_left_out():
    generator, age, sex = people(60, seed=7)
    site = np.array(["A", "B", np.nan] * 20, dtype=object)
    found = site_difference(generator.normal(size=60), age, sex, site)
    assert found.sites == ("A", "B")
    assert found.n.sum() == 40
