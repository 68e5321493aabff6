"""The model-randomisation test: do maps change when the weights that were learned are replaced by random ones?

A map that stays as it is shows the scan, not what the network has learned.

Source:
    Adebayo et al. 2018, Sanity Checks for Saliency Maps, section 3.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import nn

from aekit.brains.explain.maps import Floats

Layers = Literal["head", "all"]
Maps = Mapping[str, Floats]  # kind of map -> its values, (X, Y, Z)

MAX_RANK_CORRELATION = 0.5  # above it, maps share more than a quarter of the variance of their ranks


@dataclass(frozen=True)
class Comparison:
    """How alike two maps are inside the brain.

    Attributes:
        kind: ``occlusion`` or ``smoothgrad``.
        compared: ``trained, head random``, ``trained, all random`` or ``both random``.
        draw: Number of the random weights, from 1; of two, joined by a dash.
        signed: Spearman's rank correlation of the maps, NaN if one of them is constant.
        absolute: The same of their absolute values.
        n_voxels: Voxels of the brain.
    """

    kind: str
    compared: str
    draw: str
    signed: float
    absolute: float
    n_voxels: int


def randomised(networks: Sequence[nn.Module], layers: Layers, seed: int) -> list[nn.Module]:
    """Return copies of networks with new random weights, drawn as before training, in their head or in all layers.

    The layer on the histogram and the scales of ages and volumes stay, as the histogram is not what is explained.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [_randomised(network, layers) for network in networks]


def _randomised(network: nn.Module, layers: Layers) -> nn.Module:
    network = copy.deepcopy(network)
    device = next(network.parameters()).device
    network.cpu()  # so that the weights are the same on every machine
    for name, module in network.named_modules():
        last = name.rpartition(".")[2]
        reset: Callable[[], object] | None = getattr(module, "reset_parameters", None)
        if reset is not None and last != "histogram_head" and (layers == "all" or last == "head"):
            reset()
    return network.to(device).eval()


def compare_maps(
    trained: Maps, head: Sequence[Maps], every: Sequence[Maps], brain: npt.NDArray[Any]
) -> list[Comparison]:
    """Return the rank correlations of the trained networks' maps with those of random ones, and among random ones.

    Args:
        trained: Maps of the trained networks.
        head: Of networks with a random head, a set per draw.
        every: Of networks with all layers random, a set per draw.
        brain: Where maps are compared, bool (X, Y, Z).
    """
    rows = []
    for kind, values in trained.items():
        pairs = [("trained, head random", str(draw), values, maps[kind]) for draw, maps in enumerate(head, 1)]
        pairs += [("trained, all random", str(draw), values, maps[kind]) for draw, maps in enumerate(every, 1)]
        for (one, first), (other, second) in combinations(enumerate(every, 1), 2):
            pairs.append(("both random", f"{one}-{other}", first[kind], second[kind]))
        for compared, draw, first_map, second_map in pairs:
            a, b = first_map[brain], second_map[brain]
            both = rank_correlation(a, b), rank_correlation(np.abs(a), np.abs(b))
            rows.append(Comparison(kind, compared, draw, *both, int(brain.sum())))
    return rows


def rank_correlation(a: Floats, b: Floats) -> float:
    """Return Spearman's rank correlation of two maps, (n,); NaN if one of them is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)


def mean_of(rows: Sequence[Comparison], kind: str, compared: str) -> tuple[float, float]:
    """Return the mean size of the signed and of the absolute rank correlations of one kind of comparison.

    Of their sizes, as random weights give a map and its opposite equally often, whose correlations would cancel.
    """
    own = [row for row in rows if (row.kind, row.compared) == (kind, compared)]
    return float(np.mean([abs(row.signed) for row in own])), float(np.mean([abs(row.absolute) for row in own]))


def passes(rows: Sequence[Comparison], kind: str) -> bool:
    """Return whether a map loses its pattern with random weights in all layers; False if it has none."""
    return all(value <= MAX_RANK_CORRELATION for value in mean_of(rows, kind, "trained, all random"))


def verdict(rows: Sequence[Comparison], kind: str) -> str:
    """Return in one line whether a map depends on what the network has learned."""
    signed, absolute = mean_of(rows, kind, "trained, all random")
    if np.isnan(signed):
        return f"{kind}: the randomisation test has nothing to test, as a map is the same everywhere"
    chance = mean_of(rows, kind, "both random")
    numbers = (
        f"rank correlation with networks of random weights {signed:.2f}, of absolute values {absolute:.2f}; "
        f"by chance, between two random networks, {chance[0]:.2f} and {chance[1]:.2f}"
    )
    if passes(rows, kind):
        return f"{kind}: passes the randomisation test, the map depends on the weights; {numbers}"
    return f"{kind}: fails the randomisation test, the map shows the scans more than what was learned; {numbers}"
