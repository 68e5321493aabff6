"""A run of a small network on noise, for the tests of steps and of the loop."""

from __future__ import annotations

import numpy as np
import torch

from aekit.core.device import ThreadTeam
from aekit.images.config import ModelConfig, TrainConfig
from aekit.images.data.batches import ImageLoader
from aekit.images.data.image_set import ImageSet
from aekit.images.models import build_model
from aekit.images.objectives import build_objective
from aekit.images.steps import Run

CPU = torch.device("cpu")


def small_images(n: int, seed: int = 0) -> ImageSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 1, 8, 8), dtype=np.uint8)
    return ImageSet(store=pixels, name="noise")


def small_run(*, kind="vae", n=23, loss="bernoulli", network=None, **options) -> Run:
    torch.manual_seed(0)
    config = TrainConfig(**{"epochs": 2, "batch_size": 10, "lr": 1e-3, **options})
    model = build_model(
        ModelConfig(kind=kind, arch="dense", latent=2, width=8, loss=loss, **(network or {})), (1, 8, 8)
    )
    return Run(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), fused=True),
        noise=torch.Generator().manual_seed(1),
        images=ImageLoader(small_images(n), CPU),
        held_out=ImageLoader(small_images(9, seed=1), CPU),
        held_out_split="val",
        train_config=config,
        precision="fp32",
        team=ThreadTeam(1),
        objective=build_objective(model, config),
    )
