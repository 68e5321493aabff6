"""Ridge regression on the intensity histogram in a checkpoint, for new scans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from aekit.brains.measures.baselines import fit_ridge, smooth_histogram
from aekit.core.checkpoint import Header
from aekit.errors import AekitError

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


def describe_histogram_models(
    histograms_ml: npt.NDArray[np.floating], targets: dict[str, Floats], trains: Sequence[Rows]
) -> dict[str, Any]:
    """Return the ridge regressions of all folds as plain values for a header: those of the baseline, to the bit.

    Args:
        histograms_ml: mL of brain per bin of scaled intensity, (N, F).
        targets: True values of all participants by name, (N,) each.
        trains: Rows of the train participants of each fold.
    """
    features, y = smooth_histogram(histograms_ml), np.column_stack(list(targets.values()))
    models = [fit_ridge(features[train], y[train]) for train in trains]
    folds = [{"weight": model.weight.tolist(), "bias": model.bias.tolist()} for model in models]
    return {"targets": list(targets), "folds": folds}


def predict_histogram_models(
    header: Header, histograms_ml: npt.NDArray[np.floating], source: str
) -> dict[str, Floats] | None:
    """Return the mean prediction of all folds by target, (M,) each; None for a checkpoint that is older than this.

    Args:
        header: Of the checkpoint.
        histograms_ml: Those of new scans, (M, F).
        source: The checkpoint, for messages.

    Raises:
        AekitError: The coefficients do not fit the histogram.
    """
    if (stored := header.result.get("ridge_histogram")) is None:
        return None
    names, features = stored["targets"], smooth_histogram(histograms_ml)
    try:
        weight = np.array([fold["weight"] for fold in stored["folds"]], np.float64)
        bias = np.array([fold["bias"] for fold in stored["folds"]], np.float64)
    except (KeyError, ValueError) as error:
        raise AekitError(f"{source}: its header is damaged; train it again") from error
    if weight.shape != (len(bias), len(names), features.shape[1]) or bias.shape != weight.shape[:2] or not len(bias):
        raise AekitError(f"{source}: its header is damaged; train it again")
    found = features @ weight.mean(axis=0).T + bias.mean(axis=0)
    return {name: found[:, column] for column, name in enumerate(names)}
