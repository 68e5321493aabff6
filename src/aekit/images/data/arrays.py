"""Your own images as arrays: .npy, .npz and .safetensors, without pickle, allocating no more than the file holds."""

from __future__ import annotations

import functools
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from aekit.core.damage import NPY_DAMAGE, is_bomb, map_npy, readable
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, count, shown
from aekit.images.config import DataConfig, Split, image_of, parse_value_range
from aekit.images.data.array_factors import read_array_factors
from aekit.images.data.array_labels import Array, ArrayLabels, Load, damaged, read_array_labels, times
from aekit.images.data.bad_images import BadImagesError
from aekit.images.data.image_set import ImageSet, Indices, join
from aekit.images.data.labels import read_labels
from aekit.images.data.origins import Origins, rows_of
from aekit.images.data.pixels import LEFT_OUT, MIN_SIDE, NoImages, Pixels, fit_array
from aekit.images.data.splits import check_not_empty, official_rows, train_val_test
from aekit.images.data.value_range import check_span, clipped_in_words
from aekit.images.official import NAMES, array_names

SUFFIXES = (".npy", ".npz", ".safetensors")
_IMAGES = ("images", "x", "data")
_LABELS = ("labels", "y")
_BLOCK_VALUES = 4 << 20  # to check and convert at a time


@dataclass(frozen=True)
class _Part:
    """How to load the arrays of a part of a file; nothing is read yet.

    Attributes:
        name: Name of the images in the file.
        images: Loads them.
        labels: Loads their labels; None if there are none.
    """

    name: str
    images: Load
    labels: Load | None


def read_arrays(
    config: DataConfig, split: Split, *, progress: Progress = SILENT, arrays: Mapping[str, Load] | None = None
) -> ImageSet:
    """Return a split of the images in the array file ``config.name``.

    Images are (N, H, W), (N, C, H, W) or (N, H, W, C) with C 1 or 3; bytes or other integers from 0 to 255, bool, or
    floats in [0, 1]; others with ``config.value_range``. A ``.npy`` file holds nothing else. In the others they are
    called ``images``, ``x`` or ``data`` and the optional labels ``labels`` or ``y``; or ``x_train``, ``y_train``,
    ``x_test``, ``y_test``; or ``train_images``, ``train_labels`` and so on, with ``val`` too. Without test images a
    fifth is set aside. Labels are whole numbers or text, (N,) or (N, 1), or one column per class with a single 1; with
    several they are attributes. ``factors`` are what :mod:`aekit.images.data.array_factors` reads.

    With ``config.skip_bad``, images with a value that is not finite are left out; splits are drawn before that, so that
    they do not shift.

    Args:
        config: Which images.
        split: ``train``, ``val``, ``test`` or ``all``.
        progress: Receives a notice of images that are left out.
        arrays: How to load the arrays of such a file by their names, which is then not read; None reads it.

    Raises:
        AekitError: The file is damaged or holds something else, or values are outside these ranges.
    """
    path = Path(config.name).expanduser()
    arrays = _open(path) if arrays is None else arrays
    parts = _parts(path, arrays)
    if "val" in parts and config.val:
        raise AekitError(f"--val: {shown(path)} has validation images of its own; leave --val out")
    value_range = parse_value_range(config.value_range)
    if config.value_range == "data":
        first = parts.get("train") or parts["all"]
        value_range = _range_of(path, _channels_first(path, _checked(path, first.images)))
    table = read_labels(config, lambda: _all_origins(path, parts), path.parent, progress)
    labels = read_array_labels(path, {name: part.labels for name, part in parts.items()}, progress)
    labels = replace(labels, factors=read_array_factors(path, arrays, has_splits="all" not in parts))
    wanted = [part for part in parts if split in ("all", part)] or ["train" if "train" in parts else "all"]
    sets = [_read_part(config, split, path, parts, part, labels, value_range, progress) for part in wanted]
    images = sets[0] if len(sets) == 1 else join(sets)
    return images if table is None else table.of(images, progress)


def _all_origins(path: Path, parts: Mapping[str, _Part]) -> Origins:
    """Return where the images of all parts of a file are."""
    numbers = {name: np.arange(len(_channels_first(path, _checked(path, part.images)))) for name, part in parts.items()}
    return functools.reduce(Origins.__add__, [_origins(path, parts, name, rows) for name, rows in numbers.items()])


def _origins(path: Path, parts: Mapping[str, _Part], name: str, rows: Indices) -> Origins:
    return rows_of(shown(path.name) + (f":{parts[name].name}" if len(parts) > 1 else ""), rows)


