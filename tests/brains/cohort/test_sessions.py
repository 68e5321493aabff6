import numpy as np
import pandas as pd
import pytest

from aekit.brains.cohort.sessions import check_together, describe_sessions, joint_groups, persons_of
from aekit.brains.cohort.splits import SplitPlan
from aekit.brains.cohort.table import Cohort
from aekit.errors import AekitError


def cohort(ids, **columns):
    table = pd.DataFrame({"participant_id": ids, "age": np.arange(len(ids)) + 20.0, **columns})
    return Cohort("participants.tsv", table, (), pd.DataFrame())


@pytest.mark.parametrize(
    ("ids", "persons"),
    [
        (["sub-1_ses-1", "sub-1_ses-2", "sub-2"], ["sub-1", "sub-1", "sub-2"]),
        (["sub-1", "sub-1_ses-followup"], ["sub-1", "sub-1"]),
        (["1_ses-1_run-1", "1_ses-1_run-2"], ["1", "1"]),
        (["1_ses01", "1_ses02"], ["1", "1"]),
        (["sub-1_ses-1", "sub-2_ses-1"], None),
        (["a_sesame1", "a_sesame2"], None),
        (["sub-1", "sub-11"], None),
    ],
)
def test_ids_that_share_the_part_before_the_session_are_one_person(ids, persons):
    found = persons_of(cohort(ids))
    assert (None if found is None else list(found)) == persons


def test_it_is_said_how_many_have_several_sessions():
    text = describe_sessions(cohort(["a_ses-1", "a_ses-2", "b_ses-1", "c_ses-1", "c_ses-2", "c_ses-3"]))
    assert text.startswith("2 participants have several sessions (6 rows of 3 participants)")
    assert describe_sessions(cohort(["a", "b"])) == ""


def test_without_sessions_groups_are_those_of_the_column_and_splits_stay_as_they_were():
    people = cohort([f"p{row}" for row in range(40)], site=["x", "y"] * 20)
    assert joint_groups(people, None) is None
    assert list(joint_groups(people, "site")) == ["x", "y"] * 20


def test_groups_are_the_smallest_that_divide_neither_people_nor_sites():
    people = cohort(
        ["a_ses-1", "a_ses-2", "b", "c", "d", "e_ses-1", "e_ses-2"], site=["x", "y", "y", "z", "x", None, "w"]
    )
    groups = joint_groups(people, "site")
    together = {frozenset(np.flatnonzero(groups == one).tolist()) for one in groups}
    assert together == {frozenset({0, 1, 2, 4}), frozenset({3}), frozenset({5, 6})}


def test_the_proposed_split_keeps_sessions_together():
    persons = np.array([f"sub-{row // 2}" for row in range(80)])
    people = cohort([f"{one}_ses-{row % 2}" for row, one in enumerate(persons)])
    for seed in range(5):
        split = SplitPlan(seed=seed).draw(people)
        assert all(len(set(split[persons == one])) == 1 for one in persons)
        assert set(split) == {"train", "val", "test"}


def test_a_split_that_tears_a_person_is_refused_by_name():
    people = cohort(["a_ses-1", "a_ses-2", "b"])
    check_together(people, np.array(["train", "train", "test"], dtype=object), "part")
    with pytest.raises(AekitError, match="column part has sessions of one participant in several splits: a; put"):
        check_together(people, np.array(["train", "test", "test"], dtype=object), "part")
