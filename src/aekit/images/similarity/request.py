"""What to measure of the similarity of codes; standard library only, so that the command line need not load torch."""

from __future__ import annotations

from dataclasses import dataclass

from aekit.core.settings import check_at_least, check_choice
from aekit.images.config import Split

MIN_IMAGES = 50


@dataclass(frozen=True)
class SimilarityRequest:
    """What to measure.

    Attributes:
        split: Split of the images.
        images: Maximum number of images.
        neighbours: Nearest neighbours of an image that two codes are asked to share.
        pixels: Whether principal components of the pixels are one more code.
        bootstrap: Number of resamples of the images, for intervals.
        seed: Seed of the draw of images, the resamples and the permutation.
    """

    split: Split = "test"
    images: int = 2000
    neighbours: int = 10
    pixels: bool = True
    bootstrap: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("split", self.split, Split)
        check_at_least("images", self.images, MIN_IMAGES)
        check_at_least("neighbours", self.neighbours, 1)
        check_at_least("bootstrap", self.bootstrap, 2)