def _read_part(
    config: DataConfig,
    split: Split,
    path: Path,
    parts: Mapping[str, _Part],
    name: str,
    labels: ArrayLabels,
    value_range: tuple[float, float] | None,
    progress: Progress,
) -> ImageSet:
    """Return the images of a split that are in one part of a file."""
    array = _channels_first(path, _checked(path, parts[name].images), progress)
    n_images = len(array)
    if name in ("val", "test") or split == "all":
        rows = train_val_test(n_images, replace(config, val=0.0))["all"]
    elif "test" in parts:
        rows = official_rows(n_images, split, config)
    else:
        rows = train_val_test(n_images, config)[split]
    check_not_empty(len(rows), split, config)
    labels.check(path, name, n_images)
    of_file = path.name + (f":{parts[name].name}" if len(parts) > 1 else "")
    is_finite = _check_finite(path, of_file, array, rows, split, config, progress)
    bad, rows = _bad(path, of_file, rows[~is_finite]), rows[is_finite]
    store, store_rows, span, n_clipped = _pixels(path, array, rows, value_range, config, progress)
    if config.image_size is not None or config.grayscale:
        chosen = store if store_rows is None else store[store_rows]
        store, store_rows = fit_array(chosen, config.image_size, grayscale=config.grayscale), None
    return ImageSet(
        store,
        shown(path.stem),
        labels=labels.of_images(name, rows),
        class_names=labels.class_names,
        attributes=labels.attributes_of_images(name, rows),
        attribute_names=labels.attribute_names,
        rows=store_rows,
        n_skipped=len(bad),
        bad=bad,
        origins=_origins(path, parts, name, rows),
        value_range=value_range if config.value_range == "data" else None,
        span=span,
        n_clipped=n_clipped,
        factors=labels.factors_of_images(rows),
    )


def _parts(path: Path, arrays: Mapping[str, Load]) -> dict[str, _Part]:
    """Return the parts of a file: its splits, or ``all``."""
    parts: dict[str, _Part] = {}
    for split in NAMES:
        for images, labels in array_names(split):
            if images in arrays and split not in parts:
                parts[split] = _Part(images, arrays[images], arrays.get(labels))
    if "train" in parts and len(parts) > 1:
        if 0 < sum(part.labels is not None for part in parts.values()) < len(parts):
            lacking = next(part.name for part in parts.values() if part.labels is None)
            raise AekitError(f"{shown(path)}: has no labels for {shown(lacking)}; store them for all parts or for none")
        return parts
    found = next((name for name in _IMAGES if name in arrays), None)
    if found is None:
        names = ", ".join(map(shown, list(arrays)[:8])) or "nothing"
        raise AekitError(f"{shown(path)}: holds {names}; call the images 'images' and the labels 'labels'")
    load = next((arrays[name] for name in _LABELS if name in arrays), None)
    return {"all": _Part(found, arrays[found], load)}


def _open(path: Path) -> Mapping[str, Load]:
    """Return how to load each array of a file."""
    with readable(path):
        path.open("rb").close()
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return {"images": lambda: map_npy(path)}
    if suffix == ".npz":
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
        raise damaged(path, error) from error


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
        if dtype.hasobject:
            raise ValueError("Object arrays cannot be loaded")
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
        raise damaged(path, error) from error


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
        raise damaged(path, error) from error
    if array.dtype.kind not in "buif":
        raise AekitError(f"{shown(path)}: holds {array.dtype} instead of numbers; store uint8, or floats in [0, 1]")
    return array


def _channels_first(path: Path, array: Array, progress: Progress = SILENT) -> Array:
    """Return (N, C, H, W), C 1 or 3.

    Raises:
        AekitError: The array has another shape, or one that can be read in two ways.
    """
    if array.ndim == 3:
        _check_stack(path, array.shape, progress)
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        also = {2: "; one image is (1, H, W)", 4: "; leave out an alpha channel"}.get(array.ndim, "")
        raise AekitError(
            f"{shown(path)}: images of shape {times(array.shape)}; "
            f"store (N, H, W), (N, C, H, W) or (N, H, W, C) with one or three channels{also}"
        )
    return array


def _check_stack(path: Path, shape: tuple[int, ...], progress: Progress) -> None:
    """Refuse three axes that are one colour image, or have the images along the last axis; both are common."""
    if 0 in shape:
        return
    if shape[2] in (1, 3, 4) and min(shape[:2]) >= MIN_SIDE:
        raise AekitError(
            f"{shown(path)}: an array of {times(shape)} is one image with {shape[2]} channels; store several as "
            "(N, H, W, C), or this one as (1, H, W, C)"
        )
    as_given, turned = (max(pair) / min(pair) for pair in (shape[1:], shape[:2]))
    if as_given > turned and shape[2] not in shape[:2] and as_given >= 1.5:
        raise AekitError(
            f"{shown(path)}: an array of {times(shape)} can be {count(shape[0], 'image')} of {times(shape[1:])} or "
            f"{shape[2]:,} of {times(shape[:2])} pixels; store (N, 1, H, W), the latter as "
            "np.moveaxis(x, -1, 0)[:, None]"
        )
    if shape[0] == 3:
        progress.notice(f"{shown(path)}: three gray images; store one colour image as (1, 3, H, W)")


