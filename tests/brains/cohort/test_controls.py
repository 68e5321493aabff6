import numpy as np
import pandas as pd
import pytest

from aekit.brains.cohort.controls import describe_cases_in_train, parse_controls
from aekit.brains.cohort.table import Cohort
from aekit.errors import AekitError, UsageError

NOBODY = pd.DataFrame(columns=["participant_id", "column", "value", "reason"])


def cohort(ids=("a", "b", "c", "d", "e"), **columns):
    return Cohort("p.tsv", pd.DataFrame({"participant_id": list(ids), **columns}), (), NOBODY)


PEOPLE = cohort(diagnosis=["control", "AD", "MCI", np.nan, "control"], code=[0.0, 1.0, 2.0, np.nan, 0.0])


@pytest.mark.parametrize(
    ("text", "controls", "cases"),
    [
        ("diagnosis=control", "ae", "bc"),
        (" diagnosis == control , MCI ", "ace", "b"),
        ("diagnosis!=AD", "ace", "b"),
        ("code=0", "ae", "bc"),
        ("code!=1,2", "ae", "bc"),
    ],
)
def test_an_expression_splits_those_with_a_value_into_controls_and_cases(text, controls, cases):
    ids = PEOPLE.table["participant_id"].to_numpy()
    is_control, is_case = parse_controls(text).split(PEOPLE)
    assert "".join(ids[is_control]) == controls
    assert "".join(ids[is_case]) == cases


@pytest.mark.parametrize("text", ["", "diagnosis", "=control", "diagnosis=", "diagnosis=,"])
def test_what_is_no_expression_is_refused_with_examples(text):
    with pytest.raises(UsageError, match=r"is not column=value; write it as 'diagnosis=control'"):
        parse_controls(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("diagnose=control", r"no column 'diagnose' .*did you mean 'diagnosis'"),
        ("xyz=control", r"no column 'xyz' \(it has participant_id, diagnosis, code\); choose one of them"),
        ("diagnosis=controls", r"nobody in p.tsv has diagnosis 'controls', only AD, MCI, control; did you mean"),
        ("diagnosis=AD,zzz", r"nobody in p.tsv has diagnosis 'zzz', only AD, MCI, control; choose from these"),
    ],
)
def test_columns_and_values_that_are_not_there_are_named_with_those_that_are(text, message):
    with pytest.raises(AekitError, match=message):
        parse_controls(text).mask(PEOPLE)


def test_all_sessions_of_somebody_who_becomes_a_case_are_of_a_case():
    people = cohort(("s1_ses-1", "s1_ses-2", "s2_ses-1", "s2_ses-2"), dx=["CN", "AD", "CN", "CN"])
    is_control, is_case = parse_controls("dx=CN").split(people)
    assert is_control.tolist() == [False, False, True, True]
    assert is_case.tolist() == [True, True, False, False]


def test_cases_in_train_are_counted_with_the_option_that_leaves_them_out():
    text = describe_cases_in_train(PEOPLE, np.array([0, 1, 2, 3]))
    assert text == (
        "2 of 4 participants in train have diagnosis AD (1), MCI (1); --controls 'diagnosis=control' leaves them out"
    )
    assert describe_cases_in_train(PEOPLE, np.array([0, 4])) == ""


@pytest.mark.parametrize("values", [["a", "b", "c", "d", "e"], ["HC"] * 5, [1.5, 2.5, 3.5, 4.5, 5.5]])
def test_groups_of_another_kind_are_not_taken_for_patients(values):
    assert describe_cases_in_train(cohort(group=values), np.arange(5)) == ""
