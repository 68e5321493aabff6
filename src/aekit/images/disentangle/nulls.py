"""What trivial codes score on the same images: each is a floor, or a ceiling, of the scores."""

from __future__ import annotations

import numpy as np
from scipy import stats

from aekit.images.data.image_set import ImageSet
from aekit.images.disentangle.binning import Floats, Integers

# Name in tables -> what it is.
NULLS = {
    "turned": "the codes with their axes turned at random: the same information, in no dimension of its own",
    "permuted": "the codes with the factors of other images: chance",
    "factors": "the factors themselves as the code: the best that can be",
    "pca": "principal components of the images, as many as dimensions",
    "projection": "random projections of the pixels, as many as dimensions",
}


def turn_axes(codes: Floats, generator: np.random.Generator) -> Floats:
    """Return codes, (N, L), with mean 0 and variance 1 in each dimension that has one, turned at random."""
    deviation = codes.std(0)
    standard = (codes - codes.mean(0)) / np.where(deviation > 0, deviation, 1)
    turned: Floats = standard @ stats.ortho_group.rvs(codes.shape[1], random_state=generator)
    return turned


def permute(factors: Integers, generator: np.random.Generator) -> Integers:
    """Return the factors of other images, (N, F)."""
    return factors[generator.permutation(len(factors))]


def projected_codes(image_set: ImageSet, n_dimensions: int, generator: np.random.Generator) -> Floats:
    """Return random projections of the pixels, (N, L)."""
    rows = image_set.images.reshape(len(image_set), -1)
    axes = generator.normal(size=(rows.shape[1], n_dimensions)).astype(np.float32)
    blocks = [rows[start : start + 1024].astype(np.float32) @ axes for start in range(0, len(rows), 1024)]
    return np.concatenate(blocks).astype(np.float64)