def _finite(array: Array, rows: Indices) -> npt.NDArray[np.bool_]:
    """Return which of some rows of an array have only finite values, (len(rows),)."""
    if array.dtype.kind != "f":
        return np.ones(len(rows), bool)
    n_block = max(1, _BLOCK_VALUES // math.prod(array.shape[1:]))
    blocks = [rows[start : start + n_block] for start in range(0, len(rows), n_block)]
    return np.concatenate([np.isfinite(array[block]).all(axis=(1, 2, 3)) for block in blocks])


def _bad(path: Path, name: str, rows: Indices) -> dict[str, str]:
    return {f"{shown(path.with_name(name))} row {row}": "it holds values that are not finite" for row in rows}


def _check_finite(
    path: Path, name: str, array: Array, rows: Indices, split: Split, config: DataConfig, progress: Progress
) -> npt.NDArray[np.bool_]:
    """Return which rows of a split have finite values, (len(rows),), with a notice of those that do not.

    Raises:
        AekitError: Some do not and are not to be skipped, or all do not.
    """
    is_finite = _finite(array, rows)
    bad = rows[~is_finite]
    if len(bad):
        some = ", ".join(map(str, bad[:3])) + (", ..." if len(bad) > 3 else "")
        what = (
            f"{len(bad):,} of {count(len(rows), image_of(split))} with values that are not finite (rows {some}, from 0)"
        )
        if not config.skip_bad:
            raise BadImagesError(f"{shown(path)}: holds {what}; replace them by numbers in [0, 1]")
        if len(bad) == len(rows):
            raise NoImages(f"{shown(path)}: holds {what}; nothing is left to train on", _bad(path, name, bad))
        progress.notice(f"{LEFT_OUT} of {shown(path)}: {what}")
    return is_finite


def _pixels(
    path: Path,
    array: Array,
    rows: Indices,
    value_range: tuple[float, float] | None,
    config: DataConfig,
    progress: Progress,
) -> tuple[Pixels, Indices | None, tuple[float, float, int] | None, int]:
    """Return a store of bytes, the rows of it of the split (None if all are), their span, and how many are clipped."""
    is_ready = array.dtype == np.uint8 and array.flags.c_contiguous and value_range is None
    store = np.empty((0 if is_ready else len(rows), *array.shape[1:]), np.uint8)
    bottom, top = value_range or _range_of_type(array.dtype, config)
    low, high, n_clipped = math.inf, -math.inf, 0
    n_block = max(1, _BLOCK_VALUES // math.prod(array.shape[1:]))
    for start in range(0, len(rows), n_block):
        block = array[rows[start : start + n_block]]
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        if not is_ready:
            values = block.astype(np.float64)
            n_clipped += int(((values < bottom) | (values > top)).any(axis=(1, 2, 3)).sum())
            scaled = np.round((values - bottom) * (255 / (top - bottom)))
            store[start : start + n_block] = np.clip(scaled, 0, 255)
    if value_range is None:
        _check_range(path, array.dtype, low, high, (bottom, top))
    if n_clipped:
        progress.notice(clipped_in_words(shown(path), n_clipped, (low, high), (bottom, top)))
    span = None if value_range is not None or array.dtype.kind not in "iu" else (low, high, int(top))
    if is_ready:
        return array.view(np.ndarray), None if len(rows) == len(array) else rows, span, 0
    return store, None, span, n_clipped


def _range_of_type(dtype: np.dtype[Any], config: DataConfig) -> tuple[float, float]:
    """Return the values that become 0 and 255 where no range is given."""
    if dtype.kind in "bf":
        return 0.0, 1.0
    if config.value_range == "dtype":
        return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    return 0.0, 255.0


def _range_of(path: Path, array: Array) -> tuple[float, float]:
    """Return the smallest and the largest finite value of images.

    Raises:
        AekitError: They are the same.
    """
    low, high = math.inf, -math.inf
    n_block = max(1, _BLOCK_VALUES // math.prod(array.shape[1:]))
    for start in range(0, len(array), n_block):
        block = array[start : start + n_block]
        values = block[np.isfinite(block)] if array.dtype.kind == "f" else block
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    check_span(shown(path), low, high)
    return low, high


def _check_range(path: Path, dtype: np.dtype[Any], low: float, high: float, wanted: tuple[float, float]) -> None:
    if low < wanted[0] or high > wanted[1]:
        kind = "floats" if dtype.kind == "f" else "integers"
        raise AekitError(
            f"{shown(path)}: {kind} from {low:g} to {high:g}, outside {wanted[0]:g} to {wanted[1]:g}; give "
            f"--value-range {low:g},{high:g}, or data for the range of the training images"
        )
