"""Which neighbours to look up; standard library only, so that the command line need not load torch."""

from __future__ import annotations

from dataclasses import dataclass

from aekit.core.settings import check_at_least, check_choice
from aekit.errors import AekitError
from aekit.images.config import Split
from aekit.images.record import Checkpoints


@dataclass(frozen=True)
class NeighbourRequest:
    """Which neighbours to look up.

    Attributes:
        neighbours: Neighbours of each image.
        n_shown: Images that are looked up in the figure; the table has all.
        split: Split that is searched; None is ``train``, or that of the codes of a file.

    Raises:
        AekitError: A value is not one of the choices, or out of its range.
    """

    neighbours: int = 8
    n_shown: int = 16
    split: Split | None = None

    def __post_init__(self) -> None:
        check_at_least("neighbours", self.neighbours, 1)
        check_at_least("images", self.n_shown, 1)
        if self.split is not None:
            check_choice("split", self.split, Split)


def check_one(checkpoints: Checkpoints) -> None:
    """Raise an AekitError if there are several checkpoints, or the one is told the class of an image."""
    if len(checkpoints.paths) > 1:
        others = ", ".join(map(str, checkpoints.paths[1:3]))
        raise AekitError(f"neighbours: takes one checkpoint, not also {others}; run it for each separately")
    if checkpoints.records[0].model.is_conditional:
        raise AekitError(
            f"{checkpoints.paths[0]}: is told the class of an image, which those to look up need not have; use another "
            "model"
        )
