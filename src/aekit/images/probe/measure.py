"""All methods on one checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import nn

from aekit.core.device import ThreadTeam, seed_everything
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.models import build_model
from aekit.images.models.base import Autoencoder
from aekit.images.probe.baselines import Baselines
from aekit.images.probe.few_labels import Probe
from aekit.images.probe.request import Layer, ProbeRequest
from aekit.images.probe.task import Task

Accuracies = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Measured:
    """The accuracies on one checkpoint, which is not kept itself.

    Attributes:
        name: What tables call it.
        label: A few words that distinguish it from the others.
        settings: Its columns of the tables.
        configuration: Its model and training.
        accuracies: Those of each method, (sizes, draws).
    """

    name: str
    label: str
    settings: dict[str, Any]
    configuration: dict[str, Any]
    accuracies: dict[str, Accuracies]


def measure_methods(
    checkpoint: LoadedCheckpoint,
    task: Task,
    request: ProbeRequest,
    baselines: Baselines,
    *,
    progress: Progress = SILENT,
) -> Measured:
    """Return the accuracies of all requested methods on a checkpoint.

    Args:
        checkpoint: The checkpoint.
        task: The images and draws.
        request: What to measure.
        baselines: Those of the same task.
        progress: Receives updates.

    Raises:
        AekitError: The codes are not finite, or the same for all images.
    """
    settings = {"checkpoint": checkpoint.name, **checkpoint.settings(), "layer": request.layer}
    configuration = {part: checkpoint.header.configuration[part] for part in ("model", "train")}
    accuracies = _measure(checkpoint, task, request, baselines, progress)
    return Measured(checkpoint.name, checkpoint.label, settings, configuration, accuracies)


def _measure(
    checkpoint: LoadedCheckpoint, task: Task, request: ProbeRequest, baselines: Baselines, progress: Progress
) -> dict[str, Accuracies]:
    model = checkpoint.model
    n_threads = torch.get_num_threads()
    device = next(model.parameters()).device
    seed_everything(request.seed, device)  # kernels that repeat to the last bit, on a GPU too
    with threadpool_limits(n_threads), ThreadTeam(n_threads if device.type == "cpu" else 1) as team:
        probe = Probe(
            task,
            _encoder(model, request.layer),
            lambda: _encoder(build_model(model.config, model.image_shape, parts=model.builder), request.layer),
            augment=request.augment,
            n_unlabelled=request.unlabelled,
            team=team,
            progress=progress,
            name=checkpoint.path.name,
        )
        by_method: dict[str, Callable[[], Accuracies]] = {
            "frozen": probe.frozen,
            "finetune": probe.finetune,
            "scratch": probe.scratch,
            "logistic": probe.logistic,
            "spread": probe.spread,
            "pixels": lambda: baselines.pixels,
            "pca": lambda: baselines.pca(model.config.latent),
        }
        try:
            return {method: by_method[method]() for method in request.methods}
        except AekitError as error:
            raise AekitError(f"{checkpoint.path}: {error}") from error


def _encoder(model: Autoencoder, layer: Layer) -> nn.Module:
    """Return the part of a network that computes the features."""
    if layer == "hidden":
        return model.encoder
    # The code of a model with two layers of latent variables is that at the mean of the lower ones.
    between = () if model.lower is None else (model.lower.mean_head, model.lower.up)
    return nn.Sequential(model.encoder, *between, model.mean_head)
