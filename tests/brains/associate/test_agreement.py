import numpy as np
import pytest
from scipy import stats

from aekit.brains.associate.agreement import measure_agreement

FIRST = np.array([31.2, 45.1, 52.3, 60.7, 28.4, 71.9, 39.5, 55.0])
SECOND = np.array([33.0, 44.2, 54.9, 61.0, 30.9, 70.1, 42.2, 56.4])


@pytest.mark.parametrize(
    ("first", "second", "icc", "low", "high"),
    [
        # The first two raters of Shrout & Fleiss 1979, table 2, and ages; ICC(A,1) of pingouin 0.5.
        ([9, 6, 8, 7, 10, 6], [2, 1, 4, 1, 5, 2], 0.125654, -0.02, 0.60),
        (FIRST, SECOND, 0.9910078973440621, 0.95, 1.00),
    ],
)
def test_the_icc_is_that_of_pingouin(first, second, icc, low, high):
    found = measure_agreement(np.array(first, float), np.array(second, float)).icc
    assert found.value == pytest.approx(icc, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.005)


def test_the_difference_is_that_of_a_paired_t_test():
    found = measure_agreement(FIRST, SECOND)
    paired = stats.ttest_rel(SECOND, FIRST)
    ends = paired.confidence_interval(0.95)
    assert found.difference == pytest.approx(((SECOND - FIRST).mean(), ends.low, ends.high), rel=1e-9)


def test_the_sd_within_participants_is_the_error_that_was_planted():
    random = np.random.default_rng(0)
    truth = random.normal(50, 15, 20_000)
    first, second = truth + random.normal(0, 3, 20_000), truth + random.normal(0, 3, 20_000)
    found = measure_agreement(first, second)
    assert found.sd_within == pytest.approx(3, rel=0.02)
    assert found.smallest_change == pytest.approx(1.96 * np.sqrt(2) * 3, rel=0.02)
    assert found.icc.value == pytest.approx(15**2 / (15**2 + 3**2), abs=0.005)
    assert np.mean(np.abs(second - first) < found.smallest_change) == pytest.approx(0.95, abs=0.01)


def test_a_shift_of_all_second_scans_lowers_the_icc_and_is_the_difference():
    shifted = measure_agreement(FIRST, FIRST + 10)
    assert shifted.difference == pytest.approx((10, 10, 10))
    assert shifted.icc.value < 0.85
    same = measure_agreement(FIRST, FIRST)
    assert same.icc.value == pytest.approx(1)
    assert same.sd_within == 0
