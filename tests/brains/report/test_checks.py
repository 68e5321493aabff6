from dataclasses import replace

import numpy as np
import pytest

from aekit.brains.cohort.table import read_cohort
from aekit.brains.report.analysis import analyse_cohort
from aekit.brains.report.checks import find_failed
from aekit.brains.report.reading import CohortInput


@pytest.fixture
def failed(participants, write_table, tmp_path):
    """Return a function that lists the failed checks of a cohort and its scans, name -> text."""

    def run(scans=None, n=60, **columns):
        cohort = read_cohort(write_table(participants(n).assign(**columns), tmp_path / "t.tsv"))
        analysis = analyse_cohort(cohort, np.full(len(cohort), "train", dtype=object))
        source = CohortInput(cohort, cohort, (), cohort.left_out)
        return {each.name: each.text for each in find_failed(analysis, source, scans)}

    return run


def test_a_sound_cohort_fails_no_check(failed, make_scans):
    assert failed(make_scans()) == {}
    assert failed() == {}


def test_a_wrong_unit_is_reported_with_its_factor(failed, make_scans):
    assert "1e+03 times as large as the volumes in the table" in failed(make_scans(slope=1e3, unit_factor=1e3))["units"]


def test_an_undecided_space_is_reported_with_its_numbers(failed, make_scans):
    text = failed(make_scans(space="undecided", r=0.5))["space"]
    assert "r = 0.500, median ratio 1, 60 participants" in text
    few = failed(make_scans(space="undecided", r=np.nan))["space"]
    assert "too few to decide: 60 participants with both a scan and volumes" in few


def test_odd_files_are_counted(failed, make_scans):
    found = failed(make_scans(n_nan=3, shapes=((2, 2, 2), (3, 3, 3))))
    assert found["nan-voxels"].startswith("2 files with voxels that are NaN or infinite")
    assert found["nan-voxels"].endswith(": 0.nii, 1.nii.")
    assert found["geometry"].startswith("The files come in 2 combinations")
    assert found["geometry"].endswith("unlike most: 1.nii.")


def test_every_warning_of_a_file_is_a_failed_check_with_its_name(make_scans, analyse_table, participants):
    texts = [("is tilted by 12 degrees",), ("is tilted by 7.5 degrees", "has no unit"), ("has no unit",)]
    scans = make_scans(shapes=((2, 2, 2),) * 4)
    checks = tuple(replace(check, warnings=own) for check, own in zip(scans.checks, [*texts, ()], strict=True))
    analysis, source = analyse_table(participants(4)[["participant_id", "age"]])
    found = find_failed(analysis, source, replace(scans, checks=checks))
    assert [each.text for each in found if each.name == "file-warnings"] == [
        "2 files: 0.nii (is tilted by 12 degrees), 1.nii (is tilted by 7.5 degrees).",
        "2 files: has no unit: 1.nii, 2.nii.",
    ]


def test_files_that_only_the_grid_refuses_are_named_with_the_reason(failed, make_scans):
    text = failed(replace(make_scans(shapes=((2, 2, 2),) * 2), off_grid={1: "is empty"}))["unusable-on-grid"]
    assert text == "Cannot be used on the grid of mri-train: 1 file: is empty: 1.nii."


def test_many_missing_values_are_reported(failed):
    sex = np.where(np.arange(60) < 6, "n/a", "F")
    names = ", ".join(f"sub-{row:03d}" for row in range(6))
    assert failed(sex=sex) == {"missing-sex": f"10 % of the values of sex are missing: {names}."}


def test_several_sessions_are_reported_with_their_number(failed):
    ids = [f"sub-{row // 2:02}_ses-{row % 2}" for row in range(60)]
    text = failed(participant_id=ids)["sessions"]
    assert text.startswith("30 participants have several sessions (60 rows of 30 participants): those of one")


def test_sites_that_differ_are_reported(failed, participants):
    grey = participants(60)["gmv"] + np.where(np.arange(60) < 30, 150, 0)
    assert "grey matter" in failed(gmv=grey)["sites"]


def test_scans_that_do_not_fit_the_table_as_the_others_do_are_named_with_their_ratio(failed, make_scans):
    scans = make_scans(shapes=((2, 2, 2),) * 3)
    space = replace(scans.space, each=("native", "disagrees", "native"), ratio=np.array([1.0, 1.31, 1.0]))
    text = failed(replace(scans, space=space))["space-of-scans"]
    assert text.startswith(
        "1 file with a brain that does not fit the table as the others do (brain / table, median 1.00)"
    )
    assert text.endswith(": 1.nii (1.31).")
