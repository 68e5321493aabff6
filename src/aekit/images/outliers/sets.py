"""The images of a search for outliers: known inliers, those to search, and known outliers."""

from __future__ import annotations

from dataclasses import replace

from aekit.errors import AekitError, count
from aekit.images import sizes
from aekit.images.catalog import CATALOG
from aekit.images.config import Split
from aekit.images.data import read_images
from aekit.images.data.bad_images import read_by_study
from aekit.images.data.image_set import ImageSet, Indices
from aekit.images.draws import draw_rows
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.official import official_splits
from aekit.images.outliers.request import OutlierRequest
from aekit.images.session import Session


def read_training(session: Session, checkpoint: LoadedCheckpoint, request: OutlierRequest) -> tuple[ImageSet, Indices]:
    """Return the training images, and the rows of those that scores are fitted to, (N,): all, or some drawn."""
    train = session.images(checkpoint, "train", with_labels=False)
    if len(train) < 2:
        n = count(len(train), "training image")
        raise AekitError(
            f"{checkpoint.path}: {train.name} has {n}, and scores need two or more; give more with --inliers"
        )
    if len(train) > request.reference:
        n = count(len(train), "training image")
        session.progress.notice(f"--reference {request.reference}: scores are fitted to so many of {n}")
    return train, draw_rows(len(train), request.reference, seed=request.seed)


def read_inliers(session: Session, checkpoint: LoadedCheckpoint, request: OutlierRequest) -> ImageSet:
    """Return the held-out images that thresholds are set on: the test images of the checkpoint, or of ``--inliers``."""
    images = session.images(checkpoint, "test")
    if len(images) < request.min_inliers:
        raise AekitError(
            f"--fpr {request.fpr:g}: needs {request.min_inliers:,} held-out images that belong or more; {images.name} "
            f"has {count(len(images), 'test image')}; use a larger --fpr"
        )
    return images


def read_others(session: Session, checkpoint: LoadedCheckpoint, name: str, option: str, split: Split) -> ImageSet:
    """Return images that were not trained on, in the range of values of those that were.

    Args:
        session: Receives notices of reading.
        checkpoint: The model that takes them.
        name: A known data set or a path.
        option: The option that names them, for errors.
        split: Which of them, if they have splits of their own, as many as the training took; otherwise all are read.

    Raises:
        AekitError: They cannot be read, or have another shape.
    """
    config = replace(session.reading(checkpoint), name=name, labels=None, val=0.0)
    has_splits = name in CATALOG or bool(official_splits(name))
    if not has_splits:
        config, split = replace(config, limit=None), "all"
    with read_by_study():
        images = read_images(config, split, data_root=session.data_root, progress=session.progress)
    if images.image_shape != checkpoint.model.image_shape:
        there, wanted = map(sizes.in_words, (images.image_shape, checkpoint.model.image_shape))
        raise AekitError(f"{option} {images.name}: images have {there}, {checkpoint.path} takes {wanted}; use others")
    return images
