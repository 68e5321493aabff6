"""Splits that data bring along: folders ``train``, ``val`` and ``test``, or arrays of these names.

Standard library only, so that the command line need not load numpy.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection
from pathlib import Path

from aekit.errors import AekitError
from aekit.images.catalog import CATALOG
from aekit.images.config import DataConfig, RunConfig, Split

# Names of folders, in any case, and of arrays in a file.
NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_MAX_HEADER_BYTES = 100_000_000


def split_folders(names: Collection[str]) -> dict[str, Split]:
    """Return which folders are splits, by their name; none, unless there is one for training and another for the rest.

    A folder ``train`` alone, or next to ``bus``, is a class.
    """
    found = {name: split for name in names for split, known in NAMES.items() if name.lower() in known}
    splits = set(found.values())
    return found if "train" in splits and len(splits) > 1 else {}


def array_names(part: Split) -> list[tuple[str, str]]:
    """Return how files name the images and the labels of a split: as Keras' mnist.npz, or in words as MedMNIST."""
    names = NAMES[part]
    return [(f"x_{name}", f"y_{name}") for name in names] + [(f"{name}_images", f"{name}_labels") for name in names]


def has_validation(config: DataConfig) -> bool:
    """Return whether there are validation images: set aside, or brought along by a folder or file."""
    return config.val > 0 or "val" in official_splits(config.name)


def check_can_choose(config: RunConfig) -> None:
    """Raise an AekitError if epochs are to be judged and there are no validation images to judge them by."""
    train = config.train
    if (train.keep != "best" and train.patience is None) or has_validation(config.data):
        return
    if train.keep == "best":
        raise AekitError("--keep best: needs validation images (test images are never used for this); add --val 0.1")
    raise AekitError("--patience: needs validation images (test images are never used for this); add --val 0.1")


def official_splits(name: str) -> set[Split]:
    """Return the splits that a folder or file of images brings along; none if it cannot be read, or is a known set."""
    if name in CATALOG:  # also where a folder of that name lies here
        return set()
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            return set(split_folders([entry.name for entry in path.iterdir() if entry.is_dir()]).values())
        arrays = _arrays(path) if path.is_file() else set()
    except (OSError, ValueError, zipfile.BadZipFile):
        return set()
    found = {split for split in NAMES if any(images in arrays for images, _ in array_names(split))}
    return found if "train" in found and len(found) > 1 else set()


def _arrays(path: Path) -> set[str]:
    """Return the names of the arrays in a file, without reading them."""
    suffix = path.suffix.lower()
    if suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    if suffix == ".safetensors":
        with path.open("rb") as file:
            n_header = int.from_bytes(file.read(8), "little")
            return set(json.loads(file.read(n_header))) if n_header <= _MAX_HEADER_BYTES else set()
    return set()
