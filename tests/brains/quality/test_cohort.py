import numpy as np
import pandas as pd
import pytest
from quality_cohort import gridded
from recorded import Recorded

from aekit.brains.cohort.phantom_damage import damage_scan
from aekit.brains.quality.cohort import judge_cohort, report_scans
from aekit.brains.volumes.store import take_rows
from aekit.errors import AekitError

FILES = [f"{number}.nii" for number in range(40)]


@pytest.fixture
def cohort(cohort_of):
    return cohort_of(participant_id=[f"p{number:02}" for number in range(40)], age=np.linspace(20, 80, 40))


@pytest.fixture
def broken(phantoms, with_scans):
    """Return the cohort with one wrong voxel size and one head with a skull."""
    scalp = damage_scan("scalp", phantoms[4], (8.0,) * 3, np.random.default_rng(0))[0]
    return with_scans({4: scalp, 9: phantoms[9]}, {9: (0.8,) * 3})


def test_scans_are_listed_by_participant_file_and_reason_the_impossible_first(cohort, broken):
    judged = judge_cohort(cohort, FILES, broken)
    (first, second) = judged.listed()
    assert first[:2] == ("p09", "9.nii")
    assert "impossible" in first[2]
    assert second[:2] == ("p04", "4.nii")
    assert "skull" in second[2]


def test_every_scan_that_is_left_out_is_named_in_the_terminal(cohort, broken):
    progress = Recorded()
    report_scans(judge_cohort(cohort, FILES, broken), progress)
    head, first, second = progress.notices
    assert head.startswith("2 of 40 scans left out as broken or unlike the others")
    assert "--keep-outlying" in head
    assert (first.split(":")[0], second.split(":")[0]) == ("  p09", "  p04")


def test_kept_scans_are_named_as_kept(cohort, broken):
    progress = Recorded()
    judged = judge_cohort(cohort, FILES, broken, keep_outlying=True)
    report_scans(judged, progress)
    assert [one[0] for one in judged.listed()] == ["p09"]
    assert progress.notices[0] == (
        "1 of 40 scans left out as broken or unlike the others and 1 unlike the others and kept (--keep-outlying)"
    )
    assert progress.notices[2].endswith("(kept)")


def test_nothing_is_said_about_a_clean_cohort(cohort, clean):
    progress = Recorded()
    report_scans(judge_cohort(cohort, FILES, clean), progress)
    assert progress.notices == []


def test_a_small_cohort_is_said_not_to_be_judged(cohort, clean):
    progress = Recorded()
    rows = np.arange(12)
    report_scans(judge_cohort(cohort.subset(rows), FILES[:12], take_rows(clean, rows)), progress)
    (notice,) = progress.notices
    assert notice.startswith("12 scans: with fewer than 20 it is unknown what is usual")


def test_a_cohort_of_impossible_brains_is_refused(cohort, phantoms):
    with pytest.raises(AekitError, match=r"no scan is a brain: 0\.nii: a brain of .* mL is impossible"):
        judge_cohort(cohort.subset(np.arange(3)), FILES[:3], gridded(phantoms[:3], [(0.8,) * 3] * 3))


def test_listed_rows_fit_the_table_of_who_is_left_out(cohort, broken):
    table = pd.DataFrame(judge_cohort(cohort, FILES, broken).listed(), columns=["participant_id", "file", "reason"])
    assert set(table["participant_id"]) == {"p04", "p09"}
