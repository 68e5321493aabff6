"""What a page of models shows; standard library only, so that the command line need not load torch."""

from __future__ import annotations

from dataclasses import dataclass

from aekit.core.settings import check_at_least, check_choice
from aekit.images.config import Split


@dataclass(frozen=True)
class ExploreRequest:
    """What a page of models shows.

    Attributes:
        n_points: Maximum number of images on the map.
        perplexity: Effective number of neighbours for t-SNE, at least 1.
        seed: Seed of the draw of images, of t-SNE and of the codes that the page is checked on.
        split: Split of the images.

    Raises:
        AekitError: A value is not one of the choices, or too small.
    """

    n_points: int = 2000
    perplexity: float = 30.0
    seed: int = 0
    split: Split = "test"

    def __post_init__(self) -> None:
        check_choice("split", self.split, Split)
        check_at_least("points", self.n_points, 1)
        check_at_least("perplexity", self.perplexity, 1)
