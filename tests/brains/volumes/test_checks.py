import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nifti_files import BAD_FILES, affine_of, ball, brain, nifti, packed, write
from recorded import Recorded

from aekit.brains.volumes.checks import inspect_volumes


def large_brain():
    """Return a ball of 7 mm voxels that has the volume of a brain."""
    return np.where(ball(), 150, 0).astype(np.float32)


def test_a_check_has_shape_spacing_and_volume_of_the_brain(tmp_path):
    affine = affine_of("LPS", (9.0, 9.0, 9.0), (24,) * 3)
    (check,) = inspect_volumes([write(tmp_path / "a.nii", large_brain(), affine)])
    assert (check.problem, check.warnings, check.orientation) == ("", (), "LPS")
    assert check.brain_ml == pytest.approx(ball().sum() * 0.729)
    np.testing.assert_allclose(check.spacing_mm, 9, rtol=1e-6)


def test_a_brain_of_impossible_volume_is_a_warning(tmp_path):
    (check,) = inspect_volumes([write(tmp_path / "a.nii", large_brain())])
    assert "12 mL: a wrong voxel size" in check.warnings[0]


def test_checks_continue_after_bad_files_in_order(tmp_path):
    paths = []
    for number, (make, _) in enumerate(BAD_FILES.values()):
        content = make()
        paths.append(tmp_path / f"{number}.nii{'.gz' if content[:2] == bytes([31, 139]) else ''}")
        paths[-1].write_bytes(content)
    paths += [tmp_path / "missing.nii", write(tmp_path / "good.nii"), tmp_path]
    progress = Recorded()
    checks = inspect_volumes(paths, jobs=3, progress=progress)
    assert [check.path for check in checks] == paths
    assert [not check.problem for check in checks] == [path.name == "good.nii" for path in paths]
    assert checks[list(BAD_FILES).index("NaN")].n_nan == 1
    assert progress.updates == [("checking volumes", done, len(paths)) for done in range(1, len(paths) + 1)]


def test_checks_survive_damaged_headers(tmp_path):
    random = np.random.default_rng(0)
    whole = nifti(kind=nib.Nifti1Image)
    paths = []
    for number in range(300):
        content = bytearray(whole)
        for position in random.integers(0, 348, 4):
            content[position] = random.integers(256)
        paths.append(tmp_path / f"{number}.nii")
        paths[-1].write_bytes(bytes(content))
    checks = inspect_volumes(paths, jobs=2)
    assert 20 < sum(bool(check.problem) for check in checks) < 280


def test_a_copy_has_the_digest_of_the_scan_and_another_scan_has_not(tmp_path):
    write(tmp_path / "a.nii")
    paths = [tmp_path / "a.nii", packed(tmp_path / "copy.nii.gz"), tmp_path / "rotated.nii"]
    nib.save(nib.load(paths[0]).as_reoriented(np.array([[1, -1], [0, 1], [2, -1]])), paths[2])
    other = brain()
    other[4, 5, 3] += 0.5
    paths += [write(tmp_path / "b.nii", other), write(tmp_path / "c.nii", affine=affine_of(spacing=(2, 2, 2.1)))]
    digests = [check.digest for check in inspect_volumes(paths)]
    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests)) == 3


@pytest.mark.real_data
def test_the_masks_of_ixi_have_the_volumes_of_the_table():
    import pandas as pd

    folder = Path(os.environ["AEKIT_DATA"]) / "brain"
    table = pd.read_csv(folder / "tables" / "ixi_hh_participants.tsv", sep="\t")
    checks = inspect_volumes([folder / file for file in table["file"]])
    assert not [check for check in checks if check.problem or check.warnings]
    assert len({check.digest for check in checks}) == 181
    np.testing.assert_allclose([check.brain_ml for check in checks], table["tiv"], rtol=5e-4)
