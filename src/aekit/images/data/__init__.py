"""Image sets by name or path, as uint8 arrays; and brain cohorts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from aekit.core.progress import OnProgress
from aekit.errors import AekitError, nearest, shown
from aekit.images.config import DataConfig, Split
from aekit.images.data.arrays import SUFFIXES, read_arrays
from aekit.images.data.celeba import celeba_folder, read_celeba
from aekit.images.data.cifar10 import cifar10_folder, read_cifar10
from aekit.images.data.digits import digits_file, read_digits
from aekit.images.data.folder import read_folder
from aekit.images.data.image_set import ImageSet
from aekit.images.data.mnist import idx_folder, read_idx_set
from aekit.images.data.pixels import check_size
from aekit.images.data.splits import check_not_empty, check_split


class Reader(Protocol):
    """What reads one split of a data set."""

    def __call__(
        self, config: DataConfig, split: Split, *, data_root: Path, on_progress: OnProgress | None = None
    ) -> ImageSet: ...


DATASETS: dict[str, Reader] = {
    "mnist": read_idx_set,
    "fashion-mnist": read_idx_set,
    "kmnist": read_idx_set,
    "emnist": read_idx_set,
    "cifar10": read_cifar10,
    "celeba": read_celeba,
    "digits": read_digits,
}


def read_images(
    config: DataConfig, split: Split, *, data_root: Path, on_progress: OnProgress | None = None
) -> ImageSet:
    """Return one split of the images that a configuration names.

    Args:
        config: A name in :data:`DATASETS` or a path, and how the images are cut, limited, resized and coloured.
        split: ``train``, ``val`` (cut from train) or ``test``. Without an official test split a fifth is set aside.
        data_root: Folder of the public data sets; may be read-only if they are there.
        on_progress: Called with what is done, how much, and the total: downloads and decoding.

    Raises:
        AekitError: No such data set, or one that is missing, damaged or unfit; the message names file and remedy.
        ValueError: ``split`` is ``val`` and ``config.val`` is 0.
    """
    check_split(split, config)
    if config.name in DATASETS:
        images = DATASETS[config.name](config, split, data_root=data_root, on_progress=on_progress)
    else:
        images = _read_path(config, split, on_progress)
    check_not_empty(len(images), split, config)
    check_size(*images.image_shape[1:], source=f"--data {shown(config.name)}")
    return images


def find_on_disk(name: str, data_root: Path) -> Path | None:
    """Return the folder or file of a data set or path, or None if it is not there, or not whole."""
    if name == "digits":
        return digits_file()
    if name == "celeba":
        return celeba_folder(data_root)
    if name == "cifar10":
        return cifar10_folder(data_root)
    if name in DATASETS:
        return idx_folder(name, data_root)
    path = Path(name).expanduser()
    return path if path.exists() else None


def _read_path(config: DataConfig, split: Split, on_progress: OnProgress | None) -> ImageSet:
    path = Path(config.name).expanduser()
    if path.is_dir():
        return read_folder(config, split, on_progress=on_progress)
    if path.suffix.lower() in SUFFIXES and path.exists():
        return read_arrays(config, split, on_progress=on_progress)
    if path.exists():
        raise AekitError(f"{shown(path)}: is no {', '.join(SUFFIXES)} file and no folder of images; give one of these")
    if path.suffix or os.sep in config.name:
        raise AekitError(f"{shown(path)}: no such file or folder; check the path, or choose one of {_names()}")
    raise AekitError(
        f"--data {shown(config.name)}: no such data set and no such path{nearest(config.name, DATASETS)}; "
        f"choose one of {_names()}, or give the path of a folder or file of images"
    )


def _names() -> str:
    return ", ".join(DATASETS)
