"""Image sets by name or path, as uint8 arrays."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, nearest, shown
from aekit.images.config import DataConfig, Split
from aekit.images.data.arrays import SUFFIXES, read_arrays
from aekit.images.data.celeba import celeba_folder, read_celeba
from aekit.images.data.cifar10 import cifar10_folder, read_cifar10
from aekit.images.data.decode import SUFFIXES as IMAGE_SUFFIXES
from aekit.images.data.digits import digits_file, read_digits
from aekit.images.data.dsprites import dsprites_file, read_dsprites
from aekit.images.data.folder import read_file, read_folder
from aekit.images.data.generated import generated_file, read_generated
from aekit.images.data.image_set import ImageSet, join
from aekit.images.data.mnist import idx_folder, read_idx_set
from aekit.images.data.pixels import NoImages, check_size
from aekit.images.data.splits import check_not_empty, check_split


class Reader(Protocol):
    """Reads one split of a data set."""

    def __call__(
        self, config: DataConfig, split: Split, *, data_root: Path, progress: Progress = SILENT
    ) -> ImageSet: ...


class DataSet(NamedTuple):
    """How to read a known data set.

    Attributes:
        read: Reads a split of it, after downloading it if it is missing.
        find: Returns its folder or file for its name and the data root, or None if it is missing or incomplete.
        has_parts: Whether training and test images are in files of their own, so that all are read in two parts.
    """

    read: Reader
    find: Callable[[str, Path], Path | None]
    has_parts: bool = False


_IDX_SET = DataSet(read_idx_set, idx_folder, has_parts=True)
_GENERATED = DataSet(read_generated, lambda name, data_root: generated_file(name))
DATASETS: dict[str, DataSet] = {  # their descriptions are in aekit.images.catalog
    "mnist": _IDX_SET,
    "fashion-mnist": _IDX_SET,
    "kmnist": _IDX_SET,
    "emnist": _IDX_SET,
    "cifar10": DataSet(read_cifar10, lambda name, data_root: cifar10_folder(data_root), has_parts=True),
    "celeba": DataSet(read_celeba, lambda name, data_root: celeba_folder(data_root)),
    "shapes": _GENERATED,
    "shapes-colour": _GENERATED,
    "dsprites": DataSet(read_dsprites, lambda name, data_root: dsprites_file(data_root)),
    "digits": DataSet(read_digits, lambda name, data_root: digits_file()),
}


def images_path(name: str, data_root: Path) -> Path:
    """Return where the images of a name or path are, or would be: a folder or file."""
    if name not in DATASETS:
        return Path(name).expanduser()
    return DATASETS[name].find(name, data_root) or data_root / name


def read_images(
    config: DataConfig, split: Split, *, data_root: Path, progress: Progress = SILENT, with_labels: bool = True
) -> ImageSet:
    """Return one split of the images that a configuration names.

    Args:
        config: A name in :data:`DATASETS` or a path, and how the images are split, limited, resized and converted.
        split: ``train``, ``val`` (cut from train) or ``test``, of which a fifth is set aside if there is no official
            one; or ``all``, whatever they are for.
        data_root: Folder of the known data sets; may be read-only if they are there.
        progress: Receives the progress of downloads and decoding, and notices.
        with_labels: Whether to read the table of labels, if the configuration has one.

    Raises:
        AekitError: The data set does not exist, or is missing, damaged or unsuitable; the message names file and fix.
        ValueError: ``split`` is ``val`` and there are no validation images.
    """
    check_split(split, config)
    if config.labels is not None and config.name in DATASETS and config.name != "celeba":
        raise AekitError(f"--labels: is for your own images, and for celeba; {config.name} has labels, leave it out")
    if config.name in DATASETS:
        known = DATASETS[config.name]
        config = config if with_labels else replace(config, labels=None)
        if split == "all" and known.has_parts:
            whole = replace(config, val=0.0)
            parts: tuple[Split, ...] = ("train", "test")
            images = join([known.read(whole, part, data_root=data_root, progress=progress) for part in parts])
        else:
            images = known.read(config, split, data_root=data_root, progress=progress)
    else:
        images = _read_path(config, split, progress, with_labels=with_labels)
    try:
        check_not_empty(len(images), split, config)
    except AekitError as error:
        raise NoImages(str(error), images.bad) from error
    check_size(*images.image_shape[1:], source=f"--data {shown(config.name)}")
    return images


def find_on_disk(name: str, data_root: Path) -> Path | None:
    """Return the folder or file of a data set or path, or None if it is missing or incomplete."""
    if name in DATASETS:
        return DATASETS[name].find(name, data_root)
    path = Path(name).expanduser()
    return path if path.exists() else None


def _read_path(config: DataConfig, split: Split, progress: Progress, *, with_labels: bool) -> ImageSet:
    path = Path(config.name).expanduser()
    if path.is_dir():
        return read_folder(config, split, progress=progress, with_labels=with_labels)
    config = config if with_labels else replace(config, labels=None)
    if path.suffix.lower() in SUFFIXES and path.exists():
        return read_arrays(config, split, progress=progress)
    if path.suffix.lower() in IMAGE_SUFFIXES and path.exists():
        return read_file(config, split, progress=progress)
    if path.exists():
        kinds = ", ".join(SUFFIXES)
        raise AekitError(f"{shown(path)}: is neither a {kinds} file, nor an image, nor a folder of images; give one")
    if path.suffix or os.sep in config.name:
        raise AekitError(f"{shown(path)}: no such file or folder; check the path, or choose one of {_names()}")
    advice = f"choose one of {_names()}, or give the path of a folder or file of images"
    hint = nearest(config.name, DATASETS, advice)
    raise AekitError(f"--data {shown(config.name)}: no such data set and no such path{hint}")


def _names() -> str:
    return ", ".join(DATASETS)
