import numpy as np
import pytest

from aekit.brains.measures.recalibration import fit_recalibration, leave_one_out


def scanner(n, *, offset, slope, noise, seed=0):
    """Return predicted and true ages of a scanner where age = offset + slope x predicted + noise."""
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(20, 80, n)
    return predicted, offset + slope * predicted + rng.normal(0, noise, n)


def test_few_participants_give_the_mean_error_as_an_offset_and_no_slope():
    predicted, age = scanner(9, offset=-10, slope=0.5, noise=2)
    fit = fit_recalibration(predicted, age)
    assert fit.slope == 1
    np.testing.assert_allclose(fit(predicted), predicted + (age - predicted).mean())


def test_a_slope_that_helps_is_found_and_one_that_does_not_is_not():
    predicted, age = scanner(40, offset=20, slope=0.6, noise=3)
    fit = fit_recalibration(predicted, age)
    assert fit.slope == pytest.approx(np.polyfit(predicted, age, 1)[0], abs=0.03)  # hardly shrunk
    plain = [fit_recalibration(*scanner(20, offset=-10, slope=1, noise=5, seed=seed)) for seed in range(100)]
    assert np.mean([one.slope == 1 for one in plain]) > 0.6
    assert np.mean([abs(one.offset + 10) for one in plain]) < 1.5


def test_ages_that_say_nothing_are_shrunk_towards_their_mean():
    rng = np.random.default_rng(3)
    predicted, age = rng.uniform(20, 80, 40), rng.uniform(20, 80, 40)
    fit = fit_recalibration(predicted, age)
    assert abs(fit.slope) < 0.4
    assert fit(predicted).mean() == pytest.approx(age.mean())


@pytest.mark.parametrize("n", [6, 15])
def test_leave_one_out_is_a_fit_on_all_others(n):
    predicted, age = scanner(n, offset=20, slope=0.6, noise=3)
    found = leave_one_out(predicted, age)
    for row in range(n):
        fit = fit_recalibration(np.delete(predicted, row), np.delete(age, row))
        assert found[row] == pytest.approx(fit(predicted[[row]])[0])
    changed = age.copy()
    changed[0] += 1000
    assert leave_one_out(predicted, changed)[0] == pytest.approx(found[0])


def test_equal_predictions_have_an_offset_alone():
    fit = fit_recalibration(np.full(12, 40.0), np.arange(12.0))
    assert (fit.slope, fit.offset) == (1.0, pytest.approx(5.5 - 40))
