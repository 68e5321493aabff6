"""Labels that an array file holds: whole numbers, text, one column per class, or attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aekit.core.damage import NPY_DAMAGE
from aekit.core.progress import Progress
from aekit.errors import AekitError, count, shown
from aekit.images.data.factors import Factors
from aekit.images.data.image_set import Indices

Array = npt.NDArray[Any]
Load = Callable[[], Array]


@dataclass(frozen=True)
class ArrayLabels:
    """The labels of all parts of a file, so that classes have the same numbers in each.

    Attributes:
        by_part: Class of each image, or its attributes, by the name of the part; none if there are no labels.
        class_names: One name per class.
        attribute_names: One name per attribute, if these are attributes.
        factors: Factors of all images, if the file has them, which is then a single part.
    """

    by_part: Mapping[str, Array]
    class_names: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()
    factors: Factors | None = None

    def check(self, path: Path, part: str, n_images: int) -> None:
        """Check that there is one for each image of a part."""
        if self.by_part and len(self.by_part[part]) != n_images:
            n = len(self.by_part[part])
            raise AekitError(f"{shown(path)}: {count(n, 'label')} for {count(n_images, 'image')}; store one per image")
        if self.factors is not None and len(self.factors) != n_images:
            rows = count(len(self.factors), "row")
            raise AekitError(f"{shown(path)}: {rows} of factors for {count(n_images, 'image')}; store one per image")

    def of_images(self, part: str, rows: Indices) -> Indices | None:
        """Return the class of some images of a part, (K,)."""
        return self.by_part[part][rows] if self.class_names else None

    def attributes_of_images(self, part: str, rows: Indices) -> npt.NDArray[np.bool_] | None:
        """Return the attributes of some images of a part, (K, A)."""
        return self.by_part[part][rows] if self.attribute_names else None

    def factors_of_images(self, rows: Indices) -> Factors | None:
        """Return the factors of some images, K of them."""
        return None if self.factors is None else self.factors.subset(rows)


def read_array_labels(path: Path, loads: Mapping[str, Load | None], progress: Progress) -> ArrayLabels:
    """Return the labels of all parts of a file.

    Args:
        path: The file.
        loads: How to load the labels of each part; None if it has none.
        progress: Receives a notice of labels that are read as attributes.

    Raises:
        AekitError: They are of no kind that is known, or differ in kind.
    """
    found = {name: _label_values(path, load) for name, load in loads.items() if load is not None}
    if not found:
        return ArrayLabels({})
    kinds = {(values.ndim, values.dtype.kind in "US") for values in found.values()}
    widths = {values.shape[1] for values in found.values() if values.ndim == 2}
    if len(kinds) > 1 or len(widths) > 1:
        raise AekitError(f"{shown(path)}: labels of several kinds in its parts; store the same kind for all")
    if not widths:
        classes = np.unique(np.concatenate(list(found.values())))
        numbers = {part: np.searchsorted(classes, values).astype(np.int64) for part, values in found.items()}
        return ArrayLabels(numbers, tuple(shown(name) for name in classes))
    names = tuple(map(str, range(widths.pop())))
    if all((values.sum(axis=1) == 1).all() for values in found.values()):
        return ArrayLabels({part: values.argmax(axis=1) for part, values in found.items()}, names)
    progress.notice(f"{shown(path)}: labels with several ones per image are read as {len(names)} attributes")
    return ArrayLabels({part: values.astype(bool) for part, values in found.items()}, (), names)


def _label_values(path: Path, load: Load) -> Array:
    """Return labels as whole numbers or text, (N,), or zeros and ones, (N, K) with K > 1."""
    try:
        labels = load()
    except NPY_DAMAGE as error:
        if "Object arrays" in str(error):
            fix = "store them as text, as with np.array(labels, dtype=str), or as whole numbers"
            raise AekitError(f"{shown(path)}: its labels are Python objects, which are not read; {fix}") from error
        raise damaged(path, error) from error
    if labels.ndim == 2 and labels.shape[1] == 1:  # as in Keras' CIFAR-10
        labels = labels[:, 0]
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    is_whole = labels.dtype.kind in "biu" or (labels.dtype.kind == "f" and bool((labels == np.round(labels)).all()))
    if labels.ndim == 1 and labels.dtype.kind == "U":
        return labels
    if labels.ndim == 1 and is_whole:
        return labels.astype(np.int64)
    if labels.ndim == 2 and is_whole and bool(((labels == 0) | (labels == 1)).all()):
        return labels.astype(np.int64)
    raise AekitError(
        f"{shown(path)}: labels are {labels.dtype} of shape {times(labels.shape)}; store whole numbers or text, one "
        "per image, or a column of zeros and ones per class"
    )


def times(shape: Iterable[int]) -> str:
    """Return a shape as it is written: ``64x48``."""
    return "x".join(map(str, shape))


def damaged(path: Path, error: BaseException) -> AekitError:
    """Return the error for a file that is damaged, and why."""
    reason = shown(" ".join(str(error).split()))
    return AekitError(f"{shown(path)}: is damaged or not a {path.suffix.lower()} file ({reason}); write it again")
