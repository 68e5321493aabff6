"""Exact principal component analysis of images, for every number of components at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg

from aekit.errors import AekitError

Array = npt.NDArray[np.generic]
FloatArray = npt.NDArray[np.floating]

BLOCK = 2048  # images at a time, so that a memory-mapped set is never held whole as floats


@dataclass(frozen=True)
class Pca:
    """Principal components, fitted once.

    Attributes:
        mean: Mean image, float64 (D,), of pixels in [0, 1].
        components: Orthonormal rows, the most variance first, float64 (K, D).
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

    def decode(self, codes: FloatArray) -> FloatArray:
        """Return the images, float64 (N, D), of codes, (N, k); nothing keeps them within [0, 1]."""
        decoded: FloatArray = codes @ self.components[: codes.shape[1]] + self.mean
        return decoded


def as_rows(images: Array) -> FloatArray:
    """Return images, (N, ...), uint8 or floats in [0, 1], as rows of float64 in [0, 1], (N, D)."""
    rows = images.reshape(len(images), -1).astype(np.float64)
    return rows / 255 if images.dtype == np.uint8 else rows


def fit_pca(images: Array, n_components: int) -> Pca:
    """Return the first principal components of images: one eigendecomposition of their covariance.

    Args:
        images: (N, ...) with D values each, uint8 or floats in [0, 1], in memory or memory-mapped.
        n_components: Components to keep, at most min(N - 1, D).

    Raises:
        AekitError: There are too few images or pixels for so many components.
    """
    n_images, n_values = len(images), int(np.prod(images.shape[1:]))
    if n_components > min(n_images - 1, n_values):
        raise AekitError(
            f"pca: {n_images:,} images of {n_values:,} values have at most {min(n_images - 1, n_values):,} components, "
            f"not {n_components}; use more images or fewer latent dimensions"
        )
    blocks = range(0, n_images, BLOCK)
    mean = np.sum([as_rows(images[start : start + BLOCK]).sum(axis=0) for start in blocks], axis=0) / n_images
    covariance = np.zeros((n_values, n_values))
    for start in blocks:
        centred = as_rows(images[start : start + BLOCK]) - mean
        covariance += centred.T @ centred
    covariance /= n_images - 1
    total_variance = float(np.trace(covariance))
    first = n_values - n_components
    variance, vectors = linalg.eigh(covariance, overwrite_a=True, subset_by_index=(first, n_values - 1))
    return Pca(mean, np.ascontiguousarray(vectors.T[::-1]), np.maximum(variance[::-1], 0.0), total_variance)
