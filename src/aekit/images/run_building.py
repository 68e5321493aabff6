"""The parts of a run from its configuration: images, network, threads, optimizer."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from aekit.core.adamw import Optimizer, build_adamw
from aekit.core.device import ThreadTeam, choose_precision, free_memory, without_memory
from aekit.core.distributed import Group, share_batch_norm
from aekit.core.muon import Muon
from aekit.core.progress import SILENT, Progress
from aekit.core.schedule import ADAM_BETAS
from aekit.errors import AekitError, count
from aekit.images.conditioning import build_loader
from aekit.images.config import DataConfig, ModelConfig, RunConfig, Split, TrainConfig
from aekit.images.data import read_images
from aekit.images.data.array_labels import Load
from aekit.images.data.arrays import read_arrays
from aekit.images.data.image_set import ImageSet
from aekit.images.data.value_range import check_visible
from aekit.images.models import build_model
from aekit.images.models.base import Autoencoder, ImageShape, n_parameters
from aekit.images.models.priors import VampPrior
from aekit.images.objectives import build_objective
from aekit.images.objectives.base import Objective
from aekit.images.official import has_validation
from aekit.images.steps import Run

WHOLE_BATCH_PARTS = 4  # parts of a batch for an objective that needs whole batches, and so at most as many threads
FLOATS_PER_PARAMETER = 4  # itself, its gradient and two moments


def read_splits(
    config: DataConfig, data_root: Path, progress: Progress = SILENT, *, arrays: Mapping[str, Load] | None = None
) -> dict[Split, ImageSet]:
    """Return the images of a run by split: train, test, and val if there is one.

    Args:
        config: Which images.
        data_root: Folder of the known data sets.
        progress: Receives updates and notices.
        arrays: Images in memory, as :func:`aekit.images.data.arrays.read_arrays` takes them; None reads files.

    Raises:
        AekitError: The data cannot be read, or a split is empty.
    """
    splits: tuple[Split, ...] = ("train", "val", "test") if has_validation(config) else ("train", "test")
    if arrays is None:
        sets = {split: read_images(config, split, data_root=data_root, progress=progress) for split in splits}
    else:
        sets = {split: read_arrays(config, split, progress=progress, arrays=arrays) for split in splits}
    for split, images in sets.items():
        if len(images) == 0:
            raise AekitError(f"--data {config.name}: the {split} split is empty; use more images or another --val")
    if config.value_range == "auto" and sets["train"].span:
        check_visible(f"--data {config.name}", sets["train"].span, progress)
    if skipped := sum(images.n_skipped for images in sets.values()):
        what = count(skipped, "image could not be used and was", "images could not be used and were")
        progress.notice(f"{what} left out")
    return sets


def refuse_too_large(config: ModelConfig, image_shape: ImageShape, class_names: Sequence[str]) -> None:
    """Refuse a network that memory cannot hold with its gradients and moments, before it is built.

    Args:
        config: The network.
        image_shape: Channels, height and width.
        class_names: Classes that it is told.

    Raises:
        AekitError: It takes more memory than is free.
    """
    try:
        with without_memory():
            n_bytes = 4 * FLOATS_PER_PARAMETER * n_parameters(build_model(config, image_shape, class_names))
    except (RuntimeError, OverflowError):  # torch's, of sizes that no tensor has
        n_bytes = sys.maxsize
    if n_bytes > (free := free_memory()):
        raise AekitError(
            f"--latent {config.latent}{f', --width {config.width}' if config.width else ''}: training such a network "
            f"takes {n_bytes / 1e9:,.0f} GB of memory, and {free / 1e9:,.0f} GB are free; make it smaller"
        )


def as_met(sets: dict[Split, ImageSet], config: RunConfig) -> dict[Split, ImageSet]:
    """Return the images as the network meets them: those of training that each step draws anew are grey."""
    seed, is_dynamic = config.data.pixel_seed(config.train.seed), config.data.binarize == "dynamic"
    return {split: each if split == "train" and is_dynamic else each.drawn(seed) for split, each in sets.items()}


def build_team(
    model: Autoencoder, objective: Objective, config: RunConfig, device: torch.device, threads: int
) -> ThreadTeam:
    """Return the threads that split each batch among them.

    Batch norm needs the whole batch, as may a network of your own, and a compiled model distributes its operators
    itself: these batches are not split. If the objective needs the whole batch, the number of parts is fixed, so that
    results do not depend on the number of threads.
    """
    is_whole = any(isinstance(module, nn.BatchNorm2d) for module in model.modules()) or config.train.compile
    is_whole |= config.model.own_builder is not None
    if device.type != "cpu" or is_whole:
        return ThreadTeam(1)
    return ThreadTeam(threads, WHOLE_BATCH_PARTS if objective.batch_names else None)


def build_optimizer(
    model: Autoencoder,
    train: TrainConfig,
    device: torch.device,
    *,
    team: ThreadTeam | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Optimizer:
    """Return the optimizer of all parameters; the pixel noise of a gaussian likelihood does not decay.

    Decay would pull its logarithm to zero: a noise of one, the range of the pixels. Nor does a learned prior decay,
    which it would pull to the standard normal.
    """
    free = [] if model.log_sigma is None else [model.log_sigma]
    free += [] if model.prior is None else list(model.prior.parameters())
    matrices = model.hidden_weights() if train.optimizer == "muon" else []
    apart = {id(parameter) for parameter in (*free, *matrices)}
    others = [parameter for parameter in model.parameters() if id(parameter) not in apart]
    groups: list[dict[str, Any]] = [{"params": free, "weight_decay": 0.0}, {"params": others}]
    rate = torch.tensor(0.0, device=device) if device.type == "cuda" else 0.0  # where a recorded step reads it
    settings: dict[str, Any] = {"lr": rate, "betas": ADAM_BETAS, "weight_decay": train.weight_decay}
    if train.optimizer != "muon":
        return build_adamw(groups, device=device, **settings)
    groups.append({"params": matrices, "is_matrix": True})
    return Muon(groups, team=team or ThreadTeam(1), is_bf16=precision == "bf16", **settings)


def build_run(
    model: Autoencoder,
    config: RunConfig,
    sets: dict[Split, ImageSet],
    device: torch.device,
    noise: torch.Generator,
    team: ThreadTeam,
    group: Group,
) -> Run:
    """Return a run before its first step; its network starts at the mean image, on the device.

    Args:
        model: The network, on the CPU.
        config: What is trained, without open options.
        sets: The images by split, as the network meets them.
        device: Where it is trained.
        noise: Draws the samples of codes.
        team: Threads that split each batch.
        group: The processes that train together.
    """
    model.init_output_bias(_mean_image(sets["train"]))
    if isinstance(model.prior, VampPrior):
        model.prior.start_from(_some_images(sets["train"], len(model.prior.image_logits)))
    if group.size > 1:
        share_batch_norm(model)
    model = model.to(device).to(memory_format=torch.channels_last)
    held_out: Literal["val", "test"] = "val" if "val" in sets else "test"
    precision = choose_precision(config.train.precision, device, threads_per_operator=torch.get_num_threads())
    return Run(
        model=model,
        optimizer=build_optimizer(model, config.train, device, team=team, precision=precision),
        noise=noise,
        images=build_loader(model, sets["train"], device),
        held_out=build_loader(model, sets[held_out], device),
        held_out_split=held_out,
        train_config=config.train,
        precision=precision,
        team=team,
        objective=build_objective(model, config.train),
        group=group,
        draws_pixels=config.data.binarize == "dynamic",
    )


def _mean_image(images: ImageSet) -> torch.Tensor:
    # Ten thousand images fix a mean well enough, and a memory-mapped set need not be read whole for it.
    indices = np.linspace(0, len(images) - 1, min(len(images), 10_000)).astype(np.int64)
    sums = sum(images.take(block).sum(0, dtype=np.int64) for block in np.array_split(indices, len(indices) // 1000 + 1))
    return torch.from_numpy(np.asarray(sums) / (255 * len(indices))).float()


def _some_images(images: ImageSet, n: int) -> torch.Tensor:
    """Return n images, evenly spaced over the set, as floats in [0, 1]; a small set repeats some."""
    return torch.from_numpy(images.take(np.linspace(0, len(images) - 1, n).astype(np.int64))).float() / 255
