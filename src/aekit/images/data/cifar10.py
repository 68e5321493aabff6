"""CIFAR-10, in its binary form or as the pickles that torchvision downloads, whose code is never run."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aekit.core.damage import readable
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, count, shown
from aekit.images.catalog import CATALOG
from aekit.images.config import DataConfig, Split
from aekit.images.data.download import download
from aekit.images.data.image_set import ImageSet, Indices
from aekit.images.data.origins import Origins
from aekit.images.data.pixels import Pixels, fit_array
from aekit.images.data.splits import official_rows

_N_VALUES = 3 * 32 * 32
_N_CLASSES = 10
_MAX_BYTES = 64 << 20  # a batch has 31 MB


def read_cifar10(config: DataConfig, split: Split, *, data_root: Path, progress: Progress = SILENT) -> ImageSet:
    """Return a split of CIFAR-10, RGB (N, 3, 32, 32) unless resized.

    Args:
        config: Which images; ``val`` is cut from the official training images.
        split: ``train``, ``val`` or ``test``.
        data_root: Folder that holds ``cifar-10-batches-bin`` or ``cifar-10-batches-py``; downloaded if missing.
        progress: Receives the progress of a download.

    Raises:
        AekitError: Files are missing and cannot be downloaded, or are damaged.

    Source:
        The layout of both forms is described at https://www.cs.toronto.edu/~kriz/cifar.html.
    """
    part = "test" if split == "test" else "train"
    paths = _find(part, data_root)
    if not paths:
        download("cifar10", data_root, progress=progress)
        paths = _find(part, data_root)
        if not paths:
            raise AekitError(f"--data cifar10: there are no {part} images in {shown(data_root)} after the download")
    batches = [_read_batch(path) for path in paths]
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    rows = official_rows(len(images), split, config)
    return ImageSet(
        fit_array(images[rows], config.image_size, grayscale=config.grayscale),
        config.name,
        labels=labels[rows],
        class_names=CATALOG["cifar10"].class_names,
        origins=Origins([path.name for path in paths], *_places([len(images) for images, _ in batches], rows)),
    )


def _places(sizes: list[int], rows: Indices) -> tuple[Indices, Indices]:
    """Return of which batch each row is, and which image in it."""
    ends: Indices = np.cumsum(sizes, dtype=np.int64)
    batch = np.searchsorted(ends, rows, side="right").astype(np.int64)
    return batch, rows - np.concatenate([[0], ends[:-1]])[batch].astype(np.int64)


def cifar10_folder(data_root: Path) -> Path | None:
    """Return the folder that holds both parts of CIFAR-10, or None if it is incomplete."""
    paths = _find("train", data_root)
    return paths[0].parent if paths and _find("test", data_root) else None


def _find(part: str, data_root: Path) -> list[Path]:
    names = ["test_batch"] if part == "test" else [f"data_batch_{number}" for number in range(1, 6)]
    for folder, suffix in (("cifar-10-batches-bin", ".bin"), ("cifar-10-batches-py", "")):
        paths = [data_root / folder / f"{name}{suffix}" for name in names]
        if all(path.is_file() for path in paths):
            return paths
    return []


def _read_batch(path: Path) -> tuple[Pixels, Indices]:
    with readable(path):
        if path.stat().st_size > _MAX_BYTES:
            raise _damaged(path, "it is larger than any batch of CIFAR-10")
        data = path.read_bytes()
    pixels, labels = _from_binary(path, data) if path.suffix == ".bin" else _from_pickle(path, data)
    if len(labels) == 0 or len(labels) != len(pixels):
        raise _damaged(path, f"it holds {count(len(labels), 'label')} for {count(len(pixels), 'image')}")
    if labels.min() < 0 or labels.max() >= _N_CLASSES:
        raise _damaged(path, f"it holds labels from {labels.min()} to {labels.max()} instead of 0 to 9")
    return pixels.reshape(-1, 3, 32, 32), labels


def _from_binary(path: Path, data: bytes) -> tuple[Pixels, Indices]:
    if len(data) % (1 + _N_VALUES):
        raise _damaged(path, f"its {len(data):,} bytes are not a whole number of images")
    table = np.frombuffer(data, np.uint8).reshape(-1, 1 + _N_VALUES)  # a label, then the three channels of an image
    return table[:, 1:], table[:, 0].astype(np.int64)


def _from_pickle(path: Path, data: bytes) -> tuple[Pixels, Indices]:
    try:
        _check_claims(data)
        batch = _Unpickler(data).load()
    except _PICKLE_DAMAGE as error:
        raise _damaged(path, f"it is not a batch of CIFAR-10 ({shown(' '.join(str(error).split()))})") from error
    fields = {_text(key): value for key, value in batch.items()} if isinstance(batch, dict) else {}
    pixels, labels = fields.get("data"), fields.get("labels")
    if not isinstance(pixels, _PickledArray) or not isinstance(labels, list):
        raise _damaged(path, "it holds no data or no labels")
    if not all(type(label) is int and abs(label) < 2**31 for label in labels):
        raise _damaged(path, "it holds labels that are not numbers")
    if pixels.shape != (len(labels), _N_VALUES) or len(pixels.values) != len(labels) * _N_VALUES:
        raise _damaged(path, f"it holds {count(len(pixels.values), 'byte')} for {count(len(labels), 'image')}")
    return np.frombuffer(pixels.values, np.uint8).reshape(-1, _N_VALUES), np.array(labels, np.int64)


def _check_claims(data: bytes) -> None:
    """Raise an UnpicklingError for lengths and memo indices that would make the unpickler allocate in advance."""
    # pickletools itself refuses lengths beyond the end of the data.
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > len(data):
            raise pickle.UnpicklingError("it stores more objects than it has bytes")


_PICKLE_DAMAGE = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError,
)  # fmt: skip


class _PickledArray:
    """Replaces numpy's array: keeps shape and bytes, allocates and calls nothing."""

    shape: tuple[int, ...] = ()
    values: bytes = b""

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), tuple(shape), _PickledType(name="u1"), False | 0, bytes(values)):
                self.shape, self.values = shape, values
            case _:
                raise pickle.UnpicklingError("its array does not hold bytes in rows")


class _PickledType:
    """Replaces numpy's dtype: keeps its name."""

    def __init__(self, name: object = "", *_: object) -> None:
        self.name = _text(name)

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and fields: a byte has none."""


def _build_array(*_: object) -> _PickledArray:
    return _PickledArray()


# The only names that a batch may refer to, and their replacements. Nothing is looked up, so nothing can be run.
_REPLACEMENTS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _build_array,
    ("numpy._core.multiarray", "_reconstruct"): _build_array,
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _PickledType,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._n_left = len(data)

    def _encode(self, text: object, encoding: object = "latin1") -> bytes:
        # This is how Python 3 writes bytes into a pickle that Python 2 can read. Their total may not exceed the pickle,
        # or a text that is encoded again and again would fill the memory.
        if not isinstance(text, str) or encoding != "latin1" or len(text) > self._n_left:
            raise pickle.UnpicklingError("it encodes something other than its own bytes")
        self._n_left -= len(text)
        return text.encode("latin1")

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        try:
            return _REPLACEMENTS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {shown(module)}.{shown(name)}, which is not run") from None


def _text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _damaged(path: Path, what: str) -> AekitError:
    return AekitError(f"{shown(path)}: {what}; delete the file and download it again")
