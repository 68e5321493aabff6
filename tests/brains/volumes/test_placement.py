import gzip

import nibabel
import numpy as np
import pytest
from analytic_head import head, rotation
from scipy import ndimage
from scipy.spatial.transform import Rotation

from aekit.brains.volumes.gridding import Grid, to_grid
from aekit.brains.volumes.nifti import read_volume
from aekit.brains.volumes.placement import centred_affine, grid_affine, to_mm, write_nifti

GRID = Grid((20, 22, 18), 6.0)


@pytest.fixture
def brain():
    """Return an ellipsoid with a bright part on one side, (X, Y, Z), of voxels of 2.5 mm."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in (40, 44, 36)], indexing="ij")
    data = np.where((x / 0.8) ** 2 + (y / 0.9) ** 2 + (z / 0.7) ** 2 < 1, 60.0, 0.0)
    return np.where((data > 0) & (x > 0.25) & (y > 0.1), 110.0, data).astype(np.float32)


def centre_mm(data, affine):
    places = np.stack(np.nonzero(data > 0)).astype(float)
    weights = data[data > 0]
    return affine[:3, :3] @ (places * weights).sum(1) / weights.sum() + affine[:3, 3]


TILTED = 2.5 * Rotation.from_euler("z", 20, degrees=True).as_matrix()


@pytest.mark.parametrize("axes", [TILTED, np.diag([2.5, 2.5, 2.5]), np.array([[0, 0, 2.5], [-2.5, 0, 0], [0, 2.5, 0]])])
def test_maps_lie_over_the_scan_in_its_own_space(brain, tmp_path, axes):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, (-31.0, 17.0, 140.0)
    nibabel.save(nibabel.Nifti1Image(brain, affine), tmp_path / "scan.nii.gz")
    volume = read_volume(tmp_path / "scan.nii.gz")
    image = to_grid(volume, GRID).image
    path = write_nifti(tmp_path / "grid.nii.gz", image, grid_affine(volume, GRID), "a scan")
    back = nibabel.load(path)
    np.testing.assert_allclose(back.get_fdata(), image, atol=1e-6)
    # The centre of intensity in mm is that of the scan itself, found by nibabel from the file alone.
    original = nibabel.load(tmp_path / "scan.nii.gz")
    np.testing.assert_allclose(
        centre_mm(back.get_fdata(), back.affine), centre_mm(original.get_fdata(), original.affine), atol=0.1
    )
    assert back.header.get_zooms() == pytest.approx((6, 6, 6))
    assert nibabel.aff2axcodes(back.affine) == ("R", "A", "S")


def test_maps_of_an_aligned_scan_are_turned_back_to_the_scan(tmp_path):
    linear, shift_mm = rotation((10, 5, -15)) @ np.diag([1.1, 0.9, 1.0]), np.array([4.0, -3.0, 2.0])
    data = 100 * head((72, 84, 72), 3.0, linear=linear)
    nibabel.save(
        nibabel.Nifti1Image(data, np.array([[3, 0, 0, -80], [0, 3, 0, 9], [0, 0, 3, 4], [0, 0, 0, 1.0]])),
        tmp_path / "a.nii",
    )
    volume, grid = read_volume(tmp_path / "a.nii"), Grid((36, 40, 36), 6.0)
    matrix = np.hstack([linear, shift_mm[:, None]])
    gridded = to_grid(volume, grid, matrix=matrix)
    affine = grid_affine(volume, grid, np.array([*matrix.ravel(), 1.0]))
    # The scan at the places of the grid's voxels, found from the affines of both alone.
    to_scan = np.linalg.inv(volume.affine) @ affine
    smooth = ndimage.gaussian_filter(data, 0.7)
    expected = ndimage.affine_transform(smooth, to_scan[:3, :3], to_scan[:3, 3], grid.size, order=1)
    np.testing.assert_allclose(gridded.image * gridded.scale, expected, atol=12)
    assert np.corrcoef(gridded.image.ravel(), expected.ravel())[0, 1] > 0.998
    unturned = np.linalg.inv(volume.affine) @ grid_affine(volume, grid)
    other = ndimage.affine_transform(smooth, unturned[:3, :3], unturned[:3, 3], grid.size, order=1)
    assert np.corrcoef(gridded.image.ravel(), other.ravel())[0, 1] < 0.98


def test_a_sheared_map_has_no_qform_which_could_not_state_it(tmp_path):
    affine = np.array([[6, 1, 0, -40], [0, 6, 0, -50], [0, 0, 6, -30], [0, 0, 0, 1.0]])
    back = nibabel.load(write_nifti(tmp_path / "a.nii.gz", np.ones(GRID.size), affine, "x"))
    np.testing.assert_allclose(back.affine, affine)
    assert (int(back.header["qform_code"]), int(back.header["sform_code"])) == (0, 1)


def test_qform_and_sform_agree_and_the_bytes_have_no_time_stamp(tmp_path):
    values = np.random.default_rng(0).normal(size=GRID.size)
    paths = [write_nifti(tmp_path / name, values, centred_affine(GRID), "x") for name in ("a.nii.gz", "b.nii.gz")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    header = nibabel.load(paths[0]).header
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-5)
    assert header.get_xyzt_units()[0] == "mm"
    assert len(gzip.decompress(paths[0].read_bytes())) == 352 + 4 * values.size


def test_the_origin_of_means_is_the_centre_of_the_grid():
    affine = centred_affine(GRID)
    ends = to_mm(affine, (0, 0, 0)), to_mm(affine, tuple(side - 1 for side in GRID.size))
    np.testing.assert_allclose(np.add(*ends), 0)
    np.testing.assert_allclose(ends[1] - ends[0], 6.0 * (np.array(GRID.size) - 1))
