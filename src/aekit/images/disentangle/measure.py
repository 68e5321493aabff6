"""The scores of checkpoints and of trivial codes, over draws of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aekit.core.intervals import Interval, mean_interval
from aekit.core.threads import in_threads
from aekit.errors import AekitError, count
from aekit.images.config import image_of
from aekit.images.data.factors import Factors
from aekit.images.data.image_set import ImageSet
from aekit.images.disentangle import nulls
from aekit.images.disentangle.binning import Floats, Integers
from aekit.images.disentangle.request import MIN_SAMPLES, DisentangleRequest
from aekit.images.disentangle.scores import Scores, measure_scores


@dataclass(frozen=True)
class Measured:
    """A code and its scores.

    Attributes:
        code: ``model``, or a name in :data:`aekit.images.disentangle.nulls.NULLS`.
        n_dimensions: Its dimensions.
        draws: Its scores on each draw of images, at least one.
    """

    code: str
    n_dimensions: int
    draws: tuple[Scores, ...]

    def interval(self, score: str) -> Interval:
        """Return the mean of a score over draws and its interval; missing (NaN) where it is not defined."""
        return mean_interval(np.array([draw.values[score] for draw in self.draws]))

    def importance(self) -> Floats:
        """Return the mean importance of each dimension for each factor, (L, F)."""
        mean: Floats = np.mean([draw.importance for draw in self.draws], axis=0)
        return mean

    def of_factors(self, score: str) -> Floats:
        """Return the mean of a score of each factor, (F,)."""
        mean: Floats = np.mean([draw.by_factor[score] for draw in self.draws], axis=0)
        return mean


def draw_images(images: ImageSet, request: DisentangleRequest) -> list[ImageSet]:
    """Return draws without a common image, each in random order: as many as wanted, or as there are images for.

    Raises:
        AekitError: There are too few images.
    """
    if len(images) < MIN_SAMPLES:
        raise AekitError(
            f"--split {request.split}: {images.name} has {count(len(images), image_of(request.split))}, and scores of "
            f"disentanglement need at least {MIN_SAMPLES}; use another split or more data"
        )
    order = np.random.default_rng(request.seed).permutation(len(images))
    n_draws = max(min(request.draws, len(images) // request.samples), 1)
    n_images = min(request.samples, len(images))
    return [images.subset(order[i * n_images : (i + 1) * n_images]) for i in range(n_draws)]


def measure_model(
    codes: Sequence[Floats], factors: Sequence[Factors], request: DisentangleRequest, *, jobs: int | None
) -> list[Measured]:
    """Return the scores of a model, and of its codes turned and permuted, which are measured on the first draw.

    Args:
        codes: The codes of each draw, (N, L).
        factors: The factors of each draw.
        request: What to measure.
        jobs: Threads; None takes every core.
    """
    generator = np.random.default_rng([request.seed, 1])
    turned = nulls.turn_axes(codes[0], generator)
    permuted = nulls.permute(factors[0].indices, generator)
    indices = [each.indices for each in factors]
    work = [*zip(codes, indices, strict=True), (turned, indices[0]), (codes[0], permuted)]
    found = _measure_all(work, factors[0], request, jobs)
    n_dimensions = codes[0].shape[1]
    *own, of_turned, of_permuted = found
    return [
        Measured("model", n_dimensions, tuple(own)),
        Measured("turned", n_dimensions, (of_turned,)),
        Measured("permuted", n_dimensions, (of_permuted,)),
    ]


def measure_baselines(
    images: ImageSet, factors: Factors, n_dimensions: int, request: DisentangleRequest, *, jobs: int | None
) -> list[Measured]:
    """Return the scores of codes that need no model: the factors, principal components, and random projections."""
    codes = {
        "factors": factors.indices.astype(np.float64),
        "pca": nulls.principal_codes(images, n_dimensions),
        "projection": nulls.projected_codes(images, n_dimensions, np.random.default_rng([request.seed, 2])),
    }
    found = _measure_all([(own, factors.indices) for own in codes.values()], factors, request, jobs)
    return [Measured(name, own.shape[1], (scores,)) for (name, own), scores in zip(codes.items(), found, strict=True)]


def _measure_all(
    work: Sequence[tuple[Floats, Integers]], factors: Factors, request: DisentangleRequest, jobs: int | None
) -> list[Scores]:
    is_numeric = tuple(not isinstance(values[0], str) for values in factors.values)
    return list(in_threads(lambda each: measure_scores(*each, is_numeric=is_numeric, request=request), work, jobs=jobs))
