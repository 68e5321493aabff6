"""dSprites: the official file, where it is there, with its factors."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from aekit.core.cache import shortcut_key
from aekit.core.damage import NPY_DAMAGE
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, shown
from aekit.images.config import DataConfig, Split
from aekit.images.data.factors import Factors
from aekit.images.data.image_set import ImageSet
from aekit.images.data.origins import rows_of
from aekit.images.data.pixels import Pixels, fit_array
from aekit.images.data.splits import train_val_test
from aekit.images.data.whole_store import find_store, open_store

FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
SIZES = {"shape": 3, "scale": 6, "orientation": 40, "x": 32, "y": 32}  # the colour has one value
SHAPES = ("square", "ellipse", "heart")
_SHAPE = (737_280, 1, 64, 64)
_CHUNK = 4096  # images unpacked at a time


def read_dsprites(config: DataConfig, split: Split, *, data_root: Path, progress: Progress = SILENT) -> ImageSet:
    """Return a split of dSprites, (N, 1, 64, 64), black and white, with its factors; a fifth is the test split.

    Args:
        config: Which images.
        split: ``train``, ``val``, ``test`` or ``all``.
        data_root: Folder that holds the official file, or ``dsprites`` with it.
        progress: Receives how many images are unpacked into the cache folder, which is done once.

    Raises:
        AekitError: The file is missing or damaged.

    Source:
        Matthey, Higgins, Hassabis & Lerchner 2017, dSprites: Disentanglement testing Sprites dataset.
    """
    path = dsprites_file(data_root)
    if path is None:
        raise AekitError(
            f"--data dsprites: {shown(data_root / 'dsprites' / FILE)} is missing, and aekit cannot download it; get it "
            "from the dsprites-dataset repository, or use shapes, which has the same factors and is drawn"
        )
    key = f"dsprites-{shortcut_key([path], b'dsprites 1')[0]}"
    store = find_store(key, _SHAPE)
    if store is None:
        store = open_store(key, _SHAPE, _unpacked(path, progress), progress)
    factors = _factors(path)
    rows = train_val_test(len(store), config)[split]
    is_fitted = config.image_size is not None
    return ImageSet(
        fit_array(store[rows], config.image_size, grayscale=False) if is_fitted else store,
        config.name,
        labels=factors.indices[rows, 0],
        class_names=SHAPES,
        rows=None if is_fitted else rows,
        origins=rows_of(path.name, rows),
        factors=factors.subset(rows),
    )


def dsprites_file(data_root: Path) -> Path | None:
    """Return the official file under the data root, or None if it is missing."""
    places = (data_root / "dsprites" / FILE, data_root / FILE)
    return next((path for path in places if path.is_file()), None)


def _unpacked(path: Path, progress: Progress) -> Iterator[tuple[int, Pixels]]:
    """Yield the row of the first of some images, and these, black or white."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("imgs.npy") as member:
            _check_header(member, path)
            for start in range(0, _SHAPE[0], _CHUNK):
                n_images = min(_CHUNK, _SHAPE[0] - start)
                block = np.frombuffer(member.read(n_images * 64 * 64), np.uint8).reshape(n_images, 1, 64, 64)
                if block.max() > 1:
                    raise ValueError("an image has values other than 0 and 1")
                yield start, block * np.uint8(255)
                progress.update("unpacking dsprites", start + n_images, _SHAPE[0])
    except NPY_DAMAGE as error:
        raise _damaged(path, error) from error


def _check_header(member: IO[bytes], path: Path) -> None:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(member)
    if shape != (_SHAPE[0], 64, 64) or fortran_order or dtype != np.uint8:
        raise ValueError(f"its images are {dtype} {shape}")


def _factors(path: Path) -> Factors:
    """Return the factors of all images; the values of the angle are in radians, as in the file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            indices = archive["latents_classes"][:, 1:].astype(np.int64)
            values = archive["latents_values"][:, 1:]
        if indices.shape != values.shape or indices.shape != (_SHAPE[0], len(SIZES)):
            raise ValueError(f"its factors are {indices.shape}")
        if (indices.min(0) < 0).any() or (indices.max(0) + 1 != list(SIZES.values())).any():
            raise ValueError("its factors have other numbers of values")
        known: list[tuple[float | str, ...]] = [SHAPES]
        for number in range(1, len(SIZES)):
            first = np.unique(indices[:, number], return_index=True)[1]
            known.append(tuple(values[first, number].tolist()))
    except NPY_DAMAGE as error:
        raise _damaged(path, error) from error
    return Factors(tuple(SIZES), tuple(known), indices)


def _damaged(path: Path, error: BaseException) -> AekitError:
    return AekitError(f"{shown(path)}: is not the official file or is damaged ({error}); get it again")
