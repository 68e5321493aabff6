import csv
import json

import pytest


def make(aekit, folder, n=4, size=20, *options):
    return aekit("mri-phantom", "-n", n, "--size", size, "-o", folder, *options)


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_cohort_is_replaced_only_when_asked(aekit, tmp_path):
    make(aekit, tmp_path / "p", 4)
    before = contents(tmp_path / "p")
    refused = make(aekit, tmp_path / "p", 2)
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr
    assert contents(tmp_path / "p") == before
    assert make(aekit, tmp_path / "p", 2, 20, "--overwrite").exit_code == 0
    assert len(list((tmp_path / "p" / "volumes").iterdir())) == 2


def test_a_finished_cohort_is_left_as_it_is_with_resume(aekit, tmp_path):
    make(aekit, tmp_path / "p")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "p").rglob("*")}
    again = make(aekit, tmp_path / "p", 4, 20, "--resume")
    assert (again.exit_code, again.stdout) == (0, f"{tmp_path / 'p'}\n")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "p").rglob("*")} == before
    assert make(aekit, tmp_path / "p", 4, 21, "--resume").exit_code == 1


def test_json_has_the_paths_of_the_table_and_the_volumes(aekit, tmp_path):
    result = make(aekit, tmp_path / "p", 2, 20, "--json", "--quiet")
    told = json.loads(result.stdout)
    assert told["path"] == str(tmp_path / "p")
    assert told["volumes"] == str(tmp_path / "p" / "volumes")
    assert told["n"] == 2
    assert result.stderr == ""


def test_without_an_output_the_folder_is_named_after_the_options(aekit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = aekit("mri-phantom", "-n", 1, "--size", 16, "--spacing", 12)
    assert result.stdout == "runs/phantom-n1-size16-seed0-spacing12\n"
    assert (tmp_path / "runs" / "phantom-n1-size16-seed0-spacing12" / "participants.tsv").exists()


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (("--size", 12), 2, "--size: 12 voxels are outside 16 to 320"),
        (("--size", 48, "--spacing", 2), 1, "--spacing: 48 voxels of 2 mm are 96 mm"),
        (("--size", 48, "--spacing", 0), 1, "--spacing: "),
        (("--size", 48, "--spacing", "nan"), 1, "--spacing: "),
        (("-n", 0), 2, "-n"),
        (("--seed", -1), 2, "--seed"),
        (("--jobs", 0), 2, "--jobs"),
    ],
)
def test_impossible_values_are_an_error_that_names_the_option(aekit, tmp_path, options, code, named):
    result = aekit("mri-phantom", *options, "-o", tmp_path / "p")
    assert result.exit_code == code
    assert named in result.stderr
    assert not (tmp_path / "p").exists()


def test_a_file_in_place_of_the_folder_is_an_error(aekit, tmp_path):
    (tmp_path / "p").write_text("")
    result = make(aekit, tmp_path / "p")
    assert result.exit_code == 1
    assert "is a file; give a folder" in result.stderr
