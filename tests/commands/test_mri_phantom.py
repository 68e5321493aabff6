import csv
import gzip
import json

import nibabel as nib
import numpy as np
import pytest

from aekit.brains.volumes.checks import inspect_volumes


def make(aekit, folder, n=4, size=20, *options):
    return aekit("mri-phantom", "-n", n, "--size", size, "-o", folder, *options)


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_table_states_the_volumes_that_the_images_have(aekit, tmp_path):
    result = make(aekit, tmp_path / "p", 5, 24)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'p'}\n")
    table = rows(tmp_path / "p" / "participants.tsv")
    assert [row["participant_id"] for row in table] == [f"sub-000{number}" for number in range(1, 6)]
    checks = inspect_volumes([tmp_path / "p" / row["file"] for row in table])
    for row, check in zip(table, checks, strict=True):
        assert (check.problem, check.warnings, check.orientation, check.shape) == ("", (), "RAS", (24, 24, 24))
        assert check.brain_ml == pytest.approx(float(row["tiv"]), rel=1e-8)
        voxels = np.array([float(row[name]) for name in ("gmv", "wmv", "csfv")]) / 0.512
        np.testing.assert_allclose(voxels, np.rint(voxels), atol=1e-4)
        assert sum(voxels) == pytest.approx(float(row["tiv"]) / 0.512)
        assert row["sex"] in "FM"
        assert 6 <= float(row["age"]) <= 86
    assert len({check.digest for check in checks}) == 5


def test_everything_is_marked_as_synthetic(aekit, tmp_path):
    make(aekit, tmp_path / "p")
    for name in ("participants.tsv", "qc.tsv"):
        assert {row["synthetic"] for row in rows(tmp_path / "p" / name)} == {"true"}
    about = json.loads((tmp_path / "p" / "dataset_description.json").read_text())
    assert about["Synthetic"] is True
    for path in (tmp_path / "p" / "volumes").iterdir():
        assert b"SYNTHETIC" in bytes(nib.load(path).header["descrip"])


def test_there_is_a_quality_measure_of_each_scan(aekit, tmp_path):
    make(aekit, tmp_path / "p")
    quality = rows(tmp_path / "p" / "qc.tsv")
    assert [row["participant_id"] for row in quality] == [f"sub-000{number}" for number in range(1, 5)]
    assert {row["qc"] for row in quality} == {"1"}
    assert all(float(row["cnr"]) > 3 and float(row["tilt_deg"]) <= 8 for row in quality)


def test_the_same_options_give_the_same_bytes_for_any_number_of_threads(aekit, tmp_path):
    make(aekit, tmp_path / "a", 4, 20, "--jobs", 1)
    make(aekit, tmp_path / "b", 4, 20, "--jobs", 3)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    packed = (tmp_path / "a" / "volumes" / "sub-0001_T1w.nii.gz").read_bytes()
    assert packed[4:8] == bytes(4)  # no time stamp
    make(aekit, tmp_path / "c", 4, 20, "--seed", 1)
    images = [gzip.decompress((tmp_path / name / "volumes" / "sub-0001_T1w.nii.gz").read_bytes()) for name in "ac"]
    assert images[0] != images[1]


def test_a_small_cohort_is_the_start_of_a_large_one(aekit, tmp_path):
    make(aekit, tmp_path / "small", 2)
    make(aekit, tmp_path / "large", 5)
    small, large = contents(tmp_path / "small"), contents(tmp_path / "large")
    assert large["participants.tsv"].startswith(small["participants.tsv"])
    assert all(large[name] == content for name, content in small.items() if name.startswith("volumes"))
    assert len(large) - len(small) == 3


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


def test_an_interrupted_cohort_continues_with_the_existing_volumes(aekit, tmp_path):
    make(aekit, tmp_path / "p")
    whole = contents(tmp_path / "p")
    (tmp_path / "p" / "participants.tsv").unlink()
    (tmp_path / "p" / "volumes" / "sub-0003_T1w.nii.gz").unlink()
    result = make(aekit, tmp_path / "p")
    assert result.exit_code == 0
    assert "3 of which existed" in result.stderr
    assert contents(tmp_path / "p") == whole


@pytest.mark.parametrize("options", [(4, 21), (4, 20, "--seed", 5), (3, 20)])
def test_an_interrupted_cohort_of_other_options_is_not_mixed_with_this_one(aekit, tmp_path, options):
    make(aekit, tmp_path / "p")
    (tmp_path / "p" / "participants.tsv").unlink()
    result = make(aekit, tmp_path / "p", *options)
    assert result.exit_code == 1
    assert "other options; replace it with --overwrite" in result.stderr


@pytest.mark.parametrize("option", [(), ("--overwrite",)])
def test_files_of_others_are_never_touched(aekit, tmp_path, option):
    (tmp_path / "participants.tsv").write_text("participant_id\n")
    (tmp_path / "dataset_description.json").write_text('{"Name": "a study"}')
    before = contents(tmp_path)
    result = make(aekit, tmp_path, 4, 20, *option)
    assert result.exit_code == 1
    assert "did not write" in result.stderr
    assert contents(tmp_path) == before


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
        (("--size", 12), 1, "--size: 12 voxels are outside 16 to 320"),
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
