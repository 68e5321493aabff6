"""Cells that were not trained, for tests of what becomes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from aekit.core.checkpoint import Header
from aekit.core.settings import to_dict
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from aekit.images.sweep.outcomes import Done
from aekit.images.sweep.plan import Cell


@pytest.fixture
def make_done(tmp_path):
    """Return a function that makes a trained cell with these settings and this total on validation images."""

    def make(
        total: float,
        *,
        kind: str = "vae",
        latent: int = 2,
        seed: int = 0,
        split_seed: int = 0,
        labels: str | None = None,
        is_old: bool = False,
    ) -> Done:
        config = RunConfig(
            ModelConfig(kind=kind, latent=latent),
            DataConfig(name="digits", val=0.2, split_seed=split_seed, labels=labels),
            TrainConfig(seed=seed),
        )
        path = tmp_path / f"{kind}-{latent}-{seed}{split_seed or ''}.safetensors"
        kl = 2.0 if kind == "vae" else None
        terms = {"total": total, "reconstruction": total - (kl or 0.0), "kl": kl, "mse": total / 100}
        history = [{"epoch": 1, "split": split, **terms, "active_units": 1} for split in ("train", "val", "test")]
        result = {"epoch": 1, "parameters": 7, "test": history[-1], "history": history}
        cell = Cell(config, Path(path), f"{kind}, latent {latent}, seed {seed}")
        return Done(cell, Header(**to_dict(config), result=result), is_old)

    return make
