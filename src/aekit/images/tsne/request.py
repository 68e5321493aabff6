"""What kind of map to make of codes; standard library only, so that the command line need not load torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aekit.core.settings import check_at_least, check_choice
from aekit.errors import UsageError
from aekit.images.config import Split

Method = Literal["tsne", "pca"]

# Larger sets are not optimised as a whole: this many codes are drawn, and the others are placed among them. Both take
# time in proportion to the number: 127 s of a core for 60,000 codes, and 9 s for each 60,000 that are placed.
MAX_OPTIMISED = 60_000
MAX_JUDGED = 5_000  # points that the measures of a larger map are computed for


@dataclass(frozen=True)
class MapRequest:
    """How to map codes.

    Attributes:
        method: ``tsne`` or ``pca``.
        perplexity: Effective number of neighbours for t-SNE, at least 1.
        k: Number of neighbours for trustworthiness, kNN accuracy and outlier scores.
        seed: Seed of the draw of images and of t-SNE.
        split: Split of the images.
        limit: Maximum number of images; None is all.

    Raises:
        AekitError: A value is not one of the choices, or too small.
    """

    method: Method = "tsne"
    perplexity: float = 30.0
    k: int = 5
    seed: int = 0
    split: Split = "test"
    limit: int | None = None

    def __post_init__(self) -> None:
        check_choice("method", self.method, Method)
        check_choice("split", self.split, Split)
        check_at_least("neighbours", self.k, 1)
        check_at_least("limit", self.limit, 1)
        if not self.perplexity >= 1:
            raise UsageError(f"--perplexity: {self.perplexity:g} is not a number of 1 or more; give for example 30")

    def counts(self, n_points: int) -> dict[str, int]:
        """Return how many of the points play which part.

        Returns:
            ``optimised`` and ``placed`` for t-SNE; ``among``, the points among which neighbours are found for outlier
            scores; ``judged``, those that the measures are computed for.
        """
        among = min(n_points, MAX_OPTIMISED)
        parts = {"optimised": among, "placed": n_points - among} if self.method == "tsne" else {}
        return {**parts, "among": among, "judged": n_points if among == n_points else MAX_JUDGED}
