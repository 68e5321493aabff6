"""Which voxels of a volume are brain, and how bright they are above the background."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from aekit.brains.volumes.nifti import BadVolume, Voxels

Mask = npt.NDArray[np.bool_]

BRAIN_RANGE_ML = (300.0, 2500.0)  # brain and CSF, from a young child to a large man, with a wide margin

_BORDER_FRACTION = 0.5  # of the voxels on the six faces that must be equal to count as a uniform background
_NOISE_SDS = 5.0  # median + 5 SD of Rayleigh noise: 4e-5 of it lies above
_NOISE_FRACTION = 0.05  # of the 99.5th percentile: the ripples that interpolation leaves around a brain lie below
_BELOW_FRACTION = 0.2  # of the brain's voxels below the background: above this, the image was standardised


def brain_mask(data: Voxels) -> Mask:
    """Return which voxels are brain: not background, connected, without holes.

    If more than half of the voxels on the six faces of the box have the same value, as in a skull-stripped image, that
    value is the background. Otherwise the background is noise, up to its median + 5 standard deviations, or up to 5 %
    of the 99.5th percentile if that is higher; skin and skull, if present, then count as brain.

    Args:
        data: Intensities, finite, (X, Y, Z).

    Returns:
        The largest connected component with its holes filled, (X, Y, Z); all False if the image is constant.
    """
    value = background(data)
    if value is not None:
        return _largest_filled(data != value)
    border = _border(data)
    middle = float(np.median(border))
    # The median absolute deviation of Rayleigh noise is 0.448 of its sigma, its median 1.177 of it.
    spread = float(np.median(np.abs(border - middle))) / 0.448
    top = float(np.percentile(data, 99.5))
    return _largest_filled(data > max(middle + _NOISE_SDS * spread, middle + _NOISE_FRACTION * (top - middle)))


def background(data: Voxels) -> float | None:
    """Return the value of most voxels on the border of a volume, or None if there is no such value.

    Args:
        data: Intensities, finite, (X, Y, Z).
    """
    border = _border(data)
    value = float(np.median(border))  # if more than half are equal, the median is one of them
    return value if np.mean(border == np.float32(value)) > _BORDER_FRACTION else None


def brain_intensities(data: Voxels, mask: Mask) -> Voxels:
    """Return the intensities of the brain above the background, zero outside, float32 (X, Y, Z), all >= 0.

    Args:
        data: Intensities, finite, (X, Y, Z).
        mask: From :func:`brain_mask`.

    Raises:
        BadVolume: There is no brain, or a fifth of it is darker than the background, so that the zero of
            intensity is unknown.
    """
    if not mask.any():
        raise BadVolume("nothing in it stands out from the background", "view it, and give skull-stripped images")
    brain = np.where(mask, data - np.float32(background(data) or 0.0), np.float32(0))
    fraction = np.count_nonzero(brain < 0) / np.count_nonzero(mask)
    if fraction > _BELOW_FRACTION:
        what = f"{100 * fraction:.0f} % of the brain is darker than the background, as in standardised images"
        raise BadVolume(what, "give intensities that start at the background")
    return np.maximum(brain, 0, out=brain)


def brain_warnings(brain_ml: float) -> tuple[str, ...]:
    """Return a warning if a brain cannot be that large, in mL."""
    low, high = BRAIN_RANGE_ML
    if low <= brain_ml <= high:
        return ()
    or_what = "only part of a brain" if brain_ml < low else "the skull is still there"
    return (f"the brain mask has {brain_ml:,.0f} mL: a wrong voxel size, or {or_what}",)


def _border(data: Voxels) -> Voxels:
    """Return the values on the six faces, (n,)."""
    faces = [np.take(data, end, axis).ravel() for axis, end in itertools.product(range(3), (0, -1))]
    return np.concatenate(faces)


def _largest_filled(mask: Mask) -> Mask:
    """Return the largest component, connected through faces, with the holes that it encloses."""
    found = np.zeros_like(mask)
    spans = [np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not spans[0].size:
        return found
    box = tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    labels, n_parts = ndimage.label(mask[box])
    largest = labels > 0
    if n_parts > 1:
        counts = np.bincount(labels.ravel())
        counts[0] = 0
        largest = labels == int(counts.argmax())
    # A hole is not connected to the outside, which a margin makes one component.
    outside, _ = ndimage.label(np.pad(~largest, 1, constant_values=True))
    found[box] = outside[1:-1, 1:-1, 1:-1] != outside[0, 0, 0]
    return found
