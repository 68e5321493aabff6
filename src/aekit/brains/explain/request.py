"""Which maps of a network are made, and how; standard library only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aekit.core.settings import check_at_least, check_choice, check_seed
from aekit.errors import UsageError

Model = Literal["chain", "direct"]
Fill = Literal["mean", "blur"]


@dataclass(frozen=True)
class ExplainRequest:
    """How the ages of a network are explained.

    Attributes:
        model: The networks that are explained; None is the chain if there is one, else direct.
        cube_mm: Edge of the cube that is occluded, rounded to voxels of the grid.
        fill: What a cube is replaced by: the ``mean`` intensity of the scan's brain, or the scan ``blur``-red with a
            Gaussian whose SD is half the cube.
        samples: Noisy copies of a scan, over which SmoothGrad averages gradients.
        noise: SD of their noise, in scaled intensity.
        draws: Sets of networks with random weights in the randomisation test; 0 for none, else at least 2.
        max_figures: Scans that have a figure of their own.
        seed: Of noise and of random weights.

    Raises:
        UsageError: A value is outside its range.
    """

    model: Model | None = None
    cube_mm: float = 24.0
    fill: Fill = "mean"
    samples: int = 16
    noise: float = 0.1
    draws: int = 3
    max_figures: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.model is not None:
            check_choice("model", self.model, Model)
        check_choice("fill", self.fill, Fill)
        check_at_least("samples", self.samples, 1)
        check_at_least("noise", self.noise, 0)
        check_at_least("figures", self.max_figures, 0)
        check_seed("seed", self.seed)
        if not (math.isfinite(self.cube_mm) and self.cube_mm > 0):
            raise UsageError(f"--cube: {self.cube_mm:g} is not a positive number of mm; give for example 24")
        if self.draws != 0:
            check_at_least("randomisations", self.draws, 2)


@dataclass(frozen=True)
class ScanRequest:
    """Which scans are explained, and in which groups.

    Attributes:
        volumes: Skull-stripped T1 volumes, or folders of them.
        spacing_mm: Voxel size of .npy files, which have none; None assumes 1 mm and warns.
        skip_bad: Leave out volumes that cannot be used, with a notice.
        table: Participants, for ``group``.
        group: Its column with groups, whose mean maps are written too, and their difference if there are two.
    """

    volumes: Sequence[Path]
    spacing_mm: float | None = None
    skip_bad: bool = False
    table: Path | None = None
    group: str | None = None
