import numpy as np
import pytest

from aekit.brains.cohort.table import read_cohort
from aekit.brains.report.analysis import analyse_cohort
from aekit.brains.report.tables import counts_table, floor_table, missing_table, other_numbers, site_ages


@pytest.fixture
def analysis(participants, write_table, tmp_path):
    """Return the analysis of forty participants with a column of their own."""
    table = participants(40)
    table["iq"] = 100 + np.arange(40.0)
    table.loc[0, ["age", "iq"]] = np.nan
    cohort = read_cohort(write_table(table, tmp_path / "t.tsv"))
    return analyse_cohort(cohort, np.array(["train"] * 30 + ["test"] * 10, dtype=object))


def test_every_variable_counts_everyone_once(analysis):
    table = counts_table(analysis)
    for _, rows in table.groupby("variable"):
        assert rows["n"].sum() == 40
        assert rows["share"].sum() == pytest.approx(1)
    assert (table[["n_female", "n_male", "n_sex_missing"]].sum(axis=1) == table["n"]).all()


def test_the_floor_of_a_split_is_that_of_the_mean_and_median_of_train(analysis):
    age = analysis.cohort.age_years
    rows = floor_table(analysis).set_index(["predictor", "evaluated_on"])
    assert rows.loc[("mean", "test"), "age_years"] == pytest.approx(np.nanmean(age[:30]))
    assert rows.loc[("median", "test"), "mae_years"] == pytest.approx(np.abs(age[30:] - np.nanmedian(age[:30])).mean())


def test_missing_values_and_other_numbers_are_counted(analysis):
    missing = missing_table(analysis).set_index("column")
    assert (missing.loc["iq", "n_missing"], missing.loc["iq", "kind"]) == (1, "number")
    [(name, n, mean, _, _)] = other_numbers(analysis)
    assert (name, n, mean) == ("iq", 39, 120.0)


def test_sites_come_with_the_largest_first(analysis):
    ages = site_ages(analysis)
    assert [len(each) for each in ages.values()] == [20, 19]
