"""Which images of a data set belong to a split: seeded, so that every command splits it in the same way."""

from __future__ import annotations

import numpy as np

from aekit.errors import AekitError, shown
from aekit.images.config import DataConfig, Split
from aekit.images.data.image_set import Indices, split_indices
from aekit.images.official import has_validation

TEST_FRACTION = 0.2  # of a data set that comes without a test split


def train_val_test(
    n_images: int, config: DataConfig, *, is_test: np.ndarray | None = None, is_val: np.ndarray | None = None
) -> dict[Split, Indices]:
    """Return the rows of each split of a data set, each ascending and limited; ``all`` is every image.

    Args:
        n_images: Number of images, N.
        config: ``val``, ``split_seed`` and ``limit`` are used.
        is_test: Which images are official test images, bool (N,); None sets aside a fifth, drawn with ``split_seed``.
        is_val: Which images are official validation images, bool (N,); None sets aside ``config.val`` of the others.

    Raises:
        AekitError: There are official validation images, and others are to be set aside as well.
    """
    if is_val is not None and config.val:
        raise AekitError(f"--val: {shown(config.name)} has validation images of its own; leave --val out")
    rest = np.arange(n_images) if is_val is None else np.flatnonzero(~is_val)
    if is_test is None:
        stay, aside = split_indices(len(rest), TEST_FRACTION, config.split_seed)
        pool, test = rest[stay], rest[aside]
    else:
        pool, test = rest[~is_test[rest]], rest[is_test[rest]]
    stay, aside = split_indices(len(pool), config.val, config.split_seed)
    val = pool[aside] if is_val is None else np.flatnonzero(is_val)
    splits: dict[Split, Indices] = {"train": pool[stay], "val": val, "test": test, "all": np.arange(n_images)}
    return {split: _limited(rows.astype(np.int64), config) for split, rows in splits.items()}


def official_rows(n_images: int, split: Split, config: DataConfig) -> Indices:
    """Return the rows of a split within the official part that contains it: the test images, or the training images.

    Args:
        n_images: Number of images of that part.
        split: ``train`` and ``val`` are cut from the training images.
        config: ``val``, ``split_seed`` and ``limit`` are used.
    """
    is_test = np.full(n_images, split == "test")
    return train_val_test(n_images, config, is_test=is_test)[split]


def check_split(split: Split, config: DataConfig) -> None:
    """Raise a ValueError for the validation split of images that have none: a bug of the caller."""
    if split == "val" and not has_validation(config):
        raise ValueError("there is no validation split: DataConfig.val is 0")


def check_not_empty(n_images: int, split: Split, config: DataConfig) -> None:
    """Check that a split has images.

    Raises:
        AekitError: There are too few images for this split.
    """
    if n_images == 0:
        fix = "use a larger --val or more images" if split == "val" else "more images are needed"
        raise AekitError(f"--data {shown(config.name)}: too few images, none is left for the {split} split; {fix}")


def _limited(rows: Indices, config: DataConfig) -> Indices:
    if config.limit is None or config.limit >= len(rows):
        return rows
    # The first of one permutation, so that a smaller limit selects a subset of what a larger one selects.
    # A separate stream ([seed, 1]): the draw of the splits must not determine which of their images are selected.
    order = np.random.Generator(np.random.PCG64([config.split_seed, 1])).permutation(len(rows))
    return rows[np.sort(order[: config.limit])]
