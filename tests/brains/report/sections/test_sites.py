import re

import numpy as np
import pytest

from aekit.brains.report.sections.sites import site_section


@pytest.fixture(scope="module")
def planted(analyse_table, participants):
    """Return the analysis of sixty participants, those of the first site with 200 mL more grey matter."""
    table = participants(60)
    table["gmv"] += np.where(table["site"] == "<b>A", 200.0, 0.0)
    table.loc[59, "site"] = "alone"
    return analyse_table(table)[0]


def test_a_planted_difference_is_found_around_the_mean_of_all_sites(planted, shown):
    (table,) = shown(site_section(planted, {})).tables
    grey = {row[0]: [float(part) for part in re.findall(r"[+-]\d+", row[4])] for row in table.rows}
    assert table.columns[4] == "grey matter (mL)"
    assert sum(value for value, _, _ in grey.values()) == pytest.approx(0, abs=1.5)  # rounded to mL
    assert grey["<b>A"][0] - grey["B"][0] == pytest.approx(200, abs=40)
    for value, low, high in grey.values():
        assert value - low == pytest.approx(high - value, abs=1)
        assert low < value < high


def test_ages_are_those_of_each_site_and_one_participant_has_no_spread(planted, shown):
    rows = shown(site_section(planted, {})).rows()
    age = planted.cohort.age_years[30:59]
    assert rows["B"][:3] == [29, f"{age.mean():.1f}", f"{age.std(ddof=1):.1f}"]
    assert rows["alone"][:3] == [1, f"{planted.cohort.age_years[59]:.1f}", ""]


def test_the_variance_that_sites_explain_is_largest_where_it_was_planted(planted, shown):
    text = shown(site_section(planted, {})).texts[-1]
    assert text.startswith("Of the variance not explained by age and sex, sites explain: grey matter ")
    explained = dict(re.findall(r"(grey matter|white matter|CSF|total) ([\d.]+) %", text))
    assert float(explained["grey matter"]) > 50
    assert float(explained["white matter"]) < 15
    assert re.search(r"grey matter [\d.]+ % \(p < 0\.001\)", text)


def test_sites_without_volumes_are_compared_by_age_alone(analyse_table, participants, shown):
    table = participants(9)[["participant_id", "age"]].assign(site=["A"] * 5 + ["B"] * 4)
    found = shown(site_section(analyse_table(table)[0], {}))
    assert found.texts == []
    assert [row[:2] for row in found.tables[0].rows] == [["A", 5], ["B", 4]]
