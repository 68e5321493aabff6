"""Exact principal component analysis of images, for every number of components at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from aekit.core.later import Later
from aekit.errors import AekitError, count

if TYPE_CHECKING:
    from scipy import linalg
    from scipy.sparse import linalg as sparse_linalg
else:
    linalg, sparse_linalg = Later("scipy.linalg"), Later("scipy.sparse.linalg")

Array = npt.NDArray[np.generic]
FloatArray = npt.NDArray[np.floating]

# Images at a time. Pixels minus 128 are integers of at most 128, their products at most 2^14, and the sums of 1,024
# products at most 2^24. Up to there float32 represents every integer, so its fast products are exact.
BLOCK = 1024
# With more values per image, Lanczos' method finds a few components faster than a full decomposition, to the same 14
# digits: 100 of 3,072 in 1.1 s instead of 2.7 s on one core.
_MANY_VALUES = 2000
# Floats that stay in a processor's cache while they are used.
_CACHED_VALUES = 2**16


class ImageRows(Protocol):
    """Images that are read in blocks, such as an image set, which may be memory-mapped."""

    def __len__(self) -> int: ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Return (channels, height, width)."""

    def take(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the images at ``indices``, (B, C, H, W)."""


Images = Array | ImageRows


@dataclass(frozen=True)
class Pca:
    """Principal components, fitted once.

    Attributes:
        mean: Mean image, float64 (D,), of pixels in [0, 1].
        components: Orthonormal rows, largest variance first, float64 (K, D). The sign of each makes its value of
            largest magnitude positive.
        variance: Variance along each of them, float64 (K,).
        total_variance: Sum of the variances of all pixels.
    """

    mean: FloatArray
    components: FloatArray
    variance: FloatArray
    total_variance: float

    def encode(self, images: Array, n_components: int) -> FloatArray:
        """Return the codes, float64 (N, n_components), of images, (N, ...) with D values each."""
        return (as_rows(images) - self.mean) @ self.components[:n_components].T

    def encode_all(self, images: Images, n_components: int) -> FloatArray:
        """Return the codes, float64 (N, n_components), of images that are read in blocks."""
        return np.concatenate([self.encode(block, n_components) for block in _blocks(images)])

    def decode(self, codes: FloatArray) -> FloatArray:
        """Return the images, float64 (N, D), of codes, (N, k); they may lie outside [0, 1]."""
        decoded: FloatArray = codes @ self.components[: codes.shape[1]] + self.mean
        return decoded


def principal_codes(images: ImageRows, n_components: int) -> npt.NDArray[np.float64]:
    """Return the codes of images on their own principal components, (N, K): as many as wanted, or as they have."""
    n_components = min(n_components, max_components(images))
    return fit_pca(images, n_components).encode_all(images, n_components).astype(np.float64, copy=False)


@dataclass(frozen=True)
class PcaErrors:
    """How well principal components reconstruct images.

    Attributes:
        n_components: Numbers of components, (K,), ascending.
        mse: Mean squared error over images, pixels and channels with each number of components, (K,).
        clipped_mse: The same with the reconstructed pixels clipped to [0, 1], the range of images, (K,).
        mean_image_mse: The same error without any component: that of the mean image.
    """

    n_components: npt.NDArray[np.int64]
    mse: FloatArray
    clipped_mse: FloatArray
    mean_image_mse: float


def as_rows(images: Array) -> FloatArray:
    """Return images, (N, ...), uint8 or floats in [0, 1], as rows of float64 in [0, 1], (N, D)."""
    rows = images.reshape(len(images), -1).astype(np.float64)
    return rows / 255 if images.dtype == np.uint8 else rows


def count_values(images: Images) -> int:
    """Return the number of values of an image, D: its pixels times its channels."""
    return int(np.prod(images.shape[1:] if isinstance(images, np.ndarray) else images.image_shape))


def max_components(images: Images) -> int:
    """Return how many principal components images can have: N images of D values have min(N - 1, D)."""
    return min(len(images) - 1, count_values(images))


def fit_pca(images: Images, n_components: int, *, on_block: Callable[[int], object] | None = None) -> Pca:
    """Return the first principal components of images: one eigendecomposition of their covariance.

    It needs about N D^2 multiplications and 12 D^2 bytes of memory, or N^2 D and 16 N D if there are fewer images than
    values. On one core, 60,000 images of 28 x 28 take half a second, 160,000 of 64 x 64 in colour several minutes.
    3,000,000 of 28 x 28 in a memory map of 2.4 GB took 87 s, and the process grew by 9 MB.

    Args:
        images: N of them with D values each: an array (N, ...), uint8 or floats in [0, 1], or an image set. They are
            read in blocks.
        n_components: Components to keep, at most min(N - 1, D).
        on_block: Called after each block of images with the number of images in it.

    Raises:
        AekitError: There are too few images or pixels for this number of components.
    """
    most = max_components(images)
    if n_components > most:
        raise AekitError(
            f"pca: {count(len(images), 'image')} of {count_values(images):,} values give at most "
            f"{count(max(most, 0), 'component')}, not {n_components}; use more images or fewer latent dimensions"
        )
    fit = _fit_few_images if len(images) < count_values(images) else _fit_many_images
    pca = fit(images, n_components, on_block or (lambda n: None))
    largest = np.take_along_axis(pca.components, np.abs(pca.components).argmax(axis=1)[:, None], axis=1)
    pca.components[:] *= np.where(largest < 0, -1.0, 1.0)
    return pca


def reconstruction_errors(pca: Pca, images: Images, n_components: Sequence[int]) -> PcaErrors:
    """Return the errors of images reconstructed from their first components, for all numbers of them in one pass.

    Without clipping, the error of k components follows from the scores s = C (x - mean), as components are orthonormal:
    |x - mean|^2 - sum_{i <= k} s_i^2. For clipping, reconstructions are summed component by component.

    Args:
        pca: At least as many components as the largest number.
        images: N of them with D values each: an array (N, ...), uint8 or floats in [0, 1], or an image set.
        n_components: Numbers of components, each at least 1.
    """
    counts = np.unique(np.asarray(n_components, np.int64))
    if counts[0] < 1 or counts[-1] > len(pca.components):
        raise ValueError(f"{len(pca.components)} components cannot be counted from {counts[0]} to {counts[-1]}")
    squares, clipped = np.zeros(len(counts)), np.zeros(len(counts))  # summed over images and values
    around_mean = 0.0
    components = pca.components[: counts[-1]]
    step = max(1, _CACHED_VALUES // len(pca.mean))
    for block in _blocks(images):
        centred = as_rows(block) - pca.mean
        scores = centred @ components.T
        distance = float(np.vdot(centred, centred))
        around_mean += distance
        squares += distance - np.square(scores).sum(axis=0).cumsum()[counts - 1]
        for start in range(0, len(block), step):
            part = slice(start, start + step)
            clipped += _clipped_squares(pca.mean, components, centred[part], scores[part], counts)
    n_values = len(images) * len(pca.mean)
    return PcaErrors(counts, np.maximum(squares, 0.0) / n_values, clipped / n_values, around_mean / n_values)


def _clipped_squares(
    mean: FloatArray, components: FloatArray, centred: FloatArray, scores: FloatArray, counts: npt.NDArray[np.int64]
) -> FloatArray:
    """Return the squared errors, summed over images and values, of clipped reconstructions, one per count, (K,)."""
    x_hat = np.zeros_like(centred)  # minus the mean, as are the images
    error = np.empty_like(centred)
    squares = np.empty(len(counts))
    for number, (before, now) in enumerate(pairwise([0, *counts])):
        x_hat += scores[:, before:now] @ components[before:now]
        np.clip(x_hat, -mean, 1 - mean, out=error)
        error -= centred
        squares[number] = np.vdot(error, error)
    return squares


def _fit_many_images(images: Images, n_components: int, on_block: Callable[[int], object]) -> Pca:
    """Return the components from the covariance of D values, summed block by block."""
    n_images, n_values = len(images), count_values(images)
    products, sums = np.zeros((n_values, n_values)), np.zeros(n_values)
    shift, scale, dtype = _origin(images)
    for block in _blocks(images):
        rows = block.astype(dtype) - shift.astype(dtype)
        products += rows.T @ rows
        sums += rows.sum(axis=0, dtype=np.float64)
        on_block(len(block))
    for start in range(0, n_values, BLOCK):  # in parts, as the whole may need a gigabyte
        products[start : start + BLOCK] -= np.outer(sums[start : start + BLOCK] / n_images, sums)
    products /= (n_images - 1) * scale**2
    total_variance = float(np.trace(products))
    variance, vectors = _largest_eigenpairs(products, n_components)
    mean = (shift + sums / n_images) / scale
    return Pca(mean, np.ascontiguousarray(vectors.T), variance, total_variance)


def _origin(images: Images) -> tuple[FloatArray, float, type[np.floating]]:
    """Return what to subtract from the values of images, (D,), their scale, and the type in which products are exact.

    Squares of differences from a point near the mean lose no digits; for floats it is the mean of the first block.
    """
    if not isinstance(images, np.ndarray) or images.dtype == np.uint8:
        return np.full(count_values(images), 128.0), 255.0, np.float32
    return next(_blocks(images)).astype(np.float64).mean(axis=0), 1.0, np.float64


def _fit_few_images(images: Images, n_components: int, on_block: Callable[[int], object]) -> Pca:
    """Return the components from the inner products of N images with each other, N < D, which have the same spectrum.

    Source:
        Turk & Pentland 1991, Eigenfaces for recognition, doi:10.1162/jocn.1991.3.1.71.
    """
    parts = []
    for block in _blocks(images):
        parts.append(as_rows(block))
        on_block(len(block))
    rows = np.concatenate(parts)
    mean = rows.mean(axis=0)
    rows -= mean
    gram = rows @ rows.T / (len(rows) - 1)
    total_variance = float(np.trace(gram))
    variance, vectors = _largest_eigenpairs(gram, n_components)
    # The images of eigenvectors are already orthogonal; this gives them length 1, also those of variance zero.
    components = linalg.qr(rows.T @ vectors, mode="economic")[0]
    return Pca(mean, np.ascontiguousarray(components.T), variance, total_variance)


def _largest_eigenpairs(matrix: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """Return the n largest eigenvalues of a covariance, (n,), descending, and their eigenvectors, (D, n)."""
    size = len(matrix)
    if size > _MANY_VALUES and n < size // 8:
        try:
            # A fixed start, so that equal images have equal components.
            values, vectors = sparse_linalg.eigsh(matrix, n, v0=np.random.default_rng(0).standard_normal(size), tol=0)
            return np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        except sparse_linalg.ArpackNoConvergence:  # the spectrum is flat where it is cut
            pass  # the full decomposition is slower
    values, vectors = linalg.eigh(matrix, subset_by_index=(size - n, size - 1))
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def _blocks(images: Images) -> Iterator[Array]:
    """Yield all images in blocks, unconverted, (B, D)."""
    for start in range(0, len(images), BLOCK):
        stop = min(start + BLOCK, len(images))
        block = images[start:stop] if isinstance(images, np.ndarray) else images.take(np.arange(start, stop))
        yield block.reshape(len(block), -1)
