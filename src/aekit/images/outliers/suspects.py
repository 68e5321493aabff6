"""Images that appear twice, and labels that neighbours contradict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aekit.images.data.image_set import ImageSet, Indices
from aekit.images.neighbours import Neighbours

Floats = npt.NDArray[np.float64]

_BLOCK = 1024  # pairs of images at a time


class Pairs(NamedTuple):
    """Pairs of images, the most alike first.

    Attributes:
        first: Rows of the first images, (P,).
        second: Rows of the second ones, (P,).
        difference: Root mean square of the differences of their pixels as a fraction of their contrast, (P,): the
            standard deviation of the pixels of an image, pooled over both.
    """

    first: Indices
    second: Indices
    difference: Floats


def near_duplicates(images: ImageSet, others: ImageSet | None, neighbours: Neighbours, most: float) -> Pairs:
    """Return which images have a near duplicate among the nearest neighbours of their codes.

    Args:
        images: N images.
        others: The images that neighbours were searched in; None is ``images`` themselves, whose pairs come once.
        neighbours: The neighbours of each image.
        most: Largest difference as a fraction of contrast, see :class:`Pairs`.
    """
    k = neighbours.rows.shape[1]
    first, second = np.repeat(np.arange(len(images)), k), neighbours.rows.ravel()
    if others is None:
        pairs = np.unique(np.sort(np.stack([first, second], axis=1), axis=1), axis=0)
        first, second = pairs[:, 0], pairs[:, 1]
    difference = _differences(images, images if others is None else others, first, second)
    found = np.flatnonzero(difference <= most)
    found = found[np.argsort(difference[found], kind="stable")]
    return Pairs(first[found], second[found], difference[found])


def without_same(pairs: Pairs, images: ImageSet, others: ImageSet) -> tuple[Pairs, int]:
    """Return the pairs that are not one and the same image, and the number of those that are.

    Args:
        pairs: Pairs of the first images with the second ones.
        images: The first images.
        others: The second ones. An image of both is one of the same file, with the same pixels.
    """
    is_same = np.array(
        [
            difference == 0 and images.origin_text(int(first)) == others.origin_text(int(second)) != ""
            for first, second, difference in zip(*pairs, strict=True)
        ],
        dtype=bool,
    )
    return Pairs(*(values[~is_same] for values in pairs)), len(np.unique(pairs.first[is_same]))


def _differences(images: ImageSet, others: ImageSet, first: Indices, second: Indices) -> Floats:
    parts = []
    for start in range(0, len(first), _BLOCK):
        rows = slice(start, start + _BLOCK)
        x, y = (
            each.take(own[rows]).reshape(len(own[rows]), -1).astype(np.float64)
            for each, own in ((images, first), (others, second))
        )
        contrast = np.sqrt((x.var(axis=1) + y.var(axis=1)) / 2)
        rms = np.sqrt(np.square(x - y).mean(axis=1))
        # Two images of one colour each have no contrast; they are alike if the colours are.
        parts.append(np.divide(rms, contrast, out=np.where(rms > 0, np.inf, 0.0), where=contrast > 0))
    return np.concatenate(parts) if parts else np.empty(0)


class Contradicted(NamedTuple):
    """Images whose neighbours have another label, those with the fewest of their own first.

    Attributes:
        rows: Their rows, (M,).
        other: The most frequent class of their neighbours, (M,).
        own_share: Fraction of their neighbours with their own label, (M,).
        other_share: Fraction of their neighbours with that class, (M,).
    """

    rows: Indices
    other: Indices
    own_share: Floats
    other_share: Floats


def contradicted_labels(labels: Indices, neighbours: Sequence[Indices] | Indices, n_classes: int) -> Contradicted:
    """Return the images of which more than half of the neighbours share one label, and that is not their own.

    Args:
        labels: Class of each image, (N,).
        neighbours: Rows of the neighbours of each image among the same images, (N, k).
        n_classes: Number of classes.
    """
    rows = np.asarray(neighbours)
    k = rows.shape[1]
    votes = np.zeros((len(labels), n_classes), np.int64)
    for column in range(k):
        votes[np.arange(len(labels)), labels[rows[:, column]]] += 1
    own, other = votes[np.arange(len(labels)), labels], votes.argmax(axis=1)
    most = votes.max(axis=1)
    found = np.flatnonzero((other != labels) & (2 * most > k))
    found = found[np.lexsort((-most[found], own[found]))]
    return Contradicted(found, other[found], own[found] / k, most[found] / k)
