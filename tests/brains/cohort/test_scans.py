import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aekit.brains.cohort.scans import match_files, rows_of_files
from aekit.brains.cohort.table import Cohort, read_cohort
from aekit.errors import AekitError


@pytest.fixture
def match(tmp_path):
    """Return a function that makes empty files in a folder and matches ids to them, by name."""

    def run(ids, names, *, file=None, pattern=None):
        folder = tmp_path / "volumes"
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        table = pd.DataFrame({"participant_id": ids})
        if file is not None:
            table["file"] = np.array(file, dtype=object)
        cohort = Cohort("participants.tsv", table, (), pd.DataFrame())
        matched = match_files(cohort, folder, table_path=tmp_path / "table" / "participants.tsv", pattern=pattern)
        return [path and path.relative_to(tmp_path).as_posix().removeprefix("volumes/") for path in matched.paths]

    return run


@pytest.mark.parametrize(
    ("one", "name"),
    [
        ("sub-01", "sub-01_T1w.nii.gz"),
        ("01", "sub-01_T1w.nii.gz"),
        ("sub-01", "01.nii"),
        ("IXI012-HH-1211", "IXI012-HH-1211_T1_brain.nii.gz"),
        ("IXI012", "IXI012-HH-1211-T1.nii.gz"),
        ("01", "deep/folder/mwp1sub-01_T1w.nii"),
        ("01", "T1_01.npy"),
        ("a.b", "a.b.nii.gz"),
        ("12", "sub-12_ses-1_run-3_T1w.nii.gz"),
        ("Ärztin", "Ärztin_T1.nii"),
    ],
)
def test_an_id_is_found_in_the_name_of_its_file(match, one, name):
    assert match([one], [name]) == [name]


@pytest.mark.parametrize(
    ("one", "name"),
    [
        ("12", "sub-112_T1w.nii.gz"),
        ("12", "sub-123_T1w.nii.gz"),
        ("12", "IXI012.nii.gz"),
        ("1", "sub-01_T1w.nii.gz"),
        ("1", "sub-7_ses-1_run-1_T1w.nii.gz"),
        ("1", "7_ses-1_T1w.nii.gz"),
        ("T1w", "sub-7_T1w.nii.gz"),
        ("nii", "7.nii.gz"),
        ("sub-a", "sub-A_T1w.nii.gz"),
        ("sub", "sub-01_T1w.nii.gz"),
    ],
)
def test_an_id_is_not_found_in_the_name_of_another_file(match, one, name):
    with pytest.raises(AekitError, match="no file has the id of a participant in its name"):
        match([one], [name])


def test_a_file_belongs_to_the_longest_id_in_its_name(match):
    assert match(["12", "12-1"], ["12-1_T1.nii", "12_T1.nii"]) == ["12_T1.nii", "12-1_T1.nii"]


def test_rows_without_file_and_files_without_row_are_reported(tmp_path):
    for name in ("sub-1.nii", "sub-3.nii", ".sub-2.nii", "sub-2.txt"):
        (tmp_path / name).touch()
    cohort = Cohort("p.tsv", pd.DataFrame({"participant_id": ["sub-1", "sub-2"]}), (), pd.DataFrame())
    matched = match_files(cohort, tmp_path, table_path=tmp_path / "p.tsv")
    assert matched.paths == (tmp_path / "sub-1.nii", None)
    assert matched.without_file == ("sub-2",)
    assert matched.without_row == (tmp_path / "sub-3.nii",)


def test_the_file_column_is_relative_to_the_table_then_the_folder_then_the_base_name(match, tmp_path):
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "a.nii").touch()
    names = ["a.nii", "x/b.nii", "y/c.nii"]
    file = ["a.nii", "x/b.nii", "somewhere/else/c.nii", np.nan, "none.nii"]
    assert match(list("abcde"), names, file=file) == ["table/a.nii", "x/b.nii", "y/c.nii", None, None]


@pytest.mark.parametrize("value", ["/outside/x.nii", "../outside/x.nii", "C:\\outside\\x.nii", "..\\outside\\x.nii"])
def test_a_file_outside_of_the_folders_is_not_followed_but_its_name_is_looked_up(match, tmp_path, value):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.nii").touch()
    value = value.replace("/outside/", f"{tmp_path}/outside/") if value.startswith("/") else value
    assert match(["a"], ["deep/x.nii"], file=[value]) == ["deep/x.nii"]


