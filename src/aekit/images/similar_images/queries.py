"""The images to look up: files, folders and arrays, in the size and colour that a checkpoint takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aekit.core.checkpoint import read_header
from aekit.errors import AekitError, count, shown
from aekit.images import sizes
from aekit.images.catalog import CATALOG
from aekit.images.config import DataConfig
from aekit.images.data import read_images
from aekit.images.data.bad_images import read_by_study
from aekit.images.data.decode import SUFFIXES, is_transparent
from aekit.images.data.image_set import ImageSet
from aekit.images.data.value_range import check_as_trained
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.session import Session


class Queries(NamedTuple):
    """The images to look up, N of them.

    Attributes:
        images: Their pixels.
        names: File of each, with its row if there are several in it: ``photos/7.png``, ``faces.npy[12]``.
        labels: Class of each, or its attributes joined by ``;``; empty texts without any.
    """

    images: ImageSet
    names: list[str]
    labels: list[str]


def check_queries(paths: Sequence[str]) -> None:
    """Raise an AekitError if a file or folder of images is not there, or is a checkpoint.

    Args:
        paths: The files and folders.
    """
    if not paths:
        raise AekitError("neighbours: no image to look up; give at least one path")
    for path in map(Path, paths):
        if not path.expanduser().exists():
            raise AekitError(f"{shown(path)}: no such file or folder; give the path of images to look up")
        if path.suffix == ".safetensors" and path.is_file() and _is_checkpoint(path):
            raise AekitError(
                f"{shown(path)}: is a checkpoint, and one is taken, ahead of the images; run it for each separately"
            )


def _is_checkpoint(path: Path) -> bool:
    try:
        return bool(read_header(path).model)
    except AekitError:
        return False


def read_queries(session: Session, checkpoint: LoadedCheckpoint, paths: Sequence[str]) -> Queries:
    """Return images in the size, the colour and the range of values of a checkpoint's images.

    Args:
        session: Receives a notice of images that have another size or colour.
        checkpoint: The model that takes them.
        paths: Image files, folders of them and files of arrays.

    Raises:
        AekitError: One cannot be read as images, or its images are nearly black.
    """
    pixels: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]] = []
    names: list[str] = []
    labels: list[str] = []
    for path in paths:
        images = _fitted(session, checkpoint, path)
        check_as_trained(shown(path), session.reading(checkpoint).value_range, images, session.progress)
        _say_transparent(session, path)
        n_channels = checkpoint.model.image_shape[0]
        pixels.append(np.repeat(images.images, n_channels // images.image_shape[0], axis=1))
        folder = Path(path) if Path(path).expanduser().is_dir() else Path(path).parent
        names += [shown(folder / (images.origin_text(i) or str(i))) for i in range(len(images))]
        labels += [images.label_text(i) for i in range(len(images))]
    return Queries(ImageSet(np.concatenate(pixels), "queries"), names, labels)


def _say_transparent(session: Session, path: str) -> None:
    """Say how many of the image files at a path are partly transparent."""
    given = Path(path).expanduser()
    files = sorted(given.rglob("*")) if given.is_dir() else [given]
    pictures = [
        file for file in files if file.suffix.lower() in SUFFIXES and os.access(file, os.R_OK) and file.is_file()
    ]
    if n := sum(is_transparent(file.read_bytes(), suffix=file.suffix) for file in pictures):
        what = count(n, "image is", "images are")
        session.progress.notice(f"{shown(path)}: {what} partly transparent, which is read as white")


def _fitted(session: Session, checkpoint: LoadedCheckpoint, path: str) -> ImageSet:
    """Return the images of one path with the height and width of a model's, and with no more channels."""
    n_channels, *size = checkpoint.model.image_shape
    config = replace(
        session.reading(checkpoint),
        name=str(Path(path)) if path not in CATALOG else f"./{path}",  # a folder here, not the data set of that name
        limit=None,
        val=0.0,
        skip_bad=False,
        labels=None,
    )
    found = _as_they_are(session, config)
    if found is not None and found.image_shape[1:] == tuple(size) and found.image_shape[0] <= n_channels:
        if found.image_shape[0] < n_channels:
            session.progress.notice(f"{shown(path)}: grey images, used for all {n_channels} channels")
        return found
    fitted = _read(session, replace(config, image_size=(size[0], size[1]), grayscale=n_channels == 1))
    done = f"read as {sizes.in_words((fitted.image_shape[0], *size))}"
    there = "images of other sizes" if found is None else sizes.in_words(found.image_shape)
    session.progress.notice(f"{shown(path)}: {there}, {done}")
    return fitted


def _as_they_are(session: Session, config: DataConfig) -> ImageSet | None:
    """Return images in the size that they have; None if they differ, or are too small for a network."""
    try:
        return _read(session, config)
    except AekitError:  # what is wrong with the images themselves comes again when they are fitted
        return None


def _read(session: Session, config: DataConfig) -> ImageSet:
    with read_by_study():
        return read_images(config, "all", data_root=session.data_root, progress=session.progress)
