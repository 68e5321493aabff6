"""What to measure of disentanglement; standard library only, so that the command line need not load torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aekit.core.settings import check_at_least, check_choice
from aekit.images.config import Split

Binning = Literal["width", "quantile"]
MIN_SAMPLES = 200  # images of a draw: half of them test predictors of factors with some tens of values


@dataclass(frozen=True)
class DisentangleRequest:
    """What to measure.

    Attributes:
        split: Split of the images.
        samples: Images of a draw.
        draws: Draws without a common image, over which there is an interval.
        bins: Bins of a dimension, for mutual information.
        binning: Bins of equal width, or of equally many images.
        seed: Seed of the draws, rotations, votes and forests.
    """

    split: Split = "test"
    samples: int = 10_000
    draws: int = 3
    bins: int = 20
    binning: Binning = "width"
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("split", self.split, Split)
        check_choice("binning", self.binning, Binning)
        check_at_least("samples", self.samples, MIN_SAMPLES)
        check_at_least("draws", self.draws, 1)
        check_at_least("bins", self.bins, 2)