def test_a_base_name_that_occurs_twice_is_refused_with_both(match):
    with pytest.raises(AekitError, match=r"several files match a \(.*p/x\.nii, .*q/x\.nii\); .*--pattern"):
        match(["a"], ["p/x.nii", "q/x.nii"], file=["elsewhere/x.nii"])


def test_a_file_name_too_long_for_the_disk_is_a_missing_file(match):
    assert match(["a", "b"], ["b.nii"], file=["x" * 5000, "b.nii"]) == [None, "b.nii"]


def test_several_files_of_a_participant_are_all_named(match):
    names = ["sub-1_T1w.nii", "sub-1_T2w.nii", "sub-2_T1w.nii", "sub-3_a.nii", "sub-3_b.nii"]
    with pytest.raises(AekitError) as error:
        match(["sub-1", "sub-2", "sub-3"], names)
    message = str(error.value)
    assert "sub-1 (" in message
    assert "sub-3 (" in message
    assert "sub-2 (" not in message
    assert "sub-1_T1w.nii, " in message
    assert "--pattern" in message
    assert "\n" not in message


def test_one_file_for_two_participants_is_refused(match):
    with pytest.raises(AekitError, match=r"one file for several participants: .*x\.nii \(a and b\)"):
        match(["a", "b", "c"], ["x.nii", "c.nii"], file=["x.nii", "x.nii", "c.nii"])
    with pytest.raises(AekitError, match=r"sub-01\.nii \(sub-01 and 01\)"):
        match(["sub-01", "01"], ["sub-01.nii"])


def test_one_file_by_two_ways_is_still_one_file(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.nii").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    table = pd.DataFrame({"participant_id": ["a", "b"], "file": ["real/x.nii", "link/x.nii"]})
    cohort = Cohort("p.tsv", table, (), pd.DataFrame())
    with pytest.raises(AekitError, match="one file for several participants"):
        match_files(cohort, tmp_path / "real", table_path=tmp_path / "p.tsv")
    matched = match_files(cohort.subset([1]), tmp_path / "real", table_path=tmp_path / "p.tsv")
    assert matched.without_row == ()


@pytest.mark.parametrize(
    ("pattern", "ids", "names", "expected"),
    [
        ("{id}_T1w.nii.gz", ["1"], ["a/1_T1w.nii.gz", "a/1_T2w.nii.gz"], ["a/1_T1w.nii.gz"]),
        ("{id}_*", ["1", "11"], ["1_x.nii", "11_x.nii"], ["1_x.nii", "11_x.nii"]),
        ("*{id}*", ["1", "11"], ["s_1.nii", "s_11.nii"], ["s_1.nii", "s_11.nii"]),
        ("*{id}*", ["1"], ["s_1.nii", "s_11.nii", "s_21.nii"], ["s_1.nii"]),
        ("IXI{id:03}-*", ["12", "112"], ["IXI012-HH.nii", "IXI112-HH.nii"], ["IXI012-HH.nii", "IXI112-HH.nii"]),
        ("sub-{id}/anat/sub-{id}_T1w.nii", ["sub-1"], ["sub-1/anat/sub-1_T1w.nii"], ["sub-1/anat/sub-1_T1w.nii"]),
        ("sub-{id}/**/*_T1w.nii", ["1"], ["sub-1/ses-2/anat/x_T1w.nii"], ["sub-1/ses-2/anat/x_T1w.nii"]),
        ("ses-1/{id}.nii", ["1"], ["ses-1/1.nii", "ses-2/1.nii"], ["ses-1/1.nii"]),
        ("s{id}_[!x].nii", ["1"], ["s1_x.nii", "s1_y.nii"], ["s1_y.nii"]),
        ("scan?_{id}.nii", ["1"], ["scan7_1.nii", "scan77_1.nii"], ["scan7_1.nii"]),
        ("{id}.nii", ["a+b"], ["a+b.nii", "aab.nii"], ["a+b.nii"]),
    ],
)
def test_a_pattern_shows_where_the_id_is(match, pattern, ids, names, expected):
    assert match(ids, names, pattern=pattern) == expected


def test_a_pattern_comes_before_the_file_column(match):
    assert match(["a"], ["a_1.nii", "a_2.nii"], file=["a_1.nii"], pattern="{id}_2.nii") == ["a_2.nii"]


def test_a_repeated_id_in_a_pattern_is_the_same_id(match):
    with pytest.raises(AekitError, match="matches no file"):
        match(["1", "2"], ["sub-1/sub-2.nii"], pattern="sub-{id}/sub-{id}.nii")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("*_T1w.nii.gz", "has no {id}; write {id} in place of the participant_id"),
        ("../{id}.nii", "leaves the folder"),
        ("/data/{id}.nii", "leaves the folder"),
        ("{id}[z-a].nii", "cannot be parsed"),
        ("{id}_{id:03}.nii", "pads its ids in two ways"),
        ("{id}_FLAIR.nii", "matches no file; an id is '1' and a file '1.nii'"),
    ],
)
def test_an_unusable_pattern_is_refused_with_its_option(match, pattern, message):
    with pytest.raises(AekitError) as error:
        match(["1"], ["1.nii"], pattern=pattern)
    assert str(error.value).startswith("--pattern: ")
    assert message in str(error.value)


