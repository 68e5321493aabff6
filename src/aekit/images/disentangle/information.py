"""Scores from mutual information: the gap of the two best dimensions, and how modular dimensions are."""

from __future__ import annotations

import numpy as np

from aekit.images.disentangle.binning import Floats


def information_gap(information: Floats, entropy: Floats) -> Floats:
    """Return the gap between the two dimensions that say most of each factor, in its entropy, (F,); their mean is MIG.

    Args:
        information: Mutual information of dimensions and factors, (L, F); with one dimension the second has none.
        entropy: Entropy of each factor, (F,); a factor with one value has none, and its gap is missing (NaN).

    Source:
        Chen, Li, Grosse & Duvenaud 2018, arXiv:1802.04942, equation 6.
    """
    ordered = np.sort(np.vstack([information, np.zeros(information.shape[1])]), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(entropy > 0, (ordered[-1] - ordered[-2]) / entropy, np.nan)


def modularity(information: Floats) -> Floats:
    """Return how much of each dimension's information is on a single factor, 0 to 1, (L,).

    It is 1 minus the squares of the others over the square of the largest, divided by their number. A dimension without
    any information is missing (NaN), and so is every one if there is a single factor.

    Source:
        Ridgeway & Mozer 2018, arXiv:1802.05312, section 3.
    """
    n_factors = information.shape[1]
    largest = information.max(1)
    others = np.square(information).sum(1) - np.square(largest)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((largest > 0) & (n_factors > 1), 1 - others / (np.square(largest) * (n_factors - 1)), np.nan)
