"""Whether the best network beats the best simple model of the image, and whose age is given first for new scans."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import numpy as np

from aekit.brains.measures.regression import paired_difference
from aekit.brains.predictions import AGE, Predictions
from aekit.brains.scores import IMAGE_BASELINES, judged_split
from aekit.brains.tissue_model import TISSUES

_APPLICABLE = (
    "chain",
    "direct",
    "ridge-histogram",
    TISSUES,
    "stack",
)  # models of age that a checkpoint can apply to new scans
_IMAGE_NETWORKS = ("chain", "direct")  # "volumes" has its age from true volumes


def find_verdict(
    predictions: list[Predictions],
    models: Collection[str] = _IMAGE_NETWORKS,
    rivals: Collection[str] = IMAGE_BASELINES,
    applicable: Collection[str] = _APPLICABLE,
) -> dict[str, Any]:
    """Return the comparison of the best network with the best baseline that sees no more than the image, for a header.

    Both are the ones with the smallest MAE of age on the participants by whom models are judged; the empty dictionary
    if nobody was held out. ``best_age_model`` is the best one of those that can be applied to new scans.

    Args:
        predictions: Of all models.
        models: Which are compared with baselines.
        rivals: These baselines, which see no more than the models do.
        applicable: Models that a checkpoint can apply.
    """
    split = judged_split(predictions)
    parts = [part for part in predictions if (part.target, part.split) == (AGE, split)]
    networks = [part for part in parts if part.model in models]
    baselines = [part for part in parts if part.model in rivals]
    if split == "train" or not networks:
        return {}
    ours, theirs = min(networks, key=_mae), min(baselines, key=_mae)
    found = paired_difference(ours.truth, ours.prediction, theirs.prediction)
    numbers = {name: value if np.isfinite(value) else None for name, value in asdict(found).items()}
    names = {"model": ours.model, "mae": _mae(ours), "baseline": theirs.model, "baseline_mae": _mae(theirs)}
    best = min((part for part in parts if part.model in applicable), key=_mae)
    return {"best_age_model": best.model, "against_baseline": {**names, "split": split, **numbers}}


def describe_verdict(result: dict[str, Any]) -> str:
    """Return in one line that no network beats the best baseline; an empty text if one does, or if it is not known.

    A network beats the baseline if the 95 % interval of the paired difference lies below zero; without an interval, of
    fewer than five participants, if the difference does.

    Args:
        result: Of a header.
    """
    found = result.get("against_baseline")
    if not found:
        return ""
    low, high = found["low"], found["high"]
    if (found["difference"] if high is None else high) < 0:
        return ""
    interval = "" if high is None else f" [{low:+.2f}, {high:+.2f}]"
    ours = "the network" if found["model"] in _IMAGE_NETWORKS else "it"
    what = f"{ours} is worse" if low is not None and low > 0 else f"{ours} adds nothing that shows"
    return (
        f"{found['model']} {found['mae']:.2f} against {found['baseline']} {found['baseline_mae']:.2f} years "
        f"({found['split']}): {found['difference']:+.2f}{interval}, {what}; "
        f"mri-predict gives the age of {result['best_age_model']} first"
    )


def _mae(part: Predictions) -> float:
    return float(np.abs(part.prediction - part.truth).mean())
