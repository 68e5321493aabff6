"""Single image files, read as the images that a checkpoint was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from aekit.core.damage import readable
from aekit.errors import AekitError, shown
from aekit.images.config import DataConfig
from aekit.images.data import read_images
from aekit.images.data.bad_images import read_by_study
from aekit.images.data.decode import SUFFIXES, BadImage, read_header
from aekit.images.data.image_set import ImageSet
from aekit.images.data.origins import Origins
from aekit.images.data.value_range import check_as_trained
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.session import Session


def read_image_files(session: Session, checkpoint: LoadedCheckpoint, paths: Sequence[str], option: str) -> ImageSet:
    """Return image files, in the size, the colour and the range of values of a checkpoint's images.

    Args:
        session: Receives a notice of images that have another size.
        checkpoint: The model that takes them.
        paths: The files, N of them, each of one image.
        option: The option that names them, for errors.

    Raises:
        AekitError: One is not there, is not an image, holds several, or is nearly black.
    """
    check_image_files(paths, option)
    n_channels, height, width = checkpoint.model.image_shape
    config = replace(
        session.reading(checkpoint),
        image_size=(height, width),
        grayscale=n_channels == 1,
        limit=None,
        val=0.0,
        skip_bad=False,
        labels=None,
    )
    pixels = np.stack([_read(session, checkpoint, config, path, option) for path in paths])
    names = [shown(path) for path in paths]
    return ImageSet(pixels, "images", origins=Origins(names, np.arange(len(names))))


def check_image_files(paths: Sequence[str], option: str) -> None:
    """Raise an AekitError if one of the files is not there, or its header is not that of an image.

    Args:
        paths: The files, N of them.
        option: The option that names them, for errors.
    """
    for path in dict.fromkeys(paths):
        file = Path(path).expanduser()
        if not file.is_file():
            what = "is a folder" if file.is_dir() else "no such file"
            raise AekitError(f"{option} {shown(path)}: {what}; give the path of an image")
        _size(file)


def _read(
    session: Session, checkpoint: LoadedCheckpoint, config: DataConfig, path: str, option: str
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return the pixels of one file, uint8 (C, H, W)."""
    with read_by_study():
        images = read_images(replace(config, name=path), "all", data_root=session.data_root, progress=session.progress)
    if len(images) != 1:
        raise AekitError(f"{option} {shown(path)}: holds {len(images):,} images; give a file with one")
    check_as_trained(f"{option} {shown(path)}", config.value_range, images, session.progress)
    n_channels, height, width = checkpoint.model.image_shape
    size = _size(Path(path).expanduser())
    if size not in ((), (height, width)) and checkpoint.record.data.image_size is None:
        there = "x".join(map(str, size))
        session.progress.notice(f"{shown(path)}: {there} pixels, resized and cropped to {height}x{width}")
    return np.repeat(images.images[0], n_channels // images.image_shape[0], axis=0)


def _size(path: Path) -> tuple[int, ...]:
    """Return height and width of the image in a file, as it is seen; none if it is an array."""
    if path.suffix.lower() not in SUFFIXES:
        return ()
    with readable(path):
        data = path.read_bytes()
    try:
        header = read_header(data, suffix=path.suffix)
    except BadImage as error:
        raise AekitError(f"{shown(path)}: {error}; fix or replace it") from error
    return header.height, header.width
