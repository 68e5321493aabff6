from pathlib import Path

import pytest

from aekit.brains.explain.names import check_folder, names_of
from aekit.errors import AekitError


def test_names_are_those_of_files_without_what_they_end_in():
    assert names_of([Path("a/sub-1_T1w.nii.gz"), Path("b/x.y.NII"), Path("c.npy")]) == ["sub-1_T1w", "x.y", "c"]


def test_files_of_one_name_are_told_apart_by_their_folders():
    found = names_of([Path("s/01/anat/T1.nii.gz"), Path("s/02/anat/T1.nii.gz"), Path("s/02/T2.nii")])
    assert found == ["01_anat_T1", "02_anat_T1", "T2"]


def test_a_scan_does_not_take_the_name_of_the_means():
    assert names_of([Path("new/explain.nii")]) == ["new_explain"]


def test_names_that_differ_only_in_their_suffix_are_numbered():
    assert len(set(names_of([Path("/x.nii"), Path("/x.nii.gz")]))) == 2


def test_maps_are_not_written_among_scans_or_into_a_file(tmp_path):
    with pytest.raises(AekitError, match=r"holds the scan x\.nii; choose a folder without scans"):
        check_folder(tmp_path, [tmp_path / "x.nii"])
    with pytest.raises(AekitError, match="give a path without a suffix"):
        check_folder(tmp_path / "maps.png", [])
    check_folder(tmp_path / "maps", [tmp_path / "x.nii"])
