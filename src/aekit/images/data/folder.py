"""Your own images: a folder of image files, flat or with one folder per class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aekit.core.damage import readable
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, shown
from aekit.images.config import DataConfig, Split
from aekit.images.data.decode import SUFFIXES
from aekit.images.data.image_set import ImageSet, Indices
from aekit.images.data.prepared import prepare
from aekit.images.data.splits import check_not_empty, train_val_test


@dataclass(frozen=True)
class ImageFiles:
    """Image files and their annotations, before any is decoded.

    Attributes:
        paths: The N files.
        name: Name of the data set.
        source: Its name in messages.
        labels: Class of each image, int64 (N,), or None.
        class_names: One name per class.
        attributes: Binary attributes, bool (N, A), or None.
        attribute_names: One name per attribute.
        is_test: Which images are official test images, bool (N,), or None.
    """

    paths: Sequence[Path]
    name: str
    source: str
    labels: Indices | None = None
    class_names: tuple[str, ...] = ()
    attributes: npt.NDArray[np.bool_] | None = None
    attribute_names: tuple[str, ...] = ()
    is_test: npt.NDArray[np.bool_] | None = None


def read_folder(config: DataConfig, split: Split, *, progress: Progress = SILENT) -> ImageSet:
    """Return a split of the images in the folder ``config.name``; a fifth is the test split.

    Args:
        config: Which images.
        split: ``train``, ``val`` or ``test``.
        progress: Receives the progress of decoding.

    Raises:
        AekitError: There are no images, folders are nested too deep, sizes differ, or a file cannot be decoded.
    """
    folder = Path(config.name).expanduser()
    flat, classes = _list_images(folder)
    name = shown(folder.resolve().name) or "images"
    if flat:
        return read_files(ImageFiles(flat, name, shown(folder)), config, split, progress=progress)
    paths = [path for members in classes.values() for path in members]
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(members) for members in classes.values()])
    files = ImageFiles(paths, name, shown(folder), labels, tuple(shown(name) for name in classes))
    return read_files(files, config, split, progress=progress)


def read_files(files: ImageFiles, config: DataConfig, split: Split, *, progress: Progress = SILENT) -> ImageSet:
    """Return a split of some image files, decoded, resized and converted according to the configuration.

    Splits and limit are drawn from the list of files, so bad files do not shift them. With a limit, only the images of
    the three limited splits are decoded, together: they share a store and its number of channels.

    Raises:
        AekitError: The split is empty, sizes differ, or a file cannot be read or decoded.
    """
    splits = train_val_test(len(files.paths), config, is_test=files.is_test)
    check_not_empty(len(splits[split]), split, config)
    chosen = np.sort(np.concatenate(list(splits.values())))
    prepared = prepare(
        [files.paths[index] for index in chosen],
        source=files.source,
        image_size=config.image_size,
        grayscale=config.grayscale,
        skip_bad=config.skip_bad,
        progress=progress,
    )
    rows = np.searchsorted(chosen, splits[split]).astype(np.int64)
    is_good = ~np.isin(rows, list(prepared.bad))
    rows, indices = rows[is_good], splits[split][is_good]
    labels = None if files.labels is None else files.labels[indices]
    attributes = None if files.attributes is None else files.attributes[indices]
    digest = hashlib.sha256(prepared.fingerprint.encode() + rows.tobytes())
    for companion in (labels, attributes):
        if companion is not None:
            digest.update(np.ascontiguousarray(companion).tobytes())
    return ImageSet(
        prepared.store,
        files.name,
        labels=labels,
        class_names=files.class_names,
        attributes=attributes,
        attribute_names=files.attribute_names,
        rows=rows,
        fingerprint=digest.hexdigest(),
        n_skipped=int((~is_good).sum()),
    )


def _list_images(folder: Path) -> tuple[list[Path], dict[str, list[Path]]]:
    """Return the images of a folder, or of each of its folders; one of the two is empty."""
    flat, folders = _entries(folder)
    classes: dict[str, list[Path]] = {}
    for inner in folders:
        images, deeper = _entries(inner)
        if any(_entries(path)[0] for path in deeper):
            raise AekitError(f"{shown(folder)}: holds images two folders down, in {shown(inner.name)}; {_SUPPORTED}")
        if images:
            classes[inner.name] = images
    if flat and classes:
        raise AekitError(
            f"{shown(folder)}: holds images both next to and inside {shown(next(iter(classes)))}; {_SUPPORTED}"
        )
    if not flat and not classes:
        raise AekitError(
            f"{shown(folder)}: holds no images ({', '.join(s[1:] for s in sorted(SUFFIXES))}); {_SUPPORTED}"
        )
    return flat, classes


_SUPPORTED = "give a folder of images, or of one folder of images per class"


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the image files and the folders in a folder, sorted by name, without hidden ones."""
    with readable(folder):
        # A listing contains the type of each entry: 200,000 files need no system call of their own.
        with os.scandir(folder) as found:
            entries = sorted((e for e in found if not e.name.startswith(".")), key=lambda entry: entry.name)
        images = [e.name for e in entries if e.name.lower().endswith(tuple(SUFFIXES)) and e.is_file()]
        return [folder / name for name in images], [folder / e.name for e in entries if e.is_dir()]
