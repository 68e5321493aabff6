"""What to measure of samples. Standard library only, for the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from aekit.core.settings import check_at_least
from aekit.errors import UsageError, nearest
from aekit.images.config import Density, Split

PIXELS, NETWORK = "pca", "network"  # feature spaces that need no file
MIN_IMAGES = 50


@dataclass(frozen=True)
class SampleQualityRequest:
    """How to measure samples.

    Attributes:
        densities: Where codes of samples are drawn from; None is the prior and ``gmm``, for a plain autoencoder
            ``gaussian`` and ``gmm``.
        features: Feature spaces: ``pca``, ``network``, or ``NAME=FILE`` for the weights of a network; None is the first
            two, or ``pca`` for images without classes.
        n: Images of each set, at most.
        gaussians: Gaussians of ``gmm``.
        neighbours: Nearest neighbours that span the ball of an image, for precision and recall.
        seed: Seed of all that is drawn.
        split: Held-out images that samples are compared with.
    """

    densities: tuple[Density, ...] | None = None
    features: tuple[str, ...] | None = None
    n: int = 10_000
    gaussians: int = 10
    neighbours: int = 5
    seed: int = 0
    split: Split = "test"

    def __post_init__(self) -> None:
        check_at_least("images", self.n, MIN_IMAGES)
        check_at_least("gaussians", self.gaussians, 1)
        check_at_least("neighbours", self.neighbours, 1)
        if self.split in ("train", "all"):
            raise UsageError(f"--split {self.split}: has training images, which do not measure samples; use test")


def parse_densities(text: str | None) -> tuple[Density, ...] | None:
    """Return the densities that ``--density`` names, separated by commas; None for None.

    Raises:
        UsageError: One is not known.
    """
    if text is None:
        return None
    known: tuple[Density, ...] = get_args(Density)
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in known:
            fix = nearest(name, known, f"choose from {', '.join(known)}")
            raise UsageError(f"--density {text}: {name!r} is not known{fix}")
    return tuple(density for name in names for density in known if density == name)


def parse_features(text: str | None) -> tuple[str, ...] | None:
    """Return the feature spaces that ``--features`` names, separated by commas; None for None.

    Raises:
        UsageError: One is neither known nor the weights of a network.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    for name in names:
        network, separator, file = name.partition("=")
        if name not in (PIXELS, NETWORK) and not (network and separator and file):
            raise UsageError(
                f"--features {text}: {name!r} is not known; give pca, network, or NAME=FILE with the weights of a "
                "torchvision network, such as resnet18=resnet18.pth"
            )
    return tuple(dict.fromkeys(names))
