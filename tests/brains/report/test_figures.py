import numpy as np
import pytest

from aekit.brains.measures.age_trend import smooth_line
from aekit.brains.report.figures import _sites, _trends
from aekit.brains.report.tables import sites_table


def test_a_line_against_age_is_that_of_one_sex_and_of_those_who_have_both_values(cohort_study, cohort_table):
    analysis, _ = cohort_study
    lines = _trends(analysis, analysis.measures["volumes"], number=1)
    assert list(lines) == ["F", "M"]
    known = cohort_table.dropna(subset=["age", "wmv"])
    for sex, own in known.groupby("sex"):
        expected = smooth_line(own["age"].to_numpy(), own["wmv"].to_numpy())
        np.testing.assert_allclose(lines[sex].value, expected.value, rtol=1e-6)


@pytest.mark.parametrize(("age_of_women", "with_lines"), [(None, ["F"]), (50.0, [])])
def test_fewer_than_ten_of_one_sex_and_equal_ages_have_no_line(analyse_table, participants, age_of_women, with_lines):
    table = participants(19).drop(columns=["wmv", "csfv"])  # every other one a woman: ten, and nine men
    if age_of_women is not None:
        table.loc[table["sex"] == "F", "age"] = age_of_women
    analysis, _ = analyse_table(table)
    assert list(_trends(analysis, analysis.measures["volumes"], number=0)) == with_lines


def test_sites_are_drawn_at_the_differences_of_their_table_in_standard_deviations(cohort_study):
    analysis, _ = cohort_study
    axes = _sites(analysis).axes[1:]
    assert [each.get_xlabel() for each in axes] == [
        f"{name}, site minus all (SD)" for name in ("grey matter", "white matter", "CSF")
    ]
    table = sites_table(analysis).set_index(["measure", "site"])
    for key, own in zip(("gmv", "wmv", "csfv"), axes, strict=True):
        dots = [float(line.get_xdata()[0]) for line in own.lines if line.get_marker() == "o"]
        assert dots == pytest.approx(table.loc[key].loc[["<b>A", "B"], "difference_in_sd"].tolist())
