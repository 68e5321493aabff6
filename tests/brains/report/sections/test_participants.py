import itertools

import pytest

from aekit.brains.report.sections.participants import participants_section, split_section
from aekit.plotting.html import Picture


def test_each_variable_is_named_once_and_counts_everyone(cohort_study, shown):
    (table,) = shown(participants_section(cohort_study[0], {})).tables
    names = [row[0] for row in table.rows]
    assert [name for name in names if name] == ["all", "sex", "age", "site", "split"]
    starts = [*(number for number, name in enumerate(names) if name), len(names)]
    for first, last in itertools.pairwise(starts):
        rows = table.rows[first:last]
        assert sum(row[2] for row in rows) == 44
        assert sum(float(row[3]) for row in rows) == pytest.approx(100, abs=0.05 * len(rows))
        assert all(row[4] + row[5] == row[2] for row in rows)


def test_a_group_without_ages_has_no_mean_age(cohort_study, cohort_table, shown):
    (table,) = shown(participants_section(cohort_study[0], {})).tables
    rows = {(row[1], row[2]): list(row[6:]) for row in table.rows}
    assert rows["missing", 1] == ["", ""]
    assert rows["all", 44] == [f"{cohort_table['age'].mean():.1f}", f"{cohort_table['age'].std():.1f}"]


def test_the_floor_of_a_split_is_the_error_of_the_constants_of_train(cohort_study, cohort_table, shown):
    (table,) = shown(split_section(cohort_study[0], None, {})).tables
    train = cohort_table["age"][:28].dropna()
    expected = []
    for name, ages in (("val", cohort_table["age"][28:34]), ("test", cohort_table["age"][34:])):
        for predictor in ("mean", "median"):
            constant = getattr(train, predictor)()
            expected.append((name, predictor, len(ages), f"{constant:.1f}", f"{(ages - constant).abs().mean():.2f}"))
    assert [row[:5] for row in table.rows] == expected
    for row in table.rows:
        low, high = map(float, row[5].split(" to "))
        assert low < float(row[4]) < high


def test_without_held_out_participants_there_is_no_floor_of_a_split(ages_study, shown):
    assert shown(split_section(ages_study[0], None, {})).tables == []


@pytest.mark.parametrize(("group", "is_said"), [("site", True), (None, False)])
def test_the_group_that_stays_together_is_named(ages_study, group, is_said):
    (picture,) = split_section(ages_study[0], group, {"split.png": b"png"}).blocks
    assert isinstance(picture, Picture)
    assert ("Each site is in one split only" in picture.caption) == is_said
