from statistics import NormalDist

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from aekit.brains.measures.age_trend import age_sex_design, fit_age_basis, sex_code, smooth_line


def test_the_basis_contains_every_natural_spline_of_its_knots():
    age = np.random.default_rng(0).uniform(10, 80, 300)
    basis = fit_age_basis(age)
    assert basis.columns(age).shape == (300, basis.n_columns)
    natural = CubicSpline(basis.knots_years, [3.0, -1.0, 4.0, 1.0, 5.0], bc_type="natural")
    inside = np.linspace(basis.knots_years[0], basis.knots_years[-1], 200)
    design = np.column_stack([np.ones(200), basis.columns(inside)])
    fitted = design @ np.linalg.lstsq(design, natural(inside), rcond=None)[0]
    np.testing.assert_allclose(fitted, natural(inside), atol=1e-8)


def test_beyond_its_knots_the_basis_is_straight():
    basis = fit_age_basis(np.linspace(20, 60, 200))
    columns = basis.columns(np.array([80.0, 90.0, 100.0, 110.0]))
    np.testing.assert_allclose(np.diff(columns, n=2, axis=0), 0, atol=1e-9)


@pytest.mark.parametrize(("n", "n_knots"), [(12, 2), (60, 4), (1000, 5)])
def test_few_participants_get_few_knots(n, n_knots):
    assert len(fit_age_basis(np.linspace(10, 80, n)).knots_years) == n_knots


def test_ages_that_repeat_leave_no_column_twice():
    age = np.repeat([20.0, 21.0], 100)
    basis = fit_age_basis(age)
    assert len(np.unique(basis.knots_years)) == len(basis.knots_years) >= 2


def test_an_unknown_sex_lies_halfway():
    sex = np.array(["F", "M", np.nan, None], dtype=object)
    np.testing.assert_array_equal(sex_code(sex), [-0.5, 0.5, 0, 0])
    assert age_sex_design(fit_age_basis(np.array([1.0, 2, 3, 4])), np.array([1.0, 2, 3, 4]), sex).shape == (4, 3)


def test_a_straight_line_stays_a_straight_line():
    age = np.random.default_rng(1).uniform(10, 80, 500)
    line = smooth_line(age, 3 - 0.5 * age)
    np.testing.assert_allclose(line.value, 3 - 0.5 * line.age_years, atol=1e-6)


def test_the_line_follows_a_curve_and_its_interval_covers_the_mean():
    covered = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        age = generator.uniform(10, 80, 400)
        line = smooth_line(age, 5 + 0.01 * age + generator.normal(size=400))
        middle = len(line.age_years) // 2
        truth = 5 + 0.01 * line.age_years[middle]
        covered.append(line.low[middle] < truth < line.high[middle])
    assert 0.85 < np.mean(covered) <= 1.0
    bent = smooth_line(age, np.sin(age / 15), fraction=0.2)
    assert np.abs(bent.value - np.sin(bent.age_years / 15)).max() < 0.1


def test_the_standard_error_is_that_of_weighted_least_squares():
    generator = np.random.default_rng(2)
    age = np.sort(generator.uniform(10, 80, 3000))
    values = generator.normal(size=3000)
    line = smooth_line(age, values)
    middle = 30
    error = (line.high - line.low)[middle] / 2 / 1.96
    # In a window with tricube weights over 60 % of uniform ages, the sum of squared weights is known in closed form.
    u = np.linspace(-1, 1, 20001)
    tricube = (1 - np.abs(u) ** 3) ** 3
    n_window = 3000 * 0.6 * 1.1
    expected = np.sqrt(np.mean(tricube**2) / np.mean(tricube) ** 2 / n_window)
    assert error == pytest.approx(expected, rel=0.08)
    assert NormalDist().inv_cdf(0.975) == pytest.approx(1.96, abs=1e-3)


@pytest.mark.slow
def test_the_standard_error_is_the_spread_of_lines_even_at_the_ends():
    generator = np.random.default_rng(4)
    age = generator.uniform(10, 80, 300)
    lines = [smooth_line(age, generator.normal(size=300)) for _ in range(150)]
    spread = np.std([line.value for line in lines], axis=0)
    error = np.mean([line.high - line.low for line in lines], axis=0) / 2 / 1.96
    assert spread[0] > 1.5 * spread[30]
    np.testing.assert_allclose(error[[0, 15, 30, 45, 59]], spread[[0, 15, 30, 45, 59]], rtol=0.2)


def test_a_group_of_wrong_values_moves_the_line_less_than_a_mean():
    generator = np.random.default_rng(5)
    age = generator.uniform(10, 80, 400)
    values = generator.normal(size=400)
    values[:60] += 8
    assert values.mean() > 1
    assert np.abs(smooth_line(age, values).value[10:50]).max() < 0.5


def test_one_absurd_value_hardly_moves_the_line():
    generator = np.random.default_rng(3)
    age = generator.uniform(10, 80, 200)
    values = 600 + generator.normal(0, 20, 200)
    usual = smooth_line(age, values)
    values[0] = 600_000
    assert np.abs(smooth_line(age, values).value - usual.value).max() < 3


def test_ages_far_apart_leave_no_hole_in_the_line():
    age = np.array([20.0, 20, 20, 20, 80, 80, 80, 81])
    line = smooth_line(age, np.arange(8.0))
    assert np.isfinite(line.value).all()
    assert np.isfinite(line.low).all()


def test_two_participants_make_no_line():
    with pytest.raises(ValueError, match="2 participants"):
        smooth_line(np.array([1.0, 2.0]), np.array([1.0, 2.0]))


def test_participants_of_one_age_make_a_flat_line():
    line = smooth_line(np.full(20, 30.0), np.arange(20.0))
    np.testing.assert_allclose(line.value, 9.5, atol=1e-6)
