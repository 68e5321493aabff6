"""Your own images as arrays: .npy, .npz and .safetensors, without pickle, allocating no more than the file holds."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from aekit.core.damage import NPY_DAMAGE, is_bomb, map_npy, readable
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, shown
from aekit.images.config import DataConfig, Split
from aekit.images.data.image_set import ImageSet, Indices
from aekit.images.data.pixels import Pixels, fit_array
from aekit.images.data.splits import check_not_empty, official_rows, train_val_test

Array = npt.NDArray[Any]
Load = Callable[[], Array]

SUFFIXES = (".npy", ".npz", ".safetensors")
_IMAGES = ("images", "x", "data")
_LABELS = ("labels", "y")
_OFFICIAL = (("x_{}", "y_{}"), ("{}_images", "{}_labels"))  # as in Keras' mnist.npz, or in words
_BLOCK_VALUES = 4 << 20  # to check and convert at a time


@dataclass(frozen=True)
class _Source:
    """How to load the arrays of a split; nothing is read yet."""

    images: Load
    labels: Load | None
    all_labels: tuple[Load, ...]  # of both parts, so that classes have the same numbers in each
    is_official: bool


def read_arrays(config: DataConfig, split: Split, *, progress: Progress = SILENT) -> ImageSet:
    """Return a split of the images in the array file ``config.name``.

    Images are (N, H, W), (N, C, H, W) or (N, H, W, C) with C 1 or 3; bytes or other integers from 0 to 255, bool, or
    floats in [0, 1]. A ``.npy`` file holds nothing else. In the others they are called ``images``, ``x`` or ``data``
    and the optional labels, integers (N,), ``labels`` or ``y``; or ``x_train``, ``y_train``, ``x_test``, ``y_test``; or
    ``train_images``, ``train_labels``, ``test_images``, ``test_labels``. Without test images a fifth is set aside.

    With ``config.skip_bad``, images with a value that is not finite are left out; splits are drawn before that, so that
    they do not shift.

    Args:
        config: Which images.
        split: ``train``, ``val`` or ``test``.
        progress: Receives a notice of images that are left out.

    Raises:
        AekitError: The file is damaged or holds something else, or values are outside these ranges.
    """
    path = Path(config.name).expanduser()
    source = _source(path, _open(path), "test" if split == "test" else "train")
    array = _channels_first(path, _checked(path, source.images))
    n_images = len(array)
    rows = official_rows(n_images, split, config) if source.is_official else train_val_test(n_images, config)[split]
    check_not_empty(len(rows), split, config)
    labels, class_names = _labels(path, source, n_images)
    is_finite = _check_finite(path, array, rows, split, config, progress)
    rows = rows[is_finite]
    store, store_rows = _pixels(path, array, rows)
    if config.image_size is not None or config.grayscale:
        chosen = store if store_rows is None else store[store_rows]
        store, store_rows = fit_array(chosen, config.image_size, grayscale=config.grayscale), None
    return ImageSet(
        store,
        shown(path.stem),
        labels=None if labels is None else labels[rows],
        class_names=class_names,
        rows=store_rows,
        n_skipped=int((~is_finite).sum()),
    )


def _source(path: Path, arrays: Mapping[str, Load], part: str) -> _Source:
    for images, labels in _OFFICIAL:
        if images.format("train") in arrays and images.format("test") in arrays:
            both = [arrays.get(labels.format(each)) for each in ("train", "test")]
            known = tuple(load for load in both if load is not None)
            if len(known) == 1:
                raise AekitError(f"{shown(path)}: has labels for only one of train and test; store both or neither")
            return _Source(arrays[images.format(part)], arrays.get(labels.format(part)), known, is_official=True)
    found = next((name for name in _IMAGES if name in arrays), None)
    if found is None:
        names = ", ".join(map(shown, list(arrays)[:8])) or "nothing"
        raise AekitError(f"{shown(path)}: holds {names}; call the images 'images' and the labels 'labels'")
    load = next((arrays[name] for name in _LABELS if name in arrays), None)
    return _Source(arrays[found], load, () if load is None else (load,), is_official=False)


def _open(path: Path) -> Mapping[str, Load]:
    """Return how to load each array of a file."""
    with readable(path):
        path.open("rb").close()
    if path.suffix == ".npy":
        return {"images": lambda: map_npy(path)}
    if path.suffix == ".npz":
        return _open_npz(path)
    return _open_safetensors(path)


def _open_npz(path: Path) -> Mapping[str, Load]:
    def loader(name: str) -> Load:
        def load() -> Array:
            with zipfile.ZipFile(path) as archive:
                return _read_member(archive, archive.getinfo(name))

        return load

    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy"): loader(name) for name in archive.namelist() if name.endswith(".npy")}
    except NPY_DAMAGE as error:
        raise _damaged(path, error) from error


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    # Sizes in an archive and in a header are only claims: they must agree and be plausible before memory is allocated.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{info.filename} is compressed in a way that numpy never uses")
    if is_bomb(info.file_size, info.compress_size):
        raise ValueError(f"{info.filename} claims {info.file_size:,} bytes, more than it can hold")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"{info.filename} has an unknown format version")
        shape, _, dtype = read_header(file)
        if math.prod(shape) * dtype.itemsize != info.file_size - file.tell():
            raise ValueError(f"{info.filename} does not have the length that its header states")
    with archive.open(info) as file:
        return _read_npy(file)


def _read_npy(file: BinaryIO | Any) -> Array:
    array: Array = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _open_safetensors(path: Path) -> Mapping[str, Load]:
    def loader(name: str) -> Load:
        return lambda: _read_tensor(path, name)

    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
        return {name: loader(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _read_tensor(path: Path, name: str) -> Array:
    try:
        with safe_open(path, framework="numpy") as file:
            if file.get_slice(name).get_dtype() == "BF16":
                raise ValueError(f"{name} is bfloat16, which numpy lacks: store float16, float32 or uint8")
            array: Array = file.get_tensor(name)
            return array
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _checked(path: Path, load: Load) -> Array:
    """Return an array of numbers.

    Raises:
        AekitError: It cannot be loaded, or holds something other than numbers.
    """
    try:
        array = load()
    except NPY_DAMAGE as error:
        raise _damaged(path, error) from error
    if array.dtype.kind not in "buif":
        raise AekitError(f"{shown(path)}: holds {array.dtype} instead of numbers; store uint8, or floats in [0, 1]")
    return array


def _channels_first(path: Path, array: Array) -> Array:
    """Return (N, C, H, W), C 1 or 3."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        raise AekitError(
            f"{shown(path)}: images of shape {'x'.join(map(str, array.shape))}; "
            "store (N, H, W), (N, C, H, W) or (N, H, W, C) with one or three channels"
        )
    return array


