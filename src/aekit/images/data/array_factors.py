"""Factors of variation that an array file brings along: a row per image, with a column per factor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aekit.core.damage import NPY_DAMAGE
from aekit.errors import AekitError, count, shown
from aekit.images.data.array_labels import Array, Load, damaged, times
from aekit.images.data.factors import Factors

FACTORS, NAMES = "factors", "factor_names"
MIN_PER_VALUE = 4  # images that a value has on average: one seen once cannot be learned and tested
# Columns of tables next to which factors stand.
_TAKEN = re.compile(r"index|file|row|label|checkpoint|code|dimension|kl|z\d+")


def read_array_factors(path: Path, arrays: Mapping[str, Load], *, has_splits: bool) -> Factors | None:
    """Return the factors in a file as indices into the different values of each column; None if there are none.

    They are numbers or text (N, F), called ``factors``; ``factor_names`` (F,) are their names, by default ``factor1``,
    ``factor2`` and so on.

    Args:
        path: The file.
        arrays: How to load each of its arrays.
        has_splits: Whether its images are in several arrays, which can have no factors.

    Raises:
        AekitError: A column cannot be a factor: it has a value that is not finite, a single value, or too many; or
            names are not a different one for each.
    """
    if FACTORS not in arrays:
        if NAMES in arrays:
            raise AekitError(f"{shown(path)}: holds '{NAMES}' without '{FACTORS}'; store them too, or leave it out")
        return None
    if has_splits:
        raise AekitError(
            f"{shown(path)}: '{FACTORS}' cannot be told apart for images in several arrays; store all as 'images', of "
            "which a fifth is set aside as test images"
        )
    table = _table(path, arrays[FACTORS])
    names = _names(path, arrays.get(NAMES), table.shape[1])
    values, indices = [], np.empty(table.shape, np.int64)
    for number, name in enumerate(names):
        different, indices[:, number] = np.unique(table[:, number], return_inverse=True)
        _check_values(path, name, different, len(table))
        values.append(tuple(different.tolist()))
    return Factors(names, tuple(values), indices)


def _table(path: Path, load: Load) -> npt.NDArray[Any]:
    table = _loaded(path, load, FACTORS)
    if table.ndim != 2 or not table.shape[1] or table.dtype.kind not in "biufU":
        raise AekitError(
            f"{shown(path)}: '{FACTORS}' is {table.dtype} of shape {times(table.shape)}; store numbers or text with a "
            "row per image and a column per factor"
        )
    if table.dtype.kind == "f" and not np.isfinite(table).all():
        row, column = np.argwhere(~np.isfinite(table))[0]
        raise AekitError(
            f"{shown(path)}: '{FACTORS}' has a value that is not finite (row {row}, column {column}, from 0); leave "
            "out that image or that factor"
        )
    return table.astype(np.int64) if table.dtype.kind == "b" else table


def _names(path: Path, load: Load | None, n_factors: int) -> tuple[str, ...]:
    if load is None:
        return tuple(f"factor{number + 1}" for number in range(n_factors))
    found = _loaded(path, load, NAMES)
    if found.dtype.kind != "U" or found.shape != (n_factors,):
        raise AekitError(
            f"{shown(path)}: '{NAMES}' is {found.dtype} of shape {times(found.shape)}; store {n_factors} names as text"
        )
    names = tuple(found.tolist())
    columns = [*names, *(f"{name}_value" for name in names)]
    for name in names:
        if not name.strip() or _TAKEN.fullmatch(name) or columns.count(name) > 1:
            raise AekitError(
                f"{shown(path)}: '{NAMES}' has '{shown(name)}', which is empty, there twice, or the name of another "
                "column of the tables; choose another name"
            )
    return names


def _check_values(path: Path, name: str, different: npt.NDArray[Any], n_images: int) -> None:
    if len(different) < 2:
        raise AekitError(
            f"{shown(path)}: factor {shown(name)} has the same value for every image; leave it out of '{FACTORS}'"
        )
    if len(different) * MIN_PER_VALUE > n_images:
        raise AekitError(
            f"{shown(path)}: factor {shown(name)} has {len(different):,} different values for "
            f"{count(n_images, 'image')}, which cannot be learned from some and tested on others; store it in steps"
        )


def _loaded(path: Path, load: Load, name: str) -> Array:
    try:
        array = load()
    except NPY_DAMAGE as error:
        if "Object arrays" in str(error):
            fix = "store it as text, as with dtype=str, or as numbers"
            raise AekitError(f"{shown(path)}: '{name}' holds Python objects, which are not read; {fix}") from error
        raise damaged(path, error) from error
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array
