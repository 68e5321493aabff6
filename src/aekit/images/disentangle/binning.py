"""Codes as integers: each dimension cut into bins, and what they say of factors in nats."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aekit.images.disentangle.request import Binning

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def bin_codes(codes: Floats, n_bins: int, binning: Binning) -> Integers:
    """Return the bin of each number, from 0, int64 (N, L).

    Args:
        codes: Codes, (N, L).
        n_bins: Bins of each dimension; one that has fewer different values keeps these.
        binning: ``width`` cuts the range of a dimension into equal parts, ``quantile`` into parts with equally many
            codes.
    """
    binned = np.empty(codes.shape, np.int64)
    for number, values in enumerate(codes.T):
        different = np.unique(values)
        if len(different) <= n_bins:
            binned[:, number] = np.searchsorted(different, values)
            continue
        if binning == "width":
            edges = np.linspace(values.min(), values.max(), n_bins + 1)[1:-1]
        else:
            edges = np.quantile(values, np.arange(1, n_bins) / n_bins)
        binned[:, number] = np.searchsorted(edges, values, side="right")
    return binned


def mutual_information(binned: Integers, factors: Integers) -> Floats:
    """Return the mutual information of each dimension and each factor in nats, from their joint counts, (L, F).

    Args:
        binned: Dimensions as integers from 0, (N, L).
        factors: Factors as integers from 0, (N, F).
    """
    found = np.empty((binned.shape[1], factors.shape[1]))
    for j, own in enumerate(binned.T):
        for k, factor in enumerate(factors.T):
            found[j, k] = _information(own, factor)
    return found


def entropies(factors: Integers) -> Floats:
    """Return the entropy of each column of integers from 0, (N, F), in nats, (F,)."""
    return np.array([_entropy(np.bincount(column)) for column in factors.T])


def _information(first: Integers, second: Integers) -> float:
    n_second = int(second.max()) + 1
    joint = np.bincount(first * n_second + second, minlength=(int(first.max()) + 1) * n_second)
    parts = _entropy(np.bincount(first)), _entropy(np.bincount(second)), _entropy(joint)
    return max(parts[0] + parts[1] - parts[2], 0.0)


def _entropy(counts: Integers) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())
