"""What trivial codes score on the same images: each is a floor, or a ceiling, of the scores."""

from __future__ import annotations

import numpy as np

from aekit.images.data.image_set import ImageSet
from aekit.images.disentangle.binning import Floats, Integers
from aekit.images.pca.components import fit_pca, max_components

# Name in tables -> what it is.
NULLS = {
    "turned": "the codes with their axes turned at random: the same information, in no dimension of its own",
    "permuted": "the codes with the factors of other images: chance",
    "factors": "the factors themselves as the code: the best that can be",
    "pca": "principal components of the images, as many as dimensions",
    "projection": "random projections of the pixels, as many as dimensions",
}


def turn_axes(codes: Floats, generator: np.random.Generator) -> Floats:
    """Return codes, (N, L), with mean 0 and variance 1 in each dimension that has one, turned by a random rotation."""
    deviation = codes.std(0)
    standard = (codes - codes.mean(0)) / np.where(deviation > 0, deviation, 1)
    turned: Floats = standard @ random_rotation(codes.shape[1], generator)
    return turned


def random_rotation(n_dimensions: int, generator: np.random.Generator) -> Floats:
    """Return a rotation drawn uniformly from all, (L, L).

    Source:
        Mezzadri 2007, arXiv:math-ph/0609050.
    """
    q, r = np.linalg.qr(generator.normal(size=(n_dimensions, n_dimensions)))
    rotation: Floats = q * np.sign(np.diag(r))
    return rotation


def permute(factors: Integers, generator: np.random.Generator) -> Integers:
    """Return the factors of other images, (N, F)."""
    return factors[generator.permutation(len(factors))]


def principal_codes(image_set: ImageSet, n_dimensions: int) -> Floats:
    """Return the codes of as many principal components of the images as there are dimensions, or can be, (N, K)."""
    n_components = min(n_dimensions, max_components(image_set))
    return fit_pca(image_set, n_components).encode_all(image_set, n_components).astype(np.float64)


def projected_codes(image_set: ImageSet, n_dimensions: int, generator: np.random.Generator) -> Floats:
    """Return random projections of the pixels, (N, L)."""
    rows = image_set.images.reshape(len(image_set), -1)
    axes = generator.normal(size=(rows.shape[1], n_dimensions)).astype(np.float32)
    blocks = [rows[start : start + 1024].astype(np.float32) @ axes for start in range(0, len(rows), 1024)]
    return np.concatenate(blocks).astype(np.float64)
