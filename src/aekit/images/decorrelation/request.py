"""What to measure of the correlations of codes; standard library only, so that the command line need not load torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aekit.core.settings import check_at_least, check_choice
from aekit.images.config import Split

Measure = Literal["mean-abs", "rms", "participation", "effective-rank"]

LABELS: dict[Measure, str] = {
    "mean-abs": "mean |r| off the diagonal",
    "rms": "root mean square r off the diagonal",
    "participation": "participation ratio",
    "effective-rank": "effective rank",
}
MIN_IMAGES = 10


@dataclass(frozen=True)
class DecorrelationRequest:
    """What to measure.

    Attributes:
        split: Split of the images.
        images: Maximum number of images.
        measure: Which measure the figure shows.
        bootstrap: Number of resamples of the images, for intervals.
        pca: Whether to compare with PCA codes of the same images.
        seed: Seed of the draw of images, the resamples and the rotations.
    """

    split: Split = "test"
    images: int = 5000
    measure: Measure = "mean-abs"
    bootstrap: int = 200
    pca: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("split", self.split, Split)
        check_choice("measure", self.measure, Measure)
        check_at_least("images", self.images, MIN_IMAGES)
        check_at_least("bootstrap", self.bootstrap, 2)

    @property
    def column(self) -> str:
        """Return the column of the table with the measure that the figure shows."""
        return column_name(self.measure)


def column_name(measure: str) -> str:
    """Return the column of a measure in the table."""
    return measure.replace("-", "_")
