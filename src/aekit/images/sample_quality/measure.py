"""How far sets of images are from held-out ones, in each feature space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from aekit.core.intervals import Interval, mean_interval
from aekit.images.sample_quality.distances import Estimate, GroupedMoments, frechet, jackknife, kernel_distance
from aekit.images.sample_quality.features import FeatureSpace
from aekit.images.sample_quality.manifolds import Overlap, overlap, radii

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """Held-out images in a feature space.

    Attributes:
        space: The space.
        features: (N, D).
        moments: Their mean and covariance, with and without each group.
        radii: Distance of each to its k-th neighbour, (N,).
        k: Neighbours.
    """

    space: FeatureSpace
    features: Floats
    moments: GroupedMoments
    radii: Floats
    k: int


@dataclass(frozen=True)
class Quality:
    """How like held-out images some images are.

    Attributes:
        frechet: Fréchet distance.
        kernel: Kernel distance.
        overlap: Precision, recall, density and coverage.
    """

    frechet: Estimate
    kernel: Estimate
    overlap: Overlap


@dataclass(frozen=True)
class Row:
    """A set of images that was compared.

    Attributes:
        source: What they are: a density, or ``reconstructions``, ``train`` or ``pixel-gaussian``.
        label: What tables and figures call them.
        checkpoint: Number of the model that made them; None without one.
        quality: One for each feature space.
    """

    source: str
    label: str
    checkpoint: int | None
    quality: list[Quality]

    @property
    def is_sampled(self) -> bool:
        """Return whether they are samples of a model."""
        return self.checkpoint is not None and self.source != "reconstructions"


def hold_out(features: Sequence[Floats], spaces: Sequence[FeatureSpace], k: int) -> list[HeldOut]:
    """Return held-out images in each space with what all comparisons with them need."""
    return [
        HeldOut(space, own, GroupedMoments(own), radii(own, k), k) for own, space in zip(features, spaces, strict=True)
    ]


def measure(features: Sequence[Floats], held_out: Sequence[HeldOut]) -> list[Quality]:
    """Return how like held-out images others are, in each space; both have N."""
    found = []
    for own, others in zip(features, held_out, strict=True):
        distance = frechet(GroupedMoments(own), others.moments)
        kernel = kernel_distance(own, others.features)
        found.append(Quality(distance, kernel, overlap(own, others.features, others.radii, others.k)))
    return found


@dataclass(frozen=True)
class Difference:
    """The difference of two sets of samples, the first minus the second, against the same held-out images.

    Attributes:
        first: Number of the first row.
        second: Number of the second row.
        space: Number of the feature space.
        frechet: That of Fréchet distances, with its interval.
        kernel: That of kernel distances.
    """

    first: int
    second: int
    space: int
    frechet: Interval
    kernel: Interval


def differences(rows: Sequence[Row]) -> list[Difference]:
    """Return the differences of each two sets of samples in each feature space."""
    sampled = [number for number, row in enumerate(rows) if row.is_sampled]
    found = []
    for first, second in combinations(sampled, 2):
        for space, (own, other) in enumerate(zip(rows[first].quality, rows[second].quality, strict=True)):
            of_both = own.frechet.value - other.frechet.value
            paired = jackknife(of_both, own.frechet.parts - other.frechet.parts)
            kernel = mean_interval(own.kernel.parts - other.kernel.parts)
            found.append(Difference(first, second, space, Interval(of_both, paired.low, paired.high), kernel))
    return found
