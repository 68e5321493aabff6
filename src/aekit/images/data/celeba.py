"""CelebA: aligned faces with forty attributes, in the official layout, complete or only its first images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from aekit.core.damage import readable
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, count, shown
from aekit.images.config import DataConfig, Split
from aekit.images.data.download import download
from aekit.images.data.folder import ImageFiles, read_files
from aekit.images.data.image_set import ImageSet

_IMAGES = "img_align_celeba"
_ATTRIBUTES = "list_attr_celeba.txt"
_PARTITION = "list_eval_partition.txt"
_TEST = 2  # in the partition file; 0 is train and 1 is validation


def read_celeba(config: DataConfig, split: Split, *, data_root: Path, progress: Progress = SILENT) -> ImageSet:
    """Return a split of CelebA, RGB (N, 3, 218, 178) unless resized, with attributes.

    The official test images are the test split. ``train`` and ``val`` are cut from the official train and validation
    images together, whatever ``config.val`` is, as with every other data set. If there are no test images, a fifth is
    set aside instead.

    Args:
        config: Which images.
        split: ``train``, ``val`` or ``test``.
        data_root: Folder that holds ``celeba/img_align_celeba``; downloaded if missing.
        progress: Receives the progress of download and decoding.

    Raises:
        AekitError: The images are missing and cannot be downloaded, or a file is damaged.
    """
    folder = data_root / "celeba"
    paths = _images(folder)
    if not paths:
        download("celeba", data_root, progress=progress)
        paths = _images(folder)
        if not paths:
            raise AekitError(f"{shown(folder / _IMAGES)}: holds no .jpg files after the download; fill it manually")
    attributes, attribute_names = _attributes(folder / _ATTRIBUTES, paths)
    files = ImageFiles(
        paths,
        "celeba",
        shown(folder),
        attributes=attributes,
        attribute_names=attribute_names,
        is_test=_is_test(folder / _PARTITION, paths),
        root=folder / _IMAGES,
    )
    return read_files(files, config, split, progress=progress)


def celeba_folder(data_root: Path) -> Path | None:
    """Return the folder that holds CelebA's images and lists, or None if there are no images."""
    folder = data_root / "celeba"
    return folder if _images(folder) else None


def count_images(folder: Path) -> int:
    """Return how many of CelebA's images a folder holds."""
    return len(_images(folder))


def _images(folder: Path) -> list[Path]:
    images = folder / _IMAGES
    if not images.is_dir():
        return []
    with readable(images):
        return sorted(path for path in images.iterdir() if path.suffix == ".jpg" and not path.name.startswith("."))


def _attributes(path: Path, images: list[Path]) -> tuple[npt.NDArray[np.bool_] | None, tuple[str, ...]]:
    """Return (N, A) and the names, or None if the file does not exist."""
    if not path.exists():
        return None, ()
    lines = _lines(path)
    names = tuple(lines[1].split()) if len(lines) > 1 else ()  # line 0 is the number of images
    rows = dict(line.partition(" ")[::2] for line in lines[2:])
    values = [rows.get(image.name, "").split() for image in images]
    for image, signs in zip(images, values, strict=True):
        if len(signs) != len(names) or not names:
            raise AekitError(
                f"{shown(path)}: {len(signs)} of {count(len(names), 'attribute')} for {shown(image.name)}; "
                "download the file again, or remove it to do without attributes"
            )
    table = np.array(values)
    if not np.isin(table, ("1", "-1")).all():
        raise AekitError(f"{shown(path)}: holds attributes other than 1 and -1; download the file again")
    return table == "1", names


def _is_test(path: Path, images: list[Path]) -> npt.NDArray[np.bool_] | None:
    """Return which images are official test images, (N,), or None if the file does not exist or none of them is."""
    if not path.exists():
        return None
    parts = dict(line.split()[:2] for line in _lines(path) if len(line.split()) >= 2)
    missing = next((image for image in images if parts.get(image.name) not in ("0", "1", "2")), None)
    if missing is not None:
        raise AekitError(
            f"{shown(path)}: no split (0, 1 or 2) for {shown(missing.name)}; "
            "download the file again, or remove it for a random split"
        )
    is_test = np.array([parts[image.name] == str(_TEST) for image in images])
    return is_test if is_test.any() else None


def _lines(path: Path) -> list[str]:
    with readable(path):
        try:
            return path.read_text("ascii").splitlines()
        except UnicodeDecodeError as error:
            raise AekitError(f"{shown(path)}: is not plain text; download the file again") from error
