import pytest
from scipy import stats

from aekit.brains.report.sections.measures import age_section, measures_section
from aekit.plotting.html import Picture


@pytest.fixture(scope="module")
def two_tissues(analyse_table, participants):
    """Return the analysis of a table without CSF, whose white matter is the same for all."""
    return analyse_table(participants(12).drop(columns="csfv").assign(wmv=500.0))[0]


def test_the_distribution_of_a_measure_is_that_of_its_column(cohort_study, cohort_table, shown):
    rows = shown(measures_section(cohort_study[0], {})).rows()
    assert list(rows) == [
        "grey matter", "white matter", "CSF", "total",
        "grey matter, proportion", "white matter, proportion", "CSF, proportion",
    ]  # fmt: skip
    for name, column, digits in [
        ("grey matter", cohort_table["gmv"], 0),
        ("CSF, proportion", cohort_table["csfv"] / cohort_table[["gmv", "wmv", "csfv"]].sum(axis=1), 3),
    ]:
        found = [column.mean(), column.std(), *column.quantile([0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])]
        assert rows[name] == [44, 0, *(f"{value:.{digits}f}" for value in found)]


def test_correlations_with_age_are_those_of_the_participants_who_have_an_age(cohort_study, cohort_table, shown):
    rows = shown(age_section(cohort_study[0], {})).rows()
    known = cohort_table.dropna(subset="age")
    found = stats.pearsonr(known["age"], known["wmv"])
    low, high = found.confidence_interval()
    rho = stats.spearmanr(known["age"], known["wmv"]).statistic
    assert rows["white matter"] == [43, f"{found.statistic:+.2f}", f"{low:+.2f} to {high:+.2f}", f"{rho:+.2f}"]
    assert len(rows) == 7


def test_a_measure_that_is_the_same_for_all_has_no_correlation(two_tissues, shown):
    rows = shown(age_section(two_tissues, {})).rows()
    assert list(rows) == ["grey matter", "white matter"]
    assert rows["white matter"] == [12, "", " to ", ""]


@pytest.mark.parametrize("section", [measures_section, age_section])
def test_figures_of_proportions_are_shown_only_with_all_three_tissues(two_tissues, cohort_study, section):
    names = ["volumes.png", "volumes-age.png", "proportions.png", "proportions-age.png", "correlations.png"]
    pictures = {name: name.encode() for name in names}
    whole, two = (
        [block.png for block in section(analysis, pictures).blocks if isinstance(block, Picture)]
        for analysis in (cohort_study[0], two_tissues)
    )
    assert [png for png in whole if not png.startswith(b"proportions")] == two
    assert len(whole) == len(two) + 1
