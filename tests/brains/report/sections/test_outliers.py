from dataclasses import replace

import numpy as np

from aekit.brains.report.sections.outliers import outlier_section


def _flagged(analysis, flagged):
    return replace(analysis, outliers=replace(analysis.outliers, flagged=flagged))


def _section(analysis):
    return outlier_section(analysis, analysis.outliers, {})


def test_the_planted_outlier_comes_first_with_its_age_and_distances(cohort_study, cohort_table, shown):
    analysis, _ = cohort_study
    (table,) = shown(_section(analysis)).tables
    first = dict(zip(table.columns, table.rows[0], strict=True))
    assert (first["participant"], first["age"], first["sex"]) == ("sub-005", f"{cohort_table['age'][5]:.1f}", "M")
    assert first["reason"] == "less grey matter and more CSF than others of that age and sex"
    # Far beyond the limits, to the side where it was planted.
    assert float(first["z grey matter"]) < -1.5 * analysis.outliers.limits.z_limit
    assert float(first["z CSF"]) > 1.5 * analysis.outliers.limits.z_limit
    distance = np.sqrt(analysis.outliers.squared[5])
    assert first["distance"] == f"{distance:.2f}"
    assert distance > 1.5 * np.sqrt(analysis.outliers.limits.squared_limit)
    assert table.caption == "All outliers."


def test_without_outliers_there_is_a_sentence_and_no_table(cohort_study, shown):
    found = shown(_section(_flagged(cohort_study[0], np.zeros(44, dtype=bool))))
    assert found.texts[1:] == ["There are none."]
    assert found.tables == []


def test_of_many_outliers_the_twenty_most_extreme_are_listed(cohort_study, shown):
    (table,) = shown(_section(_flagged(cohort_study[0], np.arange(44) != 6))).tables
    assert len(table.rows) == 20
    assert table.caption == "The 20 most extreme of 43. All: outliers.csv."
    assert table.rows[0][0] == "sub-005"


def test_an_outlier_without_a_sex_has_an_empty_cell(analyse_table, cohort_table, shown):
    analysis, _ = analyse_table(cohort_table.assign(sex="n/a"))
    (table,) = shown(_section(_flagged(analysis, np.arange(44) == 5))).tables
    assert dict(zip(table.columns, table.rows[0], strict=True))["sex"] == ""
