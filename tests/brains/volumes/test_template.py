import nibabel as nib
import numpy as np
import pytest
from analytic_head import degrees_between, head, rotation

from aekit.brains.volumes.registration import WORKING_GRID
from aekit.brains.volumes.template import (
    Template,
    align_all,
    build_template,
    describe_poses,
    pose_of,
    pose_warnings,
    read_template,
)
from aekit.errors import AekitError


def numbers(degrees=(0, 0, 0), scale=1.0, correlation=0.98):
    return np.array([*np.hstack([scale * rotation(degrees), np.zeros((3, 1))]).ravel(), correlation])


def usual(n=40):
    random = np.random.default_rng(0)
    return np.array(
        [
            numbers(random.normal(0, 4, 3), np.exp(random.normal(0, 0.03)), 0.98 + random.normal(0, 0.003))
            for _ in range(n)
        ]
    )


@pytest.mark.slow
def test_a_template_is_sharper_than_the_mean_and_has_the_mean_pose():
    random = np.random.default_rng(1)
    degrees = random.normal(0, 10, (10, 3))
    images = np.array([head(linear=rotation(each)) for each in degrees])
    template = build_template(images, "rigid", jobs=1)
    image = template.image.astype(np.float32)
    alone = head()
    same = [np.corrcoef(one.ravel(), ((alone + alone[::-1]) / 2).ravel())[0, 1] for one in (image, images.mean(axis=0))]
    assert same[0] > same[1]
    np.testing.assert_array_equal(template.image, template.image[::-1])
    poses = [pose_of(row) for row in align_all(images, template, "rigid", jobs=1)]
    # What lies between any two scans is as planted, whatever the pose of the template.
    for row in range(1, 10):
        found = poses[row].matrix[:, :3] @ poses[0].matrix[:, :3].T
        assert degrees_between(found, rotation(degrees[row]) @ rotation(degrees[0]).T) < 0.8
    mean = np.mean([pose.matrix[:, :3] for pose in poses], axis=0)
    left, _, right = np.linalg.svd(mean)
    assert degrees_between(left @ right, np.eye(3)) < 3  # of ten heads that are turned by 10 degrees (SD)


def test_unusable_rows_have_no_pose_and_count_for_nothing():
    template = Template(head().astype(np.float16))
    poses = align_all(np.stack([head(), np.zeros_like(head())]), template, "rigid", jobs=1)
    assert poses.shape == (2, 13)
    assert poses[0, 12] > 0.999
    assert np.isnan(poses[1]).all()
    assert pose_warnings(poses[1], describe_poses(usual())) == ()
    assert describe_poses(np.concatenate([usual(), poses[1:], np.zeros((1, 13))])) == describe_poses(usual())


def test_without_poses_there_are_no_limits():
    assert describe_poses(np.empty((5, 0))) == {}


def test_usual_poses_are_not_flagged_and_unusual_ones_are_named():
    limits = describe_poses(usual())
    assert not any(pose_warnings(row, limits) for row in usual())
    (text,) = pose_warnings(numbers(correlation=0.87), limits)
    assert text.startswith("aligned to the template with a correlation of only 0.870 (others at least 0.9")
    (text,) = pose_warnings(numbers(scale=1.4), limits)
    assert text.startswith("1.40 times as long as the template (others 0.8")
    (text,) = pose_warnings(numbers((90, 0, 0)), limits)
    assert text.startswith("turned by 90 degrees to match the template (others up to ")
    stretched = numbers()
    stretched[[0, 5]] = 2.0, 0.5
    (text,) = pose_warnings(stretched, limits)
    assert text.startswith("stretched 4.0 times along one axis")


def test_one_wrong_scan_does_not_widen_the_limits():
    wrong = np.concatenate([usual(), [numbers((170, 0, 0), 3.0, 0.1)]])
    assert pose_warnings(wrong[-1], describe_poses(wrong))
    for name, limits in describe_poses(wrong).items():
        np.testing.assert_allclose(limits, describe_poses(usual())[name], rtol=0.1)


def test_a_cohort_in_which_nothing_fits_has_no_low_limit():
    assert (
        describe_poses(np.array([numbers(correlation=0.3 + row / 100) for row in range(20)]))["correlation"][0] == 0.85
    )


def test_a_template_is_read_from_a_volume(tmp_path):
    path = tmp_path / "template.nii"
    path.write_bytes(nib.Nifti1Image(100 * head(), np.diag([4.0, 4, 4, 1])).to_bytes())
    template = read_template(path)
    assert template.image.shape == WORKING_GRID.size
    assert np.corrcoef(template.image.ravel(), head().ravel())[0, 1] > 0.98
    assert template.digest == read_template(path).digest
    (tmp_path / "bad.nii").write_bytes(b"")
    with pytest.raises(AekitError, match=r"bad\.nii: the file is empty"):
        read_template(tmp_path / "bad.nii")
