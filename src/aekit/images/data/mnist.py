"""The MNIST family: torchvision downloads the idx files, and they are read here, from a read-only folder too."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aekit.core.progress import OnProgress
from aekit.errors import AekitError, shown
from aekit.images.config import DataConfig, Split
from aekit.images.data.catalog import CATALOG
from aekit.images.data.download import download
from aekit.images.data.idx import read_idx
from aekit.images.data.image_set import ImageSet
from aekit.images.data.pixels import Pixels, fit_array
from aekit.images.data.splits import official_rows


def read_idx_set(
    config: DataConfig, split: Split, *, data_root: Path, on_progress: OnProgress | None = None
) -> ImageSet:
    """Return a split of ``mnist``, ``fashion-mnist``, ``kmnist`` or ``emnist`` (balanced), (N, 1, 28, 28).

    Args:
        config: Which images; ``val`` is cut from the official training images.
        split: ``train``, ``val`` or ``test``.
        data_root: Folder that holds ``MNIST/raw`` and so on; fetched into it if missing.
        on_progress: Told how far a download is.

    Raises:
        AekitError: Files are missing and cannot be fetched, or are damaged.
    """
    part = "test" if split == "test" else "train"
    paths = _find(config.name, part, data_root)
    if paths is None:
        download(config.name, data_root, on_progress=on_progress)
        paths = _find(config.name, part, data_root)
        if paths is None:
            raise AekitError(f"--data {config.name}: the download left no {part} images in {shown(data_root)}")
    images, labels = _read_pair(*paths, n_classes=len(CATALOG[config.name].class_names))
    if config.name == "emnist":
        images = images.swapaxes(2, 3)  # its images lie on their side, mirrored
    rows = official_rows(len(images), split, config)
    return ImageSet(
        fit_array(images[rows], config.image_size, grayscale=config.grayscale),
        config.name,
        labels=labels[rows].astype(np.int64),
        class_names=CATALOG[config.name].class_names,
    )


def idx_folder(name: str, data_root: Path) -> Path | None:
    """Return the folder that holds both parts of a set of the MNIST family, or None if it is not whole."""
    paths = _find(name, "train", data_root)
    return paths[0].parent if paths is not None and _find(name, "test", data_root) is not None else None


def _find(name: str, part: str, data_root: Path) -> tuple[Path, Path] | None:
    folder = CATALOG[name].folder
    # Three sets share their file names, so files straight in the root count only if the root carries the set's name.
    roots = [data_root / folder] + [data_root] * (data_root.name == folder)
    for candidate in [path for root in roots for path in (root / "raw", root)]:
        images = _existing(candidate, _stem(name, part, "images-idx3-ubyte"))
        labels = _existing(candidate, _stem(name, part, "labels-idx1-ubyte"))
        if images is not None and labels is not None:
            return images, labels
    return None


def _stem(name: str, part: str, kind: str) -> str:
    if name == "emnist":
        return f"emnist-balanced-{part}-{kind}"
    return f"{'t10k' if part == 'test' else 'train'}-{kind}"


def _existing(folder: Path, stem: str) -> Path | None:
    return next((path for path in (folder / stem, folder / f"{stem}.gz") if path.is_file()), None)


def _read_pair(images_path: Path, labels_path: Path, *, n_classes: int) -> tuple[Pixels, Pixels]:
    images = read_idx(images_path, n_dimensions=3)
    labels = read_idx(labels_path, n_dimensions=1)
    if len(images) != len(labels):
        raise AekitError(
            f"{shown(labels_path)}: {len(labels):,} labels for {len(images):,} images; they are of different sets, "
            "fetch both again"
        )
    if images.size == 0 or images.shape[1:] != (28, 28):
        size = "x".join(map(str, images.shape[1:]))
        raise AekitError(
            f"{shown(images_path)}: {len(images):,} images of {size} pixels where 28x28 belong; fetch it again"
        )
    if labels.max() >= n_classes:
        raise AekitError(
            f"{shown(labels_path)}: label {labels.max()} where there are {n_classes} classes; fetch it again"
        )
    return images[:, None], labels  # (N, 1, 28, 28), (N,)
