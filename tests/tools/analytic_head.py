"""A head given by formulas, so that it can be drawn in any pose without interpolation."""

import numpy as np
from scipy.spatial.transform import Rotation

CENTRES_MM = np.array([[20, 30, 10], [-20, 25, 15], [10, -45, -10], [-25, -30, 20], [0, 10, 40], [15, 0, -30]], float)
WIDTHS_MM = np.array([10, 12, 11, 9, 13, 10], float)
HEIGHTS = np.array([0.5, -0.4, 0.6, 0.5, -0.3, -0.4])


def rotation(degrees):
    """Return the rotation about R, A and S, one after the other, (3, 3)."""
    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()


def places_mm(shape, spacing_mm):
    """Return the places of voxels relative to the centre of a box, (3, X, Y, Z)."""
    axes = [(np.arange(n) - (n - 1) / 2) * spacing_mm for n in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def head(shape=(48, 56, 48), spacing_mm=4.0, linear=None, shift_mm=(0, 0, 0), gain=1.0):
    """Return a head that was mapped by x -> linear @ x + shift, float32 (X, Y, Z), 0 outside, with soft edges."""
    linear = np.eye(3) if linear is None else linear
    moved = places_mm(shape, spacing_mm).reshape(3, -1) - np.asarray(shift_mm, float)[:, None]
    x = np.linalg.solve(linear, moved)
    # An egg: wider at the back, so that no half turn about any axis leaves it as it is.
    radius = np.sqrt((x[0] / (62 - 0.12 * x[1])) ** 2 + (x[1] / 80) ** 2 + (x[2] / (58 + 0.1 * x[1])) ** 2)
    value = 0.6 + sum(
        height * np.exp(-0.5 * np.square(x - centre[:, None]).sum(axis=0) / width**2)
        for centre, width, height in zip(CENTRES_MM, WIDTHS_MM, HEIGHTS, strict=True)
    )
    soft = np.clip((1 - radius) * 12 + 0.5, 0, 1)
    return np.asarray(gain * (value * soft).reshape(shape), np.float32)


def degrees_between(first, second):
    """Return the angle between two rotations."""
    return np.degrees(Rotation.from_matrix(first @ second.T).magnitude())
