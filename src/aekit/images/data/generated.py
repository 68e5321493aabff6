"""Splits of the generated data sets: drawn when they are read, or once into the cache folder if they are large."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aekit.core.artifacts import write_columns
from aekit.core.progress import SILENT, Progress
from aekit.images.config import DataConfig, Split
from aekit.images.data.factors import Indices
from aekit.images.data.image_set import ImageSet
from aekit.images.data.origins import rows_of
from aekit.images.data.pixels import Pixels, fit_array
from aekit.images.data.shapes import GENERATED, Generated, n_bytes
from aekit.images.data.splits import train_val_test
from aekit.images.data.whole_store import Shape, find_store, open_store, store_path

VERSION = 1  # of the pictures: increase it when a pixel changes
MAX_MEMORY_BYTES = 1 << 30  # of images that are drawn into memory; more are mapped from the cache folder
_CHUNK = 8192  # images drawn at a time


def read_generated(
    config: DataConfig, split: Split, *, data_root: Path | None = None, progress: Progress = SILENT
) -> ImageSet:
    """Return a split of ``shapes``, (N, 1, 64, 64), or ``shapes-colour``, (N, 3, 64, 64), with its factors.

    A fifth of all combinations of factors is the test split. The class of an image is its shape.

    Args:
        config: Which images.
        split: ``train``, ``val``, ``test`` or ``all``.
        data_root: Not used: they are drawn.
        progress: Receives how many are drawn.

    Raises:
        AekitError: There is no room in the cache folder for a large split.
    """
    generated = GENERATED[config.name]
    rows = train_val_test(len(generated.grid), config)[split]
    factors = generated.grid.factors(rows)
    number = factors.names.index("shape")
    is_fitted = config.image_size is not None or config.grayscale
    is_large = n_bytes(generated, len(rows)) > MAX_MEMORY_BYTES and not is_fitted
    store = _whole(config.name, progress) if is_large else _draw(generated, rows, config, progress)
    return ImageSet(
        store,
        config.name,
        labels=factors.indices[:, number],
        class_names=tuple(str(value) for value in factors.values[number]),
        rows=rows if is_large else None,
        # Of what they are drawn from: the pixels follow, and need not be read.
        fingerprint=_fingerprint(config, rows),
        origins=rows_of(config.name, rows),
        factors=factors,
    )


def generated_file(name: str) -> Path | None:
    """Return the file in the cache folder that has all images of a generated data set, or None if there is none."""
    return None if find_store(_key(name), _shape(name)) is None else store_path(_key(name))


def _key(name: str) -> str:
    return f"{name}-{VERSION}"


def _shape(name: str) -> Shape:
    return len(GENERATED[name].grid), *GENERATED[name].image_shape


def _whole(name: str, progress: Progress) -> Pixels:
    """Return all images of a data set, which are written to the cache folder with a table of their factors."""
    table = store_path(_key(name)).with_suffix(".factors.csv")
    if not table.exists():
        grid = GENERATED[name].grid
        write_columns(table, grid.factors(np.arange(len(grid))).columns())
    return open_store(_key(name), _shape(name), _chunks(name, progress), progress)


def _chunks(name: str, progress: Progress) -> Iterator[tuple[int, Pixels]]:
    generated = GENERATED[name]
    n_images = len(generated.grid)
    for start in range(0, n_images, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, n_images))
        yield start, generated.render(rows)
        progress.update(f"drawing {name}", int(rows[-1]) + 1, n_images)


def _draw(generated: Generated, rows: Indices, config: DataConfig, progress: Progress) -> Pixels:
    """Return images of some rows, resized and in luma if wanted."""
    parts = []
    for start in range(0, len(rows), _CHUNK):
        images = generated.render(rows[start : start + _CHUNK])
        parts.append(fit_array(images, config.image_size, grayscale=config.grayscale))
        progress.update(f"drawing {config.name}", min(start + _CHUNK, len(rows)), len(rows))
    return np.concatenate(parts) if parts else np.zeros((0, *generated.image_shape), np.uint8)


def _fingerprint(config: DataConfig, rows: Indices) -> str:
    digest = hashlib.sha256(repr((config.name, VERSION, config.image_size, config.grayscale)).encode())
    digest.update(rows.tobytes())
    return digest.hexdigest()
