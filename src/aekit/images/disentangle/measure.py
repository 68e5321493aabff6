"""The scores of checkpoints and of trivial codes, over draws of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aekit.core.intervals import Interval, mean_interval
from aekit.core.threads import in_threads
from aekit.images.data.factors import Factors
from aekit.images.data.image_set import ImageSet
from aekit.images.disentangle import nulls
from aekit.images.disentangle.binning import Floats, Integers
from aekit.images.disentangle.request import MIN_SAMPLES, DisentangleRequest
from aekit.images.disentangle.scores import Scores, measure_scores
from aekit.images.draws import check_enough_images
from aekit.images.pca.components import principal_codes


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


def draw_apart(images: ImageSet, request: DisentangleRequest) -> list[ImageSet]:
    """Return draws without a common image, each in random order: as many as wanted, or as there are images for.

    Raises:
        AekitError: There are too few images.
    """
    check_enough_images(images, request.split, minimum=MIN_SAMPLES, what="scores of disentanglement")
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
    images: ImageSet, factors: Factors, latents: Sequence[int], request: DisentangleRequest, *, jobs: int | None
) -> list[Measured]:
    """Return the scores of codes that need no model: the factors, principal components, and random projections.

    Args:
        images: The first draw.
        factors: Its factors.
        latents: The different numbers of dimensions of the models, for each of which there are the last two.
        request: What to measure.
        jobs: Threads; None takes every core.
    """
    components = principal_codes(images, max(latents))
    codes = [("factors", factors.indices.astype(np.float64))]
    for latent in latents:
        generator = np.random.default_rng([request.seed, 2])
        codes += [("pca", components[:, :latent]), ("projection", nulls.projected_codes(images, latent, generator))]
    found = _measure_all([(own, factors.indices) for _, own in codes], factors, request, jobs)
    return [Measured(name, own.shape[1], (scores,)) for (name, own), scores in zip(codes, found, strict=True)]


def _measure_all(
    work: Sequence[tuple[Floats, Integers]], factors: Factors, request: DisentangleRequest, jobs: int | None
) -> list[Scores]:
    is_numeric = tuple(not isinstance(values[0], str) for values in factors.values)
    return list(in_threads(lambda each: measure_scores(*each, is_numeric=is_numeric, request=request), work, jobs=jobs))
