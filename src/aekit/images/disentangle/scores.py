"""All scores of one code: numbers with the definition of each in the module that computes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aekit.images.disentangle.binning import Floats, Integers, bin_codes, entropies, mutual_information
from aekit.images.disentangle.importance import measure_dci
from aekit.images.disentangle.information import information_gap, modularity
from aekit.images.disentangle.request import DisentangleRequest
from aekit.images.disentangle.robustness import interventional_robustness
from aekit.images.disentangle.separation import attribute_scores, explicitness, separation
from aekit.images.disentangle.votes import factor_vae_score

# Name in tables -> heading. All lie between 0 and 1, and higher is better.
SCORES = {
    "mig": "MIG",
    "dci_disentanglement": "DCI disentanglement",
    "dci_completeness": "DCI completeness",
    "dci_informativeness": "DCI informativeness",
    "sap": "SAP",
    "factor_vae": "FactorVAE",
    "modularity": "modularity",
    "explicitness": "explicitness",
    "irs": "IRS",
}


@dataclass(frozen=True)
class Scores:
    """The scores of one code on one draw of images.

    Attributes:
        values: By the names of :data:`SCORES`; NaN where one is not defined, such as modularity of a single factor.
        importance: Importance of each dimension for each factor, of DCI, (L, F).
        by_factor: MIG, SAP, explicitness and informativeness of each factor, by these names, (F,) each.
    """

    values: dict[str, float]
    importance: Floats
    by_factor: dict[str, Floats]


def measure_scores(
    codes: Floats, factors: Integers, *, is_numeric: tuple[bool, ...], request: DisentangleRequest
) -> Scores:
    """Return all scores of codes, (N, L), with factors as integers, (N, F).

    The first half of the images trains what predicts factors, and the second tests it: they must be in random order.

    Args:
        codes: Codes.
        factors: Factors.
        is_numeric: Whether the values of each factor are numbers.
        request: Bins and seed.
    """
    half = len(codes) // 2
    train, test = (codes[:half], factors[:half]), (codes[half:], factors[half:])
    information = mutual_information(bin_codes(codes, request.bins, request.binning), factors)
    gap = information_gap(information, entropies(factors))
    dci = measure_dci(train, test, seed=request.seed, jobs=1)
    sap = separation(attribute_scores(train, test, is_numeric=is_numeric))
    explicit = explicitness(train, test)
    values = {
        "mig": _mean(gap),
        "dci_disentanglement": dci.disentanglement,
        "dci_completeness": dci.completeness,
        "dci_informativeness": _mean(dci.informativeness),
        "sap": _mean(sap),
        "factor_vae": factor_vae_score(codes, factors, seed=request.seed),
        "modularity": _mean(modularity(information)),
        "explicitness": _mean(explicit),
        "irs": interventional_robustness(codes, factors)[1],
    }
    by_factor = {"mig": gap, "sap": sap, "explicitness": explicit, "dci_informativeness": dci.informativeness}
    return Scores(values, dci.importance, by_factor)


def _mean(values: Floats) -> float:
    """Return the mean of the values that are defined, NaN if none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
