import numpy as np
import pytest

from aekit.brains.measures.space import check_space


def test_space_follows_from_the_size_of_heads():
    generator = np.random.default_rng(8)
    table = generator.normal(1450, 130, 60)
    native = check_space(table * 1.04 + generator.normal(0, 20, 60), table)
    assert (native.space, native.unit_factor) == ("native", 1)
    assert native.slope == pytest.approx(1.04, abs=0.01)
    assert check_space(np.full(60, 1800.0) + np.tile([-1, 1], 30), np.sort(table)).space == "normalised"
    halfway = table + generator.normal(0, 130, 60)
    assert check_space(halfway, table).space == "undecided"
    assert check_space(table[:5], table[:5]).space == "undecided"


@pytest.mark.parametrize("factor", [1e-3, 1e3, 1e6])
def test_a_wrong_unit_is_a_power_of_a_thousand(factor):
    table = np.random.default_rng(9).normal(1450, 130, 40)
    found = check_space(1.1 * table * factor, table)
    assert found.unit_factor == pytest.approx(factor)
    assert found.space == "native"


def test_scans_and_volumes_that_are_missing_do_not_count():
    table = np.random.default_rng(10).normal(1450, 130, 40)
    brain = table.copy()
    brain[:5] = np.nan
    assert check_space(brain, table).n == 35
    nothing = check_space(np.full(3, np.nan), table[:3])
    assert nothing.n == 0
    assert nothing.unit_factor == 1


def mixed(space, n_other):
    """Return brains and table of 60 participants, of whom the first have scans in the other space."""
    generator = np.random.default_rng(11)
    table = generator.normal(1450, 130, 60)
    native, normalised = table * np.exp(generator.normal(0.02, 0.01, 60)), generator.normal(1850, 15, 60)
    brain, other = (native, normalised) if space == "native" else (normalised, native)
    brain[:n_other] = other[:n_other]
    return brain, table


@pytest.mark.parametrize("space", ["native", "normalised"])
@pytest.mark.parametrize("n_other", [0, 1, 12])
def test_scans_of_the_other_space_are_told_from_the_rest(space, n_other):
    brain, table = mixed(space, n_other)
    found = check_space(brain, table)
    assert found.space == space
    # Those whose brain happens to be of the size of the others' do fit.
    expected = brain / table if space == "native" else brain
    far = np.abs(np.log(expected / np.median(expected[n_other:]))) > 0.12
    assert set(np.flatnonzero(far)) <= set(found.disagreeing) <= set(range(n_other))
    assert len(found.disagreeing) >= 0.6 * n_other
    assert set(found.each) <= {space, "disagrees"}


def test_a_few_wrong_rows_hide_the_space_from_a_correlation_but_not_from_the_ratio():
    brain, table = mixed("native", 6)
    found = check_space(brain, table)
    assert found.r < 0.9
    assert found.space == "native"
    assert found.spread == pytest.approx(0.01, abs=0.006)


def test_half_and_half_is_undecided_and_blames_nobody():
    found = check_space(*mixed("native", 30))
    assert (found.space, found.disagreeing) == ("undecided", [])


def test_the_ratio_of_each_scan_is_free_of_the_wrong_unit():
    brain, table = mixed("native", 1)
    brain[5] = np.nan
    found = check_space(brain * 1000, table)
    np.testing.assert_allclose(found.ratio, brain / table)
    assert found.each[5] == ""
    assert found.disagreeing == [0]
