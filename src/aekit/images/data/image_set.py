"""An image set: pixels as uint8, in memory or memory-mapped, with labels and attributes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from aekit.images.data.binarize import draw_pixels
from aekit.images.data.factors import Factors, joined
from aekit.images.data.origins import Origins

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ImageSet:
    """Images and their labels: all rows of a store, or some of them in a given order.

    A subset shares the store, so that splitting a memory-mapped set of many gigabytes is free.

    Attributes:
        store: Pixels, uint8 (M, C, H, W) with C 1 or 3, in memory or memory-mapped.
        name: Name of the data set, for titles and file names.
        labels: Class of each image, int64 (N,), an index into ``class_names``; None if there are no classes.
        class_names: One name per class.
        attributes: Binary attributes, bool (N, A), such as CelebA's; None if there are none.
        attribute_names: One name per attribute.
        rows: Rows of the store that belong to the set, (N,); None means all of them, N = M.
        fingerprint: SHA-256 over shape, pixels, and the data's own labels and attributes; computed if left empty.
        n_skipped: Number of images that were left out on request, as they could not be decoded or were not finite.
        bad: What is wrong with each image that could not be used, in this split or another of the same files, by name.
        origins: Where each image came from, N of them; None if that is not known.
        value_range: Values that became 0 and 255, if they were taken from the images themselves.
        span: Smallest and largest value of the images before they became bytes, and the largest of their type; None if
            their range was given, or there are several types.
        n_clipped: Number of images with values outside the range that was given, which were clipped to it.
        labels_fingerprint: SHA-256 of the table that labels and attributes are from; empty if they are of the data.
        draw: Seed by which each pixel is drawn black or white, see :func:`aekit.images.data.binarize.draw_pixels`;
            None leaves them grey. The store and the fingerprint are of grey pixels in any case.
        factors: What each image shows by factor, N of them; None if that is not known.
    """

    store: npt.NDArray[np.uint8]
    name: str
    labels: Indices | None = None
    class_names: tuple[str, ...] = ()
    attributes: npt.NDArray[np.bool_] | None = None
    attribute_names: tuple[str, ...] = ()
    rows: Indices | None = None
    fingerprint: str = ""
    n_skipped: int = 0
    bad: Mapping[str, str] = field(default_factory=dict)
    origins: Origins | None = None
    value_range: tuple[float, float] | None = None
    span: tuple[float, float, int] | None = None
    n_clipped: int = 0
    labels_fingerprint: str = ""
    draw: int | None = None
    factors: Factors | None = None

    def __post_init__(self) -> None:
        if self.store.dtype != np.uint8 or self.store.ndim != 4:
            raise ValueError(f"images must be uint8 (N, C, H, W), not {self.store.dtype} {self.store.shape}")
        for companion in (self.labels, self.attributes, self.origins, self.factors):
            if companion is not None and len(companion) != len(self):
                raise ValueError(f"{len(companion)} labels for {len(self)} images")
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", _fingerprint(self))

    def __len__(self) -> int:
        return len(self.store if self.rows is None else self.rows)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Return (channels, height, width)."""
        return self.store.shape[1], self.store.shape[2], self.store.shape[3]

    @property
    def levels(self) -> tuple[int, int]:
        """Return the darkest and the brightest grey level of all pixels, 0 to 255."""
        starts = range(0, len(self), 4096)  # in blocks, so that a memory-mapped set need not fit into memory
        blocks = (self.take(np.arange(start, min(start + 4096, len(self)))) for start in starts)
        ends = [(int(block.min()), int(block.max())) for block in blocks]
        return min(low for low, _ in ends), max(high for _, high in ends)

    @property
    def images(self) -> npt.NDArray[np.uint8]:
        """Return all pixels, uint8 (N, C, H, W): the store itself, or a copy in memory of a subset or of drawn ones."""
        return self._as_drawn(self.store if self.rows is None else self.store[self.rows])

    def take(self, indices: Indices) -> npt.NDArray[np.uint8]:
        """Return the pixels of some images as a copy in memory, uint8 (len(indices), C, H, W)."""
        return self._as_drawn(self.store[indices if self.rows is None else self.rows[indices]])

    def drawn(self, seed: int | None) -> ImageSet:
        """Return the same images with each pixel drawn black or white; None returns them as they are."""
        return self if seed is None else replace(self, draw=seed)

    def _as_drawn(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return pixels if self.draw is None else draw_pixels(pixels, self.draw)

    def subset(self, indices: Indices) -> ImageSet:
        """Return the images at ``indices``, (K,), in that order, on the same store."""
        digest = hashlib.sha256(self.fingerprint.encode())
        digest.update(indices.tobytes())
        return replace(
            self,
            rows=indices if self.rows is None else self.rows[indices],
            labels=None if self.labels is None else self.labels[indices],
            attributes=None if self.attributes is None else self.attributes[indices],
            fingerprint=digest.hexdigest(),
            origins=None if self.origins is None else self.origins.subset(indices),
            factors=None if self.factors is None else self.factors.subset(indices),
        )

    def origin_columns(self, indices: Indices | None = None) -> dict[str, list[object]]:
        """Return the columns of a table that say where images came from: those at ``indices``, (K,), or all."""
        return {} if self.origins is None else self.origins.columns(indices)

    def origin_text(self, index: int) -> str:
        """Return where image ``index`` came from, or an empty text if that is not known."""
        return "" if self.origins is None else self.origins.text(index)

    def label_text(self, index: int) -> str:
        """Return the class name of image ``index``, or else its attributes, joined by ``;``."""
        if self.labels is not None:
            label = int(self.labels[index])
            return self.class_names[label] if 0 <= label < len(self.class_names) else str(label)
        if self.attributes is not None:
            return ";".join(name for name, has in zip(self.attribute_names, self.attributes[index], strict=True) if has)
        return ""


def join(sets: Sequence[ImageSet]) -> ImageSet:
    """Return the images of several sets of the same shape, classes and attributes as one, in memory."""
    first = sets[0]
    labels, attributes = [each.labels for each in sets], [each.attributes for each in sets]
    origins = [each.origins for each in sets if each.origins is not None]
    factors = [each.factors for each in sets if each.factors is not None]
    return ImageSet(
        np.concatenate([each.images for each in sets]),
        first.name,
        labels=None if first.labels is None else np.concatenate([x for x in labels if x is not None]),
        class_names=first.class_names,
        attributes=None if first.attributes is None else np.concatenate([x for x in attributes if x is not None]),
        attribute_names=first.attribute_names,
        n_skipped=sum(each.n_skipped for each in sets),
        bad={name: reason for each in sets for name, reason in each.bad.items()},
        origins=functools.reduce(Origins.__add__, origins) if origins else None,
        value_range=first.value_range,
        n_clipped=sum(each.n_clipped for each in sets),
        span=_joined_span([each.span for each in sets]),
        factors=joined(factors) if factors else None,
    )


def _joined_span(spans: Sequence[tuple[float, float, int] | None]) -> tuple[float, float, int] | None:
    """Return the smallest and the largest value of several sets; None if they are of several types, or not known."""
    known = [span for span in spans if span is not None]
    if len(known) < len(spans) or len({full for *_, full in known}) > 1:
        return None
    return min(low for low, _, _ in known), max(high for _, high, _ in known), known[0][2]


def _fingerprint(image_set: ImageSet) -> str:
    digest = hashlib.sha256(repr((len(image_set), *image_set.image_shape)).encode())
    for start in range(0, len(image_set), 4096):  # in blocks, so that a memory-mapped set need not fit into memory
        block = image_set.take(np.arange(start, min(start + 4096, len(image_set))))
        digest.update(block.tobytes())
    for companion in (image_set.labels, image_set.attributes):
        if companion is not None:
            digest.update(companion.tobytes())
    return digest.hexdigest()


def split_indices(n_images: int, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Return the indices that remain and those that are set aside, both ascending: a seeded random split.

    Args:
        n_images: Number of images, N.
        fraction: Fraction to set aside, in [0, 1), rounded to whole images.
        seed: Seed of the draw.
    """
    order = np.random.Generator(np.random.PCG64(seed)).permutation(n_images).astype(np.int64)
    n_aside = round(n_images * fraction)
    return np.sort(order[n_aside:]), np.sort(order[:n_aside])
