"""The MNIST family: torchvision downloads the idx files, which are read here, even from a read-only folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, count, shown
from aekit.images.catalog import CATALOG
from aekit.images.config import DataConfig, Split
from aekit.images.data.download import download
from aekit.images.data.idx import read_idx
from aekit.images.data.image_set import ImageSet
from aekit.images.data.origins import rows_of
from aekit.images.data.pixels import Pixels, fit_array
from aekit.images.data.splits import official_rows
from aekit.images.sizes import in_pixels


def read_idx_set(config: DataConfig, split: Split, *, data_root: Path, progress: Progress = SILENT) -> ImageSet:
    """Return a split of ``mnist``, ``fashion-mnist``, ``kmnist`` or ``emnist`` (balanced), (N, 1, 28, 28).

    Args:
        config: Which images; ``val`` is cut from the official training images.
        split: ``train``, ``val`` or ``test``.
        data_root: Folder that holds ``MNIST/raw`` and so on; downloaded if missing.
        progress: Receives the progress of a download.

    Raises:
        AekitError: Files are missing and cannot be downloaded, or are damaged.
    """
    part = "test" if split == "test" else "train"
    paths = _find(config.name, part, data_root)
    if paths is None:
        download(config.name, data_root, progress=progress)
        paths = _find(config.name, part, data_root)
        if paths is None:
            raise AekitError(
                f"--data {config.name}: there are no {part} images in {shown(data_root)} after the download"
            )
    images, labels = _read_pair(*paths, n_classes=len(CATALOG[config.name].class_names))
    if config.name == "emnist":
        images = images.swapaxes(2, 3)  # its images are stored transposed
    rows = official_rows(len(images), split, config)
    return ImageSet(
        fit_array(images[rows], config.image_size, grayscale=config.grayscale),
        config.name,
        labels=labels[rows].astype(np.int64),
        class_names=CATALOG[config.name].class_names,
        origins=rows_of(paths[0].name, rows),
    )


def idx_folder(name: str, data_root: Path) -> Path | None:
    """Return the folder that holds both parts of a set of the MNIST family, or None if it is incomplete."""
    paths = _find(name, "train", data_root)
    return paths[0].parent if paths is not None and _find(name, "test", data_root) is not None else None


def _find(name: str, part: str, data_root: Path) -> tuple[Path, Path] | None:
    folder = CATALOG[name].folder
    # Three sets share their file names, so files directly in the root count only if the root has the set's name.
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
            f"{shown(labels_path)}: {count(len(labels), 'label')} for {count(len(images), 'image')}; they belong to "
            "different sets, download both again"
        )
    if images.size == 0 or images.shape[1:] != (28, 28):
        size = in_pixels(*images.shape[1:])
        raise AekitError(
            f"{shown(images_path)}: {len(images):,} images of {size} instead of {in_pixels(28, 28)}; download it again"
        )
    if labels.max() >= n_classes:
        raise AekitError(
            f"{shown(labels_path)}: label {labels.max()}, but there are {n_classes} classes; download it again"
        )
    return images[:, None], labels  # (N, 1, 28, 28), (N,)
