"""The scores of checkpoints and of trivial codes, over draws of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aekit.core.intervals import Interval, mean_interval
from aekit.core.threads import in_threads
from aekit.images.data.factors import Factors
from aekit.images.data.image_set import ImageSet
from aekit.images.disentangle import nulls
from aekit.images.disentangle.binning import Floats, Integers
from aekit.images.disentangle.request import MIN_SAMPLES, DisentangleRequest
from aekit.images.disentangle.scores import Scores, measure_scores
from aekit.images.draws import check_enough_images
from aekit.images.principal_components import principal_codes

Work = tuple[str, list[tuple[Floats, Integers]]]  # name of a code, and its codes and factors on each draw


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
    """Return the scores of a model, and of its codes turned and permuted, in a new way on each draw.

    Args:
        codes: The codes of each draw, (N, L).
        factors: The factors of each draw.
        request: What to measure.
        jobs: Threads; None takes every core.
    """
    generator = np.random.default_rng([request.seed, 1])
    indices = [each.indices for each in factors]
    turned = [nulls.turn_axes(own, generator) for own in codes]
    permuted = [nulls.permute(own, generator) for own in indices]
    work = [
        ("model", list(zip(codes, indices, strict=True))),
        ("turned", list(zip(turned, indices, strict=True))),
        ("permuted", list(zip(codes, permuted, strict=True))),
    ]
    return _measure_all(work, factors[0], request, jobs)


def measure_baselines(
    drawn: Sequence[ImageSet],
    factors: Sequence[Factors],
    latents: Sequence[int],
    request: DisentangleRequest,
    *,
    jobs: int | None,
) -> list[Measured]:
    """Return the scores of codes that need no model: the factors, principal components, and random projections.

    Components are those of each draw, and projections are drawn anew for each.

    Args:
        drawn: The draws.
        factors: The factors of each.
        latents: The different numbers of dimensions of the models, for each of which there are the last two.
        request: What to measure.
        jobs: Threads; None takes every core.
    """
    indices = [each.indices for each in factors]
    components = [principal_codes(images, max(latents)) for images in drawn]
    work: list[Work] = [("factors", [(own.astype(np.float64), own) for own in indices])]
    for latent in latents:
        generator = np.random.default_rng([request.seed, 2])
        projected = [nulls.projected_codes(images, latent, generator) for images in drawn]
        work.append(("pca", [(codes[:, :latent], own) for codes, own in zip(components, indices, strict=True)]))
        work.append(("projection", list(zip(projected, indices, strict=True))))
    return _measure_all(work, factors[0], request, jobs)


def _measure_all(
    work: Sequence[Work], factors: Factors, request: DisentangleRequest, jobs: int | None
) -> list[Measured]:
    is_numeric = tuple(not isinstance(values[0], str) for values in factors.values)
    each_draw = [draw for _, draws in work for draw in draws]
    # One thread of linear algebra in each: products inside scikit-learn's loops would take turns to set their number.
    with threadpool_limits(1, user_api="blas"):
        scores = in_threads(
            lambda draw: measure_scores(*draw, is_numeric=is_numeric, request=request), each_draw, jobs=jobs
        )
        found = iter(list(scores))
    return [Measured(name, draws[0][0].shape[1], tuple(islice(found, len(draws)))) for name, draws in work]