def _finite(array: Array, rows: Indices) -> npt.NDArray[np.bool_]:
    """Return which of some rows of an array have only finite values, (len(rows),)."""
    if array.dtype.kind != "f":
        return np.ones(len(rows), bool)
    n_block = max(1, _BLOCK_VALUES // math.prod(array.shape[1:]))
    blocks = [rows[start : start + n_block] for start in range(0, len(rows), n_block)]
    return np.concatenate([np.isfinite(array[block]).all(axis=(1, 2, 3)) for block in blocks])


def _check_finite(
    path: Path, array: Array, rows: Indices, split: Split, config: DataConfig, progress: Progress
) -> npt.NDArray[np.bool_]:
    """Return which rows of a split have finite values, (len(rows),), with a notice of those that do not.

    Raises:
        AekitError: Some do not and are not to be skipped, or all do not.
    """
    is_finite = _finite(array, rows)
    bad = rows[~is_finite]
    if len(bad):
        some = ", ".join(map(str, bad[:3])) + (", ..." if len(bad) > 3 else "")
        what = f"{len(bad):,} of {len(rows):,} {split} images with values that are not finite (rows {some}, from 0)"
        if not config.skip_bad:
            fix = "replace them by numbers in [0, 1], or leave out such images with --skip-bad"
            raise AekitError(f"{shown(path)}: holds {what}; {fix}")
        if len(bad) == len(rows):
            raise AekitError(f"{shown(path)}: holds {what}; nothing is left to train on")
        progress.notice(f"left out of {shown(path)}: {what}")
    return is_finite


def _pixels(path: Path, array: Array, rows: Indices) -> tuple[Pixels, Indices | None]:
    """Return a store of bytes and the rows of it that belong to the split; None if all do."""
    is_ready = array.dtype == np.uint8 and array.flags.c_contiguous
    store = np.empty((0 if is_ready else len(rows), *array.shape[1:]), np.uint8)
    low, high = math.inf, -math.inf
    n_block = max(1, _BLOCK_VALUES // math.prod(array.shape[1:]))
    for start in range(0, len(rows), n_block):
        block = array[rows[start : start + n_block]]
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        if not is_ready:
            scaled = np.round(block.astype(np.float64) * 255) if array.dtype.kind in "bf" else block
            store[start : start + n_block] = np.clip(scaled, 0, 255)  # values that need clipping are refused below
    _check_range(path, array.dtype, low, high)
    if array.dtype.kind in "iu" and high == 1:
        raise AekitError(
            f"{shown(path)}: integers from 0 to 1 would be nearly black; store them as bool, or from 0 to 255"
        )
    if is_ready:
        return array.view(np.ndarray), None if len(rows) == len(array) else rows
    return store, None


def _check_range(path: Path, dtype: np.dtype[Any], low: float, high: float) -> None:
    most = 1 if dtype.kind in "bf" else 255
    if low < 0 or high > most:
        kind = "floats" if dtype.kind == "f" else "integers"
        raise AekitError(
            f"{shown(path)}: {kind} from {low:g} to {high:g}, outside the range that the loss needs; "
            f"scale them to 0 to {most}"
        )


def _labels(path: Path, source: _Source, n_images: int) -> tuple[Indices | None, tuple[str, ...]]:
    """Return the class of each image, (N,), and one name per class: its value."""
    if source.labels is None:
        return None, ()
    labels = _label_values(path, source.labels)
    if len(labels) != n_images:
        raise AekitError(f"{shown(path)}: {len(labels):,} labels for {n_images:,} images; store one per image")
    values = np.unique(np.concatenate([_label_values(path, load) for load in source.all_labels]))
    return np.searchsorted(values, labels).astype(np.int64), tuple(str(value) for value in values)


def _label_values(path: Path, load: Load) -> Indices:
    labels = _checked(path, load)
    if labels.ndim == 2 and labels.shape[1] == 1:  # as in Keras' CIFAR-10
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "biu":
        raise AekitError(
            f"{shown(path)}: labels are {labels.dtype} of shape {'x'.join(map(str, labels.shape))}; "
            "store integers, one per image"
        )
    return labels.astype(np.int64)


def _damaged(path: Path, error: BaseException) -> AekitError:
    reason = shown(" ".join(str(error).split()))
    return AekitError(f"{shown(path)}: is damaged or not a {path.suffix} file ({reason}); write it again")
