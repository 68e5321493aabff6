"""Models of age in a checkpoint besides the networks, for new scans: ridge regression on histograms, and the stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aekit.brains.config import BrainConfig
from aekit.brains.histogram_model import describe_histogram_models, predict_histogram_models
from aekit.brains.members import MemberPrediction
from aekit.brains.people import Fold, People
from aekit.brains.predictions import AGE, ImageFeatures, Predictions, find_targets
from aekit.brains.stacking import STACK, describe_stack
from aekit.brains.tissue_model import TISSUES, WEIGHTS, TissueModel, fit_tissue_model
from aekit.brains.volumes.store import PreparedVolumes
from aekit.brains.voxel_model import TENSOR, fit_voxel_model, predict_voxel_model
from aekit.core.checkpoint import Header
from aekit.errors import AekitError

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

RIDGE = "ridge-histogram"
_VOXELS = "ridge-voxels"


def fit_simple_models(
    people: People,
    folds: Sequence[Fold],
    config: BrainConfig,
    predictions: Sequence[Predictions],
    images: ImageFeatures,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what a checkpoint needs to predict new scans: entries of its header, and its tensors by name.

    Those of ridge regression on voxels are there only if it is part of the stack.

    Args:
        people: All participants, N.
        folds: Whom the models are trained on.
        config: Of the training.
        predictions: Of all models for these participants.
        images: What simple models know of images.
    """
    trains, ages, volumes = [fold.train for fold in folds], people.cohort.age_years, people.volumes
    found: dict[str, Any] = {
        "ridge_histogram": describe_histogram_models(volumes.histograms_ml, find_targets(people, config), trains),
        **describe_stack(predictions, float(np.mean([ages[train].mean() for train in trains]))),
    }
    model = fit_tissue_model(images.tissues, ages, trains)
    found["ridge_tissues"] = {"shape": model.shape.tolist(), "bias": model.bias}
    tensors = {WEIGHTS: torch.from_numpy(model.maps)}
    stack = found.get("stack", {"models": [], "weights": []})
    if dict(zip(stack["models"], stack["weights"], strict=True)).get(_VOXELS, 0.0) != 0.0:
        tensors[TENSOR], stack["voxel_bias"] = fit_voxel_model(volumes.images, images.gram, ages, trains)
    return found, tensors


def predict_simple_ages(
    checkpoint: Path,
    header: Header,
    tensors: Mapping[str, Tensor],
    predicted: MemberPrediction,
    volumes: PreparedVolumes,
    rows: Rows,
) -> dict[str, Floats]:
    """Return the ages of scans by ridge regression and by the stack, (M,) each, which are not clipped, by model.

    Args:
        checkpoint: Whose header this is, for messages.
        header: Of the checkpoint; an older one has neither.
        tensors: Of the checkpoint, those of simple models.
        predicted: The scans by the networks.
        volumes: Scans.
        rows: Which of them, (M,).

    Raises:
        AekitError: What the checkpoint has does not fit together.
    """
    damaged = AekitError(f"{checkpoint}: its header is damaged; train it again")
    ridge = predict_histogram_models(header, volumes.histograms_ml[rows], str(checkpoint))
    if ridge is None:
        return {}
    if AGE not in ridge:
        raise damaged
    found = {RIDGE: ridge[AGE]}
    if (model := _tissue_model(header, tensors, checkpoint)) is not None:
        try:
            spacing_mm = header.data["spacing_mm"]
            found[TISSUES] = model(volumes.images[rows], volumes.histograms_ml[rows], spacing_mm)
        except ValueError as error:  # other cells or bins than this grid has
            raise damaged from error
    if not (stack := header.result.get("stack")):
        return found
    networks = {"chain": predicted.chain_age, "direct": predicted.direct_age}
    known = {"mean": np.full(len(rows), stack["mean_years"]), **found}
    known |= {model: ages for model, ages in networks.items() if ages is not None}
    if "voxel_bias" in stack:
        voxel_weights = tensors.get(TENSOR)
        if voxel_weights is None or tuple(voxel_weights.shape) != volumes.images.shape[1:]:
            raise damaged
        known[_VOXELS] = predict_voxel_model(voxel_weights, stack["voxel_bias"], volumes.images, rows)
    weights = dict(zip(stack["models"], stack["weights"], strict=False))
    used = {model: weight for model, weight in weights.items() if weight}
    if not used or not used.keys() <= known.keys() or len(weights) != len(stack["weights"]):
        raise damaged
    return {**found, STACK: np.sum([weight * known[model] for model, weight in used.items()], axis=0)}


def _tissue_model(header: Header, tensors: Mapping[str, Tensor], checkpoint: Path) -> TissueModel | None:
    """Return the regression on tissues, or None for a checkpoint that is older than it."""
    if (stored := header.result.get("ridge_tissues")) is None:
        return None
    maps = tensors.get(WEIGHTS)
    try:
        shape, bias = np.array(stored["shape"], np.float64), float(stored["bias"])
    except (KeyError, TypeError, ValueError) as error:
        raise AekitError(f"{checkpoint}: its header is damaged; train it again") from error
    if maps is None or maps.ndim != 4 or shape.ndim != 1:
        raise AekitError(f"{checkpoint}: its header is damaged; train it again")
    return TissueModel(maps.float().numpy(), shape, bias)
