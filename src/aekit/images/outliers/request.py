"""How to look for outliers; standard library only, so that the command line need not load torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from aekit.core.settings import check_at_least, check_choice
from aekit.errors import UsageError
from aekit.images.config import Split

Score = Literal[
    "complexity",
    "reconstruction",
    "mse",
    "elbo",
    "mahalanobis",
    "knn",
    "code-length",
    "pca-mse",
    "pca-mahalanobis",
    "pca-knn",
]
Code = Literal["png", "lz"]
SCORES: tuple[Score, ...] = get_args(Score)
OF_PRIOR: tuple[Score, ...] = ("elbo",)  # which only a VAE has
TRIVIAL: tuple[Score, ...] = ("code-length", "pca-mse", "pca-mahalanobis", "pca-knn")  # which need no network


@dataclass(frozen=True)
class OutlierRequest:
    """How to look for outliers.

    Attributes:
        rank_by: Score by which images are ranked and flagged.
        fpr: Fraction of inliers that may be flagged, in (0, 1).
        neighbours: Which nearest neighbour ``knn`` measures the distance of, and how many vote on a label.
        duplicates: Difference of two images as a fraction of their contrast up to which they are near duplicates.
        reference: Maximum number of training images that scores are fitted to.
        n_shown: Images of a row, and rows of pairs, in the figures.
        bootstrap: Number of resamples of the images, for intervals.
        seed: Seed of the draw of training images, the samples of the posterior, and the resamples.
        split: Split of the images that are scored.
        code: How the length of an image is measured: as a ``png`` file, or in bytes compressed by ``lz`` (LZMA).

    Raises:
        AekitError: A value is not one of the choices, or out of its range.
    """

    rank_by: Score = "complexity"
    fpr: float = 0.05
    neighbours: int = 10
    duplicates: float = 0.12
    reference: int = 100_000
    n_shown: int = 12
    bootstrap: int = 200
    seed: int = 0
    split: Split = "test"
    code: Code = "png"

    def __post_init__(self) -> None:
        check_choice("score", self.rank_by, Score)
        check_choice("split", self.split, Split)
        check_choice("code", self.code, Code)
        check_at_least("neighbours", self.neighbours, 1)
        check_at_least("reference", self.reference, 2)
        check_at_least("images", self.n_shown, 1)
        check_at_least("bootstrap", self.bootstrap, 2)
        if not 0 < self.fpr < 1:
            raise UsageError(f"--fpr: {self.fpr:g} is not a fraction between 0 and 1; give for example 0.05")
        if not 0 <= self.duplicates <= 1:
            raise UsageError(f"--duplicates: {self.duplicates:g} is not between 0 and 1; give for example 0.12")

    @property
    def min_inliers(self) -> int:
        """Return how many held-out inliers a threshold needs, so that one of them may lie above it."""
        return math.ceil(1 / self.fpr - 1e-9) - 1
