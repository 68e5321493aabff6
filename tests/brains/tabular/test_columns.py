import numpy as np
import pandas as pd
import pytest

from aekit.brains.tabular.columns import (
    describe_ignored,
    describe_suspects,
    feature_values,
    find_features,
    missing_features,
)
from aekit.errors import AekitError


def test_patterns_and_names_choose_columns_in_the_order_of_the_table(table_of, cohort_from, config_of):
    table = table_of().assign(tiv=np.linspace(1300, 1500, 90) ** 1.01 * np.tile([1, 1.1, 0.9], 30))
    cohort = cohort_from(table)
    found = find_features(cohort, config_of("tiv", "roi_[01]", "roi_1"))
    assert found.names == ("roi_0", "roi_1", "tiv")
    assert feature_values(cohort, found.names).tolist() == table[["roi_0", "roi_1", "tiv"]].to_numpy().tolist()


def test_of_a_pattern_what_is_no_measurement_is_left_out_and_said(table_of, cohort_from, config_of):
    table = table_of().assign(diagnosis="control", constant=3, empty=np.nan)
    found = find_features(cohort_from(table), config_of("*"))
    assert set(found.names) == {f"roi_{number}" for number in range(8)}
    text = describe_ignored(found)
    for part in (
        "participant_id (it is an id)",
        "constant (it is the same for everyone)",
        "diagnosis (it is not numeric)",
        "empty (it has no values)",
    ):
        assert part in text
    assert "sex (named it is a feature, as in 'roi_*,sex')" in text


def test_sex_is_a_feature_only_if_it_is_named(table_of, cohort_from, config_of):
    cohort = cohort_from(table_of())
    assert "sex" not in find_features(cohort, config_of("*")).names
    found = find_features(cohort, config_of("roi_0", "sex"))
    assert found.names == ("sex", "roi_0")
    assert set(feature_values(cohort, found.names)[:, 0]) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("months", lambda ages: (ages * 12).round(2), "follows from the age"),
        ("born", lambda ages: (2020 - ages).round(), "follows from the age"),
        ("log", lambda ages: np.log(ages).round(5), "follows from the age"),
        ("scanned_at", lambda ages: ages, "is the age"),
        ("row", lambda ages: np.arange(len(ages)) + 7, "numbers the rows"),
    ],
)
def test_columns_that_tell_the_age_or_the_row_are_refused_by_name(table_of, cohort_from, config_of, name, values, said):
    table = table_of()
    cohort = cohort_from(table.assign(**{name: values(table["age"])}))
    for patterns in ((name,), ("*",)):
        with pytest.raises(AekitError, match=f"--features: {name} {said}"):
            find_features(cohort, config_of(*patterns))


def test_the_number_of_an_id_is_no_feature(table_of, cohort_from, config_of):
    ids = np.random.default_rng(0).permutation(1000)[:90]
    cohort = cohort_from(table_of().assign(participant_id=ids, code=ids))
    with pytest.raises(AekitError, match="--features: code is the id"):
        find_features(cohort, config_of("code", "roi_*"))


@pytest.mark.parametrize(
    ("options", "pattern", "said"),
    [
        ({}, "age", "it is what is learned"),
        ({}, "site", "a site is a name"),
        ({}, "participant_id", "it is an id"),
        ({"cv": "roi_0"}, "roi_0", "--cv uses it"),
        ({"group": "roi_1"}, "roi_1", "--group uses it"),
        ({"controls": "roi_2!=1"}, "roi_2", "--controls uses it"),
    ],
)
def test_columns_with_another_use_are_refused_by_name(table_of, cohort_from, config_of, options, pattern, said):
    with pytest.raises(AekitError, match=said):
        find_features(cohort_from(table_of()), config_of(pattern, **options))


def test_a_pattern_that_fits_nothing_names_the_nearest_column(table_of, cohort_from, config_of):
    with pytest.raises(AekitError, match=r"no column of people\.csv fits roi_O; did you mean"):
        find_features(cohort_from(table_of()), config_of("roi_O"))


def test_what_a_participant_lacks_is_named(table_of, cohort_from):
    table = table_of(5)
    table.loc[2, ["roi_1", "roi_3"]] = np.nan
    cohort = cohort_from(table)
    names = [f"roi_{number}" for number in range(8)]
    reasons = missing_features(feature_values(cohort, names), names)
    assert reasons.tolist() == ["", "", "no value of roi_1, roi_3", "", ""]


def test_text_in_a_column_of_numbers_is_named(table_of, cohort_from, config_of):
    table = table_of().astype({"roi_1": object})
    table.loc[3, "roi_1"] = "failed"
    cohort = cohort_from(pd.DataFrame(table))
    with pytest.raises(AekitError, match=r"roi_1 of people\.csv cannot be a feature: it has text: failed \(p003\)"):
        find_features(cohort, config_of("roi_1"))


def test_text_among_numbers_is_named_with_its_participant(table_of, cohort_from, config_of):
    table = table_of().astype({"roi_0": object, "roi_1": object})
    table.loc[3, "roi_0"] = "n/a?"
    table.loc[4, "roi_1"] = "inf"
    text = describe_ignored(find_features(cohort_from(table), config_of("roi_*")))
    assert "roi_0 (it has text: n/a? (p003))" in text
    assert "roi_1 (it has text: inf (p004))" in text


@pytest.mark.parametrize("factor", [1e300, 1e-300])
def test_values_that_no_measurement_has_are_no_feature(table_of, cohort_from, config_of, factor):
    cohort = cohort_from(table_of().assign(roi_0=lambda t: t["roi_0"] * factor))
    with pytest.raises(AekitError, match=r"--features: roi_0 of people\.csv cannot be a feature: it has values of \de"):
        find_features(cohort, config_of("roi_0"))
    assert "roi_0" not in find_features(cohort, config_of("roi_*")).names


def test_the_number_of_a_session_is_no_feature(table_of, cohort_from, config_of):
    table = table_of()
    rows = np.arange(len(table))
    table = table.assign(participant_id=[f"p{row // 2:03}" for row in rows], session=rows % 2 + 1)
    found = find_features(cohort_from(table), config_of("*"))
    assert found.ignored["session"] == "it names a session"


def test_features_that_may_have_been_made_from_the_age_are_named(table_of, cohort_from, config_of):
    cohort = cohort_from(table_of().assign(decade=lambda t: t["age"] // 10))
    found = find_features(cohort, config_of("*"))
    assert list(found.suspect) == ["decade"]
    assert found.suspect["decade"] == pytest.approx(np.corrcoef(cohort.table["decade"], cohort.age_years)[0, 1])
    assert "decade (+0.9" in describe_suspects(found)
    assert not describe_suspects(find_features(cohort, config_of("roi_*")))
