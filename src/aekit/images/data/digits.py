"""The 1,797 handwritten digits of 8x8 pixels that come with scikit-learn: always available, no download."""

from __future__ import annotations

import gzip
import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError
from aekit.images.catalog import CATALOG
from aekit.images.config import DataConfig, Split
from aekit.images.data.image_set import ImageSet
from aekit.images.data.origins import rows_of
from aekit.images.data.pixels import fit_array
from aekit.images.data.splits import train_val_test


def read_digits(
    config: DataConfig, split: Split, *, data_root: Path | None = None, progress: Progress = SILENT
) -> ImageSet:
    """Return a split of scikit-learn's digits, (N, 1, 8, 8) unless resized; a fifth is the test split.

    Args:
        config: Which images.
        split: ``train``, ``val`` or ``test``.
        data_root: Not used: the digits come with scikit-learn.
        progress: Not used.

    Raises:
        AekitError: scikit-learn or its data are not installed.

    Source:
        E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning Repository, 1998.
    """
    path = digits_file()
    if path is None:
        raise AekitError("--data digits: scikit-learn's digits are missing; reinstall scikit-learn")
    table = _read_table(path)
    images = np.round(table[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    rows = train_val_test(len(images), config)[split]
    return ImageSet(
        fit_array(images[rows], config.image_size, grayscale=config.grayscale),
        config.name,
        labels=table[rows, 64].astype(np.int64),
        class_names=CATALOG["digits"].class_names,
        origins=rows_of(path.name, rows),
    )


@lru_cache(maxsize=1)  # one megabyte; a sweep or a session reads several splits, 25 ms each
def _read_table(path: Path) -> npt.NDArray[np.float64]:
    """Return the table of scikit-learn, (1797, 65): 64 pixels from 0 to 16, and the label."""
    with gzip.open(path, "rt", encoding="ascii") as file:
        return np.loadtxt(file, delimiter=",")


def digits_file() -> Path | None:
    """Return scikit-learn's file of digits, or None if it is not installed with its data."""
    # Without importing scikit-learn, which takes 1.3 s; reading the file takes 10 ms.
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    return path if path.is_file() else None
