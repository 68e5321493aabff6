import csv
import gzip
import json

import nibabel as nib
import numpy as np
import pytest
from recorded import Recorded

from aekit.brains.cohort.phantom import run_phantom
from aekit.brains.volumes.checks import inspect_volumes
from aekit.errors import AekitError


def make(folder, n=4, size=20, **options):
    return run_phantom(n, folder, size=size, **options)


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_table_states_the_volumes_that_the_images_have(tmp_path):
    result = make(tmp_path / "p", 5, 24)
    assert result.path == tmp_path / "p"
    assert result.values == {
        "table": f"{tmp_path}/p/participants.tsv", "volumes": f"{tmp_path}/p/volumes", "size": 24, "spacing_mm": 8.0,
        "seed": 0, "n": 5,
    }  # fmt: skip
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


def test_everything_is_marked_as_synthetic(tmp_path):
    make(tmp_path / "p")
    for name in ("participants.tsv", "qc.tsv"):
        assert {row["synthetic"] for row in rows(tmp_path / "p" / name)} == {"true"}
    about = json.loads((tmp_path / "p" / "dataset_description.json").read_text())
    assert about["Synthetic"] is True
    for path in (tmp_path / "p" / "volumes").iterdir():
        assert b"SYNTHETIC" in bytes(nib.load(path).header["descrip"])


def test_there_is_a_quality_measure_of_each_scan(tmp_path):
    make(tmp_path / "p")
    quality = rows(tmp_path / "p" / "qc.tsv")
    assert [row["participant_id"] for row in quality] == [f"sub-000{number}" for number in range(1, 5)]
    assert {row["qc"] for row in quality} == {"1"}
    assert all(float(row["cnr"]) > 3 and float(row["tilt_deg"]) <= 8 for row in quality)


def test_the_same_options_give_the_same_bytes_for_any_number_of_threads(tmp_path):
    make(tmp_path / "a", jobs=1)
    make(tmp_path / "b", jobs=3)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    packed = (tmp_path / "a" / "volumes" / "sub-0001_T1w.nii.gz").read_bytes()
    assert packed[4:8] == bytes(4)  # no time stamp
    make(tmp_path / "c", seed=1)
    images = [gzip.decompress((tmp_path / name / "volumes" / "sub-0001_T1w.nii.gz").read_bytes()) for name in "ac"]
    assert images[0] != images[1]


def test_a_small_cohort_is_the_start_of_a_large_one(tmp_path):
    make(tmp_path / "small", 2)
    make(tmp_path / "large", 5)
    small, large = contents(tmp_path / "small"), contents(tmp_path / "large")
    assert large["participants.tsv"].startswith(small["participants.tsv"])
    assert all(large[name] == content for name, content in small.items() if name.startswith("volumes"))
    assert len(large) - len(small) == 3


def test_an_interrupted_cohort_continues_with_the_existing_volumes(tmp_path):
    make(tmp_path / "p")
    whole = contents(tmp_path / "p")
    (tmp_path / "p" / "participants.tsv").unlink()
    (tmp_path / "p" / "volumes" / "sub-0003_T1w.nii.gz").unlink()
    progress = Recorded()
    make(tmp_path / "p", progress=progress)
    name = tmp_path / "p"
    assert progress.notices == [f"{name}: 4 synthetic brains of 20x20x20 voxels of 9.6 mm, 3 of which existed"]
    assert progress.updates == [(f"{name}: generating brains", done, 4) for done in (1, 2, 3, 4)]
    assert contents(tmp_path / "p") == whole


@pytest.mark.parametrize("options", [{"size": 21}, {"seed": 5}, {"n": 3}, {"spacing_mm": 10.0}])
def test_an_interrupted_cohort_of_other_options_is_not_mixed_with_this_one(tmp_path, options):
    make(tmp_path / "p")
    (tmp_path / "p" / "participants.tsv").unlink()
    with pytest.raises(AekitError, match="of other options; replace it with --overwrite"):
        make(tmp_path / "p", **options)


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_others_are_never_touched(tmp_path, overwrite):
    (tmp_path / "participants.tsv").write_text("participant_id\n")
    (tmp_path / "dataset_description.json").write_text('{"Name": "a study"}')
    before = contents(tmp_path)
    with pytest.raises(AekitError, match="files that mri-phantom did not write"):
        make(tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == before