def test_no_overlap_shows_an_id_and_a_file(match):
    with pytest.raises(AekitError, match=r"an id is 'sub-1' and a file 'deep/7\.nii', show with --pattern"):
        match(["sub-1"], ["deep/7.nii"])
    with pytest.raises(AekitError, match=r"that of 'sub-1' is 'b\.nii' and a file here 'deep/7\.nii'"):
        match(["sub-1"], [], file=["b.nii"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ids", "names", "message"),
    [
        (
            ["sub-1", "sub-2"],
            ["sub-01_T1w.nii", "sub-02_T1w.nii"],
            "2 ids differ .* 'sub-1' and 'sub-01_T1w.nii'; f",
        ),
        (["7"], ["sub-007_ses-007_T1w.nii"], r"1 id differs .*; find them with --pattern 'sub-\{id:03\}\*'"),
        (
            ["007"],
            ["sub-7.nii"],
            "1 id differs from the names of files in leading zeros only, as '007' and",
        ),
        (["sub-1_ses-1"], ["sub-01_ses-01.nii"], "1 id differs .*; correct the ids"),
        (["7"], ["a_x_007_y.nii"], r"with --pattern '\*\{id:03\}\*'"),
    ],
)
def test_missing_leading_zeros_are_hinted_at(match, ids, names, message):
    with pytest.raises(AekitError, match=message) as error:
        match(ids, names)
    if "--pattern" in str(error.value):
        pattern = str(error.value).split("--pattern '")[1].split("'")[0]
        assert match(ids, names, pattern=pattern) == names


def test_a_few_ids_without_zeros_are_hinted_at_and_others_are_not(tmp_path):
    for name in ("sub-10.nii", "sub-01.nii", "sub-0020.nii", "sub-20.nii", "sub-33.nii"):
        (tmp_path / name).touch()
    table = pd.DataFrame({"participant_id": ["sub-10", "sub-1", "sub-4"]})
    cohort = Cohort("participants.tsv", table, (), pd.DataFrame())
    hint = match_files(cohort, tmp_path, table_path=tmp_path / "participants.tsv").hint
    assert hint.startswith("1 id differs from the names of files in leading zeros only, as 'sub-1' and 'sub-01.nii'")
    cohort = Cohort("participants.tsv", table.iloc[[0, 2]].reset_index(drop=True), (), pd.DataFrame())
    assert not match_files(cohort, tmp_path, table_path=tmp_path / "participants.tsv").hint


@pytest.mark.parametrize("link", ["file", "folder"])
@pytest.mark.parametrize("column", [None, ["a.nii", "b.nii"]])
def test_links_in_the_folder_are_not_elsewhere(tmp_path, link, column):
    (tmp_path / "store").mkdir()
    for name in ("a.nii", "b.nii"):
        (tmp_path / "store" / name).touch()
    if link == "folder":
        (tmp_path / "volumes").symlink_to(tmp_path / "store")
    else:
        (tmp_path / "volumes").mkdir()
        for name in ("a.nii", "b.nii"):
            (tmp_path / "volumes" / name).symlink_to(tmp_path / "store" / name)
    table = pd.DataFrame({"participant_id": ["a", "b"]})
    table = table if column is None else table.assign(file=column)
    cohort = Cohort("participants.tsv", table, (), pd.DataFrame())
    matched = match_files(cohort, tmp_path / "volumes", table_path=tmp_path / "table" / "participants.tsv")
    assert matched.without_file == matched.elsewhere == ()


def test_files_that_the_table_has_elsewhere_are_named(tmp_path):
    for folder, name in (("volumes", "a.nii"), ("other", "b.nii")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    table = pd.DataFrame({"participant_id": ["a", "b"], "file": ["a.nii", "other/b.nii"]})
    cohort = Cohort("participants.tsv", table, (), pd.DataFrame())
    matched = match_files(cohort, tmp_path / "volumes", table_path=tmp_path / "participants.tsv")
    assert matched.elsewhere == (tmp_path / "other" / "b.nii",)


@pytest.mark.slow
def test_ten_thousand_participants_and_files_are_matched_in_seconds(tmp_path):
    n = 10_000
    for number in range(n):
        os.close(os.open(tmp_path / f"sub-{number:05d}_T1w.nii", os.O_CREAT))
    table = pd.DataFrame({"participant_id": [f"sub-{number:05d}" for number in range(n)]})
    cohort = Cohort("p.tsv", table, (), pd.DataFrame())
    start = time.perf_counter()
    for pattern in (None, "{id}_T1w*"):
        matched = match_files(cohort, tmp_path, table_path=tmp_path / "p.tsv", pattern=pattern)
        assert [path.name[:9] for path in matched.paths] == list(table["participant_id"])
    assert time.perf_counter() - start < 8  # 1.0 s on an idle machine; person by person it would be minutes


@pytest.mark.real_data
def test_every_real_brain_has_its_row():
    brain = Path(os.environ["AEKIT_DATA"]) / "brain"
    table = brain / "tables" / "ixi_hh_participants.tsv"
    cohort = read_cohort(table)
    by_column = match_files(cohort, brain / "volumes" / "ixi_hh_2mm", table_path=table)
    without = Cohort(cohort.name, cohort.table.drop(columns="file"), (), cohort.left_out)
    by_name = match_files(without, brain / "volumes" / "ixi_hh_2mm", table_path=table)
    assert by_column == by_name
    assert len(by_name.paths) == 181
    assert not by_name.without_file
    assert not by_name.without_row


@pytest.mark.parametrize("pattern", [None, "{id}_T1w.nii"])
def test_the_scan_of_a_session_that_was_left_out_has_a_row(tmp_path, pattern):
    (tmp_path / "table.tsv").write_text("participant_id\tage\na_ses-1\t20\na_ses-2\t21\nb_ses-1\t30\nc\t150\n")
    cohort = read_cohort(tmp_path / "table.tsv", sessions="first", skip_bad=True)
    for one in ("a_ses-1", "a_ses-2", "b_ses-1", "c", "d"):
        (tmp_path / f"{one}_T1w.nii").touch()
    matched = match_files(cohort, tmp_path, table_path=tmp_path / "table.tsv", pattern=pattern)
    assert [path.name for path in matched.paths] == ["a_ses-1_T1w.nii", "b_ses-1_T1w.nii"]
    assert [path.name for path in matched.without_row] == ["d_T1w.nii"]


def test_files_find_their_rows_by_the_column_file_or_by_the_id_in_their_name(cohort_of):
    files = [Path("a/sub-02_T1w.nii.gz"), Path("b/sub-02_ses-1.nii"), Path("c/sub-112.nii"), Path("d/12.npy")]
    by_name = cohort_of(participant_id=["sub-02", "sub-12"], age=[20, 30])
    assert rows_of_files(by_name, files) == {files[0]: 0, files[1]: 0, files[3]: 1}
    by_column = cohort_of(participant_id=["x", "y"], age=[20, 30], file=["scans/sub-112.nii", ""])
    assert rows_of_files(by_column, files) == {files[2]: 0}


def test_a_file_of_two_participants_is_refused(cohort_of):
    cohort = cohort_of(participant_id=["sub-02", "T1w"], age=[20, 30], file=["x.nii", "y/x.nii"])
    with pytest.raises(AekitError, match=r"d/x\.nii: belongs to several participants, sub-02 and T1w"):
        rows_of_files(cohort, [Path("d/x.nii")])
