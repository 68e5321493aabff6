import numpy as np
import pytest

from aekit.brains.cohort.session_names import order_of, person_of, session_of
from aekit.brains.cohort.sessions import persons_of
from aekit.brains.cohort.splits import SplitPlan


def text(*rows):
    return "".join("\t".join(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("one", "person", "session"),
    [
        ("sub-01_ses-2", "sub-01", "2"),
        ("1_ses-1_run-2", "1", "1_run-2"),
        ("OAS1_0001_MR1", "OAS1_0001", "MR1"),
        ("OAS30001_MR_d0757", "OAS30001", "MR_d0757"),
        ("OAS30001_d0757", "OAS30001", "d0757"),
        ("sub-OAS30001_sess-d0757", "sub-OAS30001", "d0757"),
        ("sub-01_V2", "sub-01", "V2"),
        ("0413-v02", "0413", "v02"),
        ("002_S_0413_bl", "002_S_0413", "bl"),
        ("002_S_0413_m06", "002_S_0413", "m06"),
        ("002_S_0413_m120", "002_S_0413", "m120"),
        ("sub-01_visit-1", "sub-01", "visit-1"),
        ("AB_timepoint2", "AB", "timepoint2"),
        ("P01_baseline", "P01", "baseline"),
        ("P01_follow-up2", "P01", "follow-up2"),
        ("P01_20190304", "P01", "20190304"),
        ("P01_2019-03-04", "P01", "2019-03-04"),
    ],
)
def test_an_id_is_that_of_a_person_and_a_session(one, person, session):
    assert (person_of(one), session_of(one)) == (person, session)


@pytest.mark.parametrize(
    "one",
    [
        "sub-01_T1",
        "sub-01_T2",
        "sub-01_T1w",
        "IXI012-HH-1211",
        "OAS1_0001",
        "sub-V01",
        "site_V1",
        "HC_m06",
        "P1_m01",
        "002_S_0413",
        "a_sesame1",
        "sub-01_1",
        "12345678",
        "MR1",
        "_MR1",
        "site_20190304",
        "P01_20191304",
        "",
    ],
)
def test_what_may_be_something_else_is_part_of_the_person(one):
    assert (person_of(one), session_of(one)) == (one, "")


@pytest.mark.parametrize(
    "ordered",
    [
        ["ses-1", "ses-2", "ses-10"],
        ["sc", "bl", "m06", "m12", "m120"],
        ["MR1", "MR2", "MR10"],
        ["MR_d0129", "MR_d0757", "MR_d1300"],
        ["baseline", "followup1", "followup2"],
        ["pre", "post"],
        ["2018-12-31", "2019-01-01", "2019-02-01"],
        ["V1", "v2", "V03", "v11"],
    ],
)
def test_sessions_are_in_the_order_that_people_mean(ordered):
    assert sorted(reversed(ordered), key=order_of) == ordered


VISITS = text(
    ["RID", "VISCODE", "age"],
    ["1", "m12", "71"],
    ["1", "bl", "70"],
    ["1", "m06", "70.5"],
    ["2", "bl", "60"],
    ["3", "m06", "50.5"],
    ["3", "bl", "50"],
)


@pytest.mark.parametrize(
    ("sessions", "ids"),
    [
        ("first", ["1_ses-bl", "2_ses-bl", "3_ses-bl"]),
        ("last", ["1_ses-m12", "2_ses-bl", "3_ses-m06"]),
        ("all", ["1_ses-m12", "1_ses-bl", "1_ses-m06", "2_ses-bl", "3_ses-m06", "3_ses-bl"]),
    ],
)
def test_one_session_of_each_person_is_kept_on_request_and_the_others_are_listed(read, sessions, ids):
    cohort = read(VISITS.replace("RID", "id"), sessions=sessions)
    assert sorted(cohort.table["participant_id"]) == sorted(ids)
    assert list(cohort.table.index) == list(range(len(ids)))
    others = {"1_ses-m12", "1_ses-bl", "1_ses-m06", "2_ses-bl", "3_ses-m06", "3_ses-bl"} - set(ids)
    assert set(cohort.left_out["participant_id"]) == others
    if others:
        assert set(cohort.left_out["reason"]) == {f"not the {sessions} session of its participant"}
        assert persons_of(cohort) is None


@pytest.mark.parametrize(
    "header", ["session", "session_id", "visit", "timepoint", "VISCODE", "Visit Number", "wave", "ses", "visit_code"]
)
def test_a_column_of_sessions_makes_rows_of_one_person(read, header):
    rows = [["a", "1", "5"], ["a", "2", "6"], ["b", "1", "7"]]
    cohort = read(text(["participant_id", header, "age"], *rows))
    assert list(persons_of(cohort)) == ["a", "a", "b"]
    assert list(cohort.table[header]) == [1, 2, 1]


def test_the_column_that_tells_the_rows_apart_is_that_of_the_sessions(read):
    rows = [["a", "2", "1", "5"], ["a", "2", "2", "6"], ["b", "", "1", "7"]]
    cohort = read(text(["participant_id", "SES", "Visit", "age"], *rows))
    assert list(cohort.table["participant_id"]) == ["a_ses-1", "a_ses-2", "b_ses-1"]


def test_a_session_that_names_its_person_is_the_id(read):
    rows = [["OAS30001", "OAS30001_MR_d0129", "65"], ["OAS30001", "OAS30001_MR_d0757", "67"]]
    cohort = read(text(["subject", "session", "age"], *rows))
    assert list(cohort.table["participant_id"]) == [row[1] for row in rows]
    assert list(persons_of(cohort)) == ["OAS30001"] * 2


def test_ages_decide_between_sessions_of_the_same_name_and_contradictions_are_said(read):
    rows = [["a_ses-1_run-2", "61"], ["a_ses-1_run-1", "60"], ["b_MR2", "40"], ["b_MR1", "41"], ["c_MR1", "20"]]
    cohort = read(text(["participant_id", "age"], *rows), sessions="first")
    assert list(cohort.table["participant_id"]) == ["a_ses-1_run-1", "b_MR1", "c_MR1"]
    what = "sessions of a participant are not in the order of ages; the first one is that of their names"
    assert [(one.n, one.examples) for one in cohort.repairs if one.what == what] == [(1, ("b_MR1",))]


def test_the_first_session_is_the_first_that_can_be_used(read):
    rows = [["a_MR1", "x"], ["a_MR2", "61"], ["a_MR3", "62"]]
    cohort = read(text(["participant_id", "age"], *rows), sessions="first", skip_bad=True)
    assert list(cohort.table["participant_id"]) == ["a_MR2"]
    assert dict(zip(cohort.left_out["participant_id"], cohort.left_out["column"], strict=True)) == {
        "a_MR1": "age",
        "a_MR3": "session",
    }


@pytest.mark.parametrize("ending", ["_MR{}", "_MR_d{:04}", "_V{}", "-visit{}"])
def test_no_person_is_in_two_splits(read, ending):
    ids = [f"OAS{person:03}" + ending.format(session) for person in range(40) for session in (1, 2, 3)]
    cohort = read(text(["participant_id", "age"], *([one, str(20 + row % 60)] for row, one in enumerate(ids))))
    persons = np.array([one[:6] for one in ids])
    split = SplitPlan(seed=1).draw(cohort)
    assert set(split) == {"train", "val", "test"}
    assert all(len(set(split[persons == person])) == 1 for person in persons)
