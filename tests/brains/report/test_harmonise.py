"""Columns lose what was planted of sites, keep their trends, and who cannot be corrected is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from aekit.brains.cohort.table import read_cohort
from aekit.brains.report.harmonise import describe_harmonised, harmonise
from aekit.errors import AekitError


@pytest.fixture
def cohort_with(participants, write_table, tmp_path):
    """Return a function that reads a table of 120 participants of three sites, of which C adds 60 mL of grey matter."""

    def read(change=lambda table: table):
        table = participants(120)
        table["site"] = np.resize(["A", "B", "C"], 120)
        table["gmv"] += np.where(table["site"] == "C", 60.0, 0.0)
        return read_cohort(write_table(change(table), tmp_path / "t.tsv"))

    return read


def train_of(cohort):
    return np.where(np.arange(len(cohort)) % 4 == 3, "test", "train").astype(object)


def test_a_planted_effect_is_removed_and_nothing_else(cohort_with):
    cohort = cohort_with()
    found = harmonise(cohort, train_of(cohort), "gmv,wmv")
    assert found.names == ("gmv", "wmv")
    before, after = found.explained[0]
    assert before > 0.15
    assert after < 0.05
    change = found.values - cohort.table[["gmv", "wmv"]].to_numpy()
    own = cohort.site == "C"
    assert np.mean(change[own, 0]) - np.mean(change[~own, 0]) == pytest.approx(-60, abs=25)
    # The trend with age is that of the table: sites were drawn regardless of age.
    age = cohort.age_years
    assert np.polyfit(age, found.values[:, 0], 1)[0] == pytest.approx(
        np.polyfit(age, cohort.table["gmv"], 1)[0], rel=0.1
    )


def test_those_of_test_do_not_change_what_is_removed(cohort_with):
    cohort = cohort_with()
    split = train_of(cohort)
    first = harmonise(cohort, split, "gmv")
    changed = cohort.table.copy()
    changed.loc[split == "test", "gmv"] *= 1.5
    again = harmonise(type(cohort)(cohort.name, changed, cohort.repairs, cohort.left_out), split, "gmv")
    assert np.array_equal(first.combat.location, again.combat.location)
    assert np.array_equal(first.values[split == "train"], again.values[split == "train"])


def test_who_cannot_be_corrected_is_counted_and_left_empty(cohort_with):
    def change(table):
        table.loc[3, "site"] = "new"  # in test alone
        table.loc[4, "site"] = np.nan
        table.loc[5, "gmv"] = np.nan
        return table

    cohort = cohort_with(change)
    found = harmonise(cohort, train_of(cohort), "gmv")
    assert list(np.flatnonzero(np.isnan(found.values[:, 0]))) == [3, 4, 5]
    said = describe_harmonised(found)
    assert "1 participant of sites with fewer than two in train not corrected" in said
    assert "unknown: new" in said
    assert "1 participant without a site not corrected" in said
    assert "1 participant without a value in one of the columns not corrected" in said


def test_patterns_take_numeric_columns_and_results_are_columns_of_the_table(cohort_with):
    def change(table):
        table["roi_1"], table["roi_2"], table["roi_name"] = table["gmv"] / 10, table["wmv"] / 10, "x"
        return table

    cohort = cohort_with(change)
    found = harmonise(cohort, train_of(cohort), "roi_*")
    assert found.names == ("roi_1", "roi_2")
    table = found.add_to(cohort.table)
    assert list(table.columns[-2:]) == ["roi_1_combat", "roi_2_combat"]
    again = found.add_to(table)
    assert list(again.columns) == list(table.columns)
    effects = found.effects_table()
    assert list(effects["site"].unique()) == ["A", "B", "C"]
    assert effects.groupby("site")["n_train"].first().sum() == 90


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("gvm", "no column of t.tsv is called gvm; did you mean 'gmv'"),
        ("roi_*", r"no column of t.tsv is called roi_\*; give names or patterns"),
        (" ,", "is empty"),
        ("handedness", "column handedness of t.tsv is not numeric"),
        ("age", "no column of t.tsv is called age"),
    ],
)
def test_columns_that_cannot_be_harmonised_are_refused(cohort_with, columns, message):
    cohort = cohort_with(lambda table: table.assign(handedness="right"))
    with pytest.raises(AekitError, match=f"--combat: {message}"):
        harmonise(cohort, train_of(cohort), columns)


def test_without_sites_there_is_nothing_to_remove(cohort_with):
    cohort = cohort_with(lambda table: table.drop(columns="site"))
    with pytest.raises(AekitError, match=r"--combat: t\.tsv has no column site"):
        harmonise(cohort, train_of(cohort), "gmv")
    cohort = cohort_with(lambda table: table.assign(site="A"))
    with pytest.raises(AekitError, match=r"^--combat: 1 site has two participants"):
        harmonise(cohort, train_of(cohort), "gmv")


def test_the_table_of_the_report_reads_back_with_the_new_columns(cohort_with, tmp_path):
    cohort = cohort_with()
    found = harmonise(cohort, train_of(cohort), "gmv")
    found.add_to(cohort.table).to_csv(tmp_path / "again.tsv", sep="\t", index=False)
    again = read_cohort(tmp_path / "again.tsv").table
    pd.testing.assert_series_equal(again["gmv"], cohort.table["gmv"])
    np.testing.assert_allclose(again["gmv_combat"], found.values[:, 0])
