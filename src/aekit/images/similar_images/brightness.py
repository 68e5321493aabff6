"""Images to look up that are brighter or darker than all that are searched: dark and light may be swapped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aekit.errors import count
from aekit.images.data.image_set import ImageSet

_BLOCK = 4096  # images at a time, so that a memory-mapped set need not fit into memory
_LEAST = 20  # images whose range says something
_MAX_NAMES = 3


def unlike_in_brightness(queries: ImageSet, names: Sequence[str], searched: ImageSet) -> str | None:
    """Return a notice of images whose mean brightness lies outside that of all searched ones; None if there are none.

    Args:
        queries: The images to look up, N of them.
        names: The name of each.
        searched: The images that are searched; of fewer than 20 nothing is said.
    """
    if len(searched) < _LEAST:
        return None
    means, known = _means(queries), _means(searched)
    low, high = float(known.min()), float(known.max())
    outside = np.flatnonzero((means < low) | (means > high))
    if not len(outside):
        return None
    own = " to ".join(dict.fromkeys(f"{end:.2f}" for end in (means[outside].min(), means[outside].max())))
    some = ", ".join(names[row] for row in outside[:_MAX_NAMES]) + (", ..." if len(outside) > _MAX_NAMES else "")
    what = count(len(outside), "image has a mean brightness", "images have a mean brightness")
    return (
        f"{some}: {what} of {own}, outside the {low:.2f} to {high:.2f} of those searched (0 black, 1 white); are dark "
        "and light swapped?"
    )


def _means(images: ImageSet) -> npt.NDArray[np.float64]:
    """Return the mean brightness of each image, (N,), in [0, 1]."""
    rows = [np.arange(start, min(start + _BLOCK, len(images))) for start in range(0, len(images), _BLOCK)]
    means: npt.NDArray[np.float64] = np.concatenate([images.take(block).mean(axis=(1, 2, 3)) for block in rows]) / 255
    return means
