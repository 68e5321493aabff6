from dataclasses import replace
from pathlib import Path

import pytest

from aekit.brains.report.sections.scans import scan_section
from aekit.plotting.html import Bullets

SHAPES = ((2, 2, 2), (2, 2, 2), (3, 3, 3), (4, 4, 4))


@pytest.fixture
def damaged(make_scans):
    """Return four scans: one of them cannot be used, two are odd, two are the same, and a participant has none."""
    scans = make_scans(shapes=SHAPES)
    first, second, third, fourth = scans.checks
    second = replace(second, warnings=("is almost empty", "has no orientation"))
    third = replace(third, warnings=("is almost empty",))
    fourth = replace(fourth, path=Path("x/d.nii"), problem="is cut short", warnings=("is almost empty",))
    same = (("sub-002", "sub-9"), (), (), (), ())
    return replace(scans, checks=(first, second, third, fourth, None), same_as=same)


@pytest.fixture(scope="module")
def cohort(analyse_table, participants):
    return analyse_table(participants(5)[["participant_id", "age"]])[0].cohort


def test_only_usable_files_count_towards_geometries_and_warnings(damaged, cohort, shown):
    found = shown(scan_section(damaged, cohort, {}))
    assert found.tables[0].rows == [("2 x 2 x 2", "1 x 1 x 1", "RAS", 2), ("3 x 3 x 3", "1 x 1 x 1", "RAS", 1)]
    (bullets,) = [block for block in found.blocks if isinstance(block, Bullets)]
    assert bullets.items == ["2 files: is almost empty: 1.nii, 2.nii", "1 file: has no orientation: 1.nii"]


def test_files_that_cannot_be_used_and_identical_ones_are_named_with_their_participant(damaged, cohort, shown):
    _, unusable, same = shown(scan_section(damaged, cohort, {})).tables
    assert unusable.rows == [("sub-003", "d.nii", "is cut short")]
    assert same.rows == [("sub-000", "sub-002, sub-9")]


def test_sound_scans_have_a_table_of_their_geometry_alone(make_scans, cohort, shown):
    found = shown(scan_section(make_scans(shapes=SHAPES[:1] * 5), cohort, {}))
    assert len(found.tables) == 1
    assert not any(isinstance(block, Bullets) for block in found.blocks)
    assert found.texts == [
        "Native space: the scans keep the size of the head (brain-mask volume against gmv + wmv + csfv: r = 0.990, "
        "median ratio 1, 60 participants)."
    ]


@pytest.mark.parametrize(("space", "warns"), [("normalised", True), ("native", False), ("undecided", False)])
def test_only_normalised_scans_are_no_source_of_absolute_volumes(make_scans, cohort, shown, space, warns):
    (text,) = shown(scan_section(make_scans(space=space), cohort.subset([0]), {})).texts
    assert ("use --target proportion" in text) == warns


def test_without_volumes_in_the_table_nothing_is_said_on_the_space(make_scans, cohort, shown):
    scans = replace(make_scans(), space=None)
    assert shown(scan_section(scans, cohort.subset([0]), {})).texts == []
