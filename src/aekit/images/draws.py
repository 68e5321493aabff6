"""Some images of a split, for studies whose time grows with their number: the same ones at each call."""

from __future__ import annotations

import numpy as np

from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, count
from aekit.images.config import Split
from aekit.images.data.image_set import ImageSet, Indices


def check_enough_images(images: ImageSet, split: Split, *, minimum: int, what: str) -> None:
    """Raise an AekitError if a split has fewer images than what is measured, in plural, needs."""
    if len(images) < minimum:
        raise AekitError(
            f"--split {split}: {images.name} has {count(len(images), 'image')} there, and {what} need at least "
            f"{minimum}; use another split or more data"
        )


def draw_images(images: ImageSet, split: Split, n: int, *, seed: int, progress: Progress = SILENT) -> ImageSet:
    """Return n images of a split in their order, drawn with a seed, or all if there are no more.

    Args:
        images: Those of the split.
        split: Its name.
        n: How many, as ``--images`` says.
        seed: Seed of the draw.
        progress: Told if there are fewer.
    """
    if len(images) < n:
        progress.notice(f"--images {n}: {split} has {count(len(images), 'image')}; all are used")
    if len(images) <= n:
        return images
    return images.subset(draw_rows(len(images), n, seed=seed))


def draw_rows(n_images: int, n: int, *, seed: int) -> Indices:
    """Return n of the rows of ``n_images`` images, ascending, drawn with a seed; all if there are no more."""
    if n_images <= n:
        return np.arange(n_images)
    return np.sort(np.random.default_rng(seed).choice(n_images, n, replace=False)).astype(np.int64)
