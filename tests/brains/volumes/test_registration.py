import numpy as np
import pytest
from analytic_head import degrees_between, head, rotation
from scipy.spatial.transform import Rotation

from aekit.brains.volumes.registration import Pose, align

TEMPLATE = head()


@pytest.mark.parametrize(
    ("degrees", "shift_mm"), [((5, -8, 12), (3, -4, 2)), ((-35, 20, 10), (10, 6, -9)), ((0, 0, 0), (0, 0, 0))]
)
def test_a_planted_rotation_and_shift_are_recovered(degrees, shift_mm):
    pose = align(head(linear=rotation(degrees), shift_mm=shift_mm, gain=3.0), TEMPLATE, "rigid")
    assert degrees_between(pose.matrix[:, :3], rotation(degrees)) < 0.2
    np.testing.assert_allclose(pose.matrix[:, 3], shift_mm, atol=0.15)
    assert pose.rotation_deg == pytest.approx(np.degrees(Rotation.from_matrix(rotation(degrees)).magnitude()), abs=0.2)
    assert pose.correlation > 0.995


def test_planted_sizes_along_three_axes_are_recovered():
    linear = rotation((6, -10, 8)) @ np.diag([1.10, 0.92, 1.04])
    pose = align(head(linear=linear, shift_mm=(4, -3, 5)), TEMPLATE, "affine")
    np.testing.assert_allclose(pose.matrix[:, :3], linear, atol=0.005)
    np.testing.assert_allclose(pose.scales, [1.10, 1.04, 0.92], atol=0.005)
    assert pose.volume_ratio == pytest.approx(1.10 * 0.92 * 1.04, rel=0.005)
    np.testing.assert_allclose(pose.matrix[:, 3], (4, -3, 5), atol=0.15)


def test_a_rigid_pose_never_changes_the_size():
    pose = align(head(linear=1.15 * rotation((0, 5, 0))), TEMPLATE, "rigid")
    np.testing.assert_allclose(pose.scales, 1.0, atol=1e-9)
    assert degrees_between(pose.matrix[:, :3], rotation((0, 5, 0))) < 0.2  # 4 if only rotations are fitted


def test_another_contrast_moves_the_pose_by_little():
    image = head(linear=rotation((8, 4, -6)), shift_mm=(2, 2, -2))
    pose = align(np.sqrt(image), TEMPLATE, "rigid")
    assert degrees_between(pose.matrix[:, :3], rotation((8, 4, -6))) < 0.5
    np.testing.assert_allclose(pose.matrix[:, 3], (2, 2, -2), atol=0.3)


def test_a_head_without_its_anatomy_has_a_lower_correlation():
    noise = np.random.default_rng(0).uniform(0, 1, TEMPLATE.shape).astype(np.float32)
    found = [align(image, TEMPLATE, "rigid").correlation for image in (TEMPLATE, noise * (TEMPLATE > 0), noise)]
    assert found[0] > 0.999 > 0.99 > found[1] > 0.9 > found[2]


def test_measures_of_a_pose_are_those_of_its_matrix():
    matrix = np.hstack([1.2 * rotation((0, 0, 40)), [[3], [4], [0]]])
    pose = Pose(matrix, 0.9)
    assert (pose.rotation_deg, pose.shift_mm, pose.volume_ratio) == pytest.approx((40, 5, 1.728))
