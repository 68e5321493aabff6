"""A network with the scans that it is explained on: its maps, and the same maps of networks with random weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from aekit.brains.explain.ages import age_function
from aekit.brains.explain.maps import (
    AgeFunction,
    AgeMap,
    Cubes,
    Floats,
    Scan,
    cubes_of,
    fill_of,
    occlusion_map,
    smoothgrad_map,
)
from aekit.brains.explain.randomisation import Comparison, Layers, compare_maps, randomised
from aekit.brains.explain.request import ExplainRequest, Model
from aekit.brains.volumes.gridding import Grid
from aekit.core.progress import Progress

# Scans of the randomisation test, which needs the maps of each again for all random networks; its cubes do not overlap,
# which takes an eighth of the time.
MAX_TESTED = 6


@dataclass(frozen=True)
class Explained:
    """A network, the scans that it is explained on, and how.

    Attributes:
        request: Which maps.
        model: ``chain`` or ``direct``.
        networks: One per member of the ensemble; their mean is explained.
        mirrored: Whether predictions are averaged over each image and its mirror image.
        grid: Of the scans.
        device: Where the networks are.
        scans: Their inputs, at least one.
    """

    request: ExplainRequest
    model: Model
    networks: Sequence[nn.Module]
    mirrored: bool
    grid: Grid
    device: torch.device
    scans: Sequence[Scan]

    @property
    def age(self) -> AgeFunction:
        """Return the mean age of the networks."""
        return age_function(self.networks, mirrored=self.mirrored)

    @property
    def cubes(self) -> Cubes:
        """Return the cubes that are occluded."""
        return cubes_of(self.request.cube_mm, self.grid.spacing_mm)

    def maps(self, scan: Scan, cubes: Cubes | None = None) -> dict[str, AgeMap]:
        """Return the occlusion and the SmoothGrad map of a scan; other cubes can be given."""
        request, age, cubes = self.request, self.age, cubes or self.cubes
        fill = fill_of(scan, request.fill, cubes)
        return {
            "occlusion": occlusion_map(age, scan, fill, cubes, self.device),
            "smoothgrad": smoothgrad_map(
                age, scan, samples=request.samples, noise=request.noise, seed=request.seed, device=self.device
            ),
        }


@dataclass
class RunningMean:
    """The mean of maps over scans, which are added one by one."""

    n: int = 0
    sums: dict[str, Floats] = field(default_factory=dict)

    def add(self, maps: Mapping[str, Floats]) -> None:
        """Add the maps of a scan, each (X, Y, Z)."""
        self.n += 1
        for kind, values in maps.items():
            self.sums[kind] = self.sums[kind] + values if kind in self.sums else np.array(values, np.float64)

    def means(self) -> dict[str, Floats]:
        """Return the mean maps, each (X, Y, Z)."""
        return {kind: total / self.n for kind, total in self.sums.items()}


def common_brain(scans: Sequence[Scan]) -> npt.NDArray[np.bool_]:
    """Return where at least half of some scans have brain, (X, Y, Z)."""
    return cast(npt.NDArray[np.bool_], np.mean([scan.brain for scan in scans], axis=0) >= 0.5)


def randomisation_test(explained: Explained, progress: Progress) -> list[Comparison]:
    """Return how the mean maps of the first scans compare with those of networks with random weights.

    Nothing if no random weights are asked for.
    """
    request = explained.request
    few = replace(explained, scans=explained.scans[:MAX_TESTED])
    kinds: list[Layers] = ["head", "all"]
    total = 2 * request.draws + 1
    found: dict[Layers, list[dict[str, Floats]]] = {"head": [], "all": []}
    if not request.draws:
        return []
    trained = _mean_maps(few)
    for kind in kinds:
        for draw in range(request.draws):
            progress.update("testing with random weights", 1 + sum(map(len, found.values())), total)
            networks = randomised(explained.networks, kind, seed=request.seed + draw)
            found[kind].append(_mean_maps(replace(few, networks=networks)))
    progress.update("testing with random weights", total, total)
    return compare_maps(trained, found["head"], found["all"], common_brain(few.scans))


def _mean_maps(explained: Explained) -> dict[str, Floats]:
    cubes = Cubes(explained.cubes.edge, explained.cubes.edge)
    mean = RunningMean()
    for scan in explained.scans:
        mean.add({kind: one.values for kind, one in explained.maps(scan, cubes).items()})
    return mean.means()
