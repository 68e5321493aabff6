from dataclasses import replace

import numpy as np
import pytest

from aekit.brains.report.checks import FailedCheck
from aekit.brains.report.sections.summary import summary_section
from aekit.plotting.html import Bullets


def _facts(section):
    return {fact.label: (fact.value, fact.remark) for fact in section.blocks[0].facts}


def test_the_numbers_are_those_of_the_table(cohort_study, cohort_table):
    facts = _facts(summary_section(*cohort_study, None, []))
    age = cohort_table["age"].dropna()
    assert facts["Participants"] == ("44", "22 female, 22 male")
    assert facts["Age (years)"] == (
        f"{age.min():.1f} to {age.max():.1f}", f"mean {age.mean():.1f}, SD {age.std():.1f}",
    )  # fmt: skip
    for label, constant in (("Floor: MAE of the median age", age.median()), ("MAE of the mean age", age.mean())):
        assert facts[label][0] == f"{(age - constant).abs().mean():.2f} years"
    assert facts["Train / validation / test"] == ("28 / 6 / 10", "stratified by age and sex")
    assert "Scans" not in facts


def test_participants_of_unknown_sex_are_counted_apart(ages_study):
    facts = _facts(summary_section(*ages_study, None, []))
    assert facts["Participants"] == ("20", "0 female, 0 male, 20 unknown")
    assert "Outliers" not in facts


def test_outliers_are_a_fraction_of_everyone(cohort_study):
    analysis, source = cohort_study
    found = replace(analysis, outliers=replace(analysis.outliers, flagged=np.arange(44) < 11))
    assert _facts(summary_section(found, source, None, []))["Outliers"] == ("11", "25.0 %, flagged but kept")


def test_scans_are_counted_with_those_that_are_bad_or_missing(cohort_study, make_scans):
    scans = make_scans(shapes=((2, 2, 2),) * 3)
    bad = replace(scans.checks[2], problem="is cut short")
    scans = replace(scans, checks=(*scans.checks[:2], bad), matched=replace(scans.matched, without_file=("sub-9",)))
    facts = _facts(summary_section(*cohort_study, scans, []))
    assert facts["Scans"] == ("2", "1 unusable, 1 participant without a scan")


def test_groups_that_stay_together_are_named(ages_study):
    analysis, source = ages_study
    facts = _facts(summary_section(analysis, replace(source, group="site"), None, []))
    assert facts["Train / validation / test"][1] == "each site kept together"


@pytest.mark.parametrize("texts", [[], ["A unit is wrong.", "Sites differ."]])
def test_failed_checks_are_warnings_and_without_any_all_have_passed(ages_study, shown, texts):
    section = summary_section(*ages_study, None, [FailedCheck("x", text) for text in texts])
    warnings = [block.items for block in section.blocks if isinstance(block, Bullets) and block.are_warnings]
    assert warnings == ([texts] if texts else [])
    assert ("All checks passed." in shown(section).texts) == (not texts)


def test_only_a_cohort_with_proportions_speaks_of_them(cohort_study, ages_study, shown):
    texts = shown(summary_section(*cohort_study, None, [])).texts
    assert texts[-2].startswith("Do proportions differ by sex? ")
    assert texts[-1].startswith("Do proportions say more about age than volumes? ")
    assert not any("roportions" in text for text in shown(summary_section(*ages_study, None, [])).texts)


def test_the_hypothesis_is_named_if_it_is_asked_for(cohort_study, shown):
    texts = shown(summary_section(*cohort_study, None, [], hypotheses=True)).texts
    assert [text.split(":")[0] for text in texts[-2:]] == ["H1, sexes", "H1, age"]
