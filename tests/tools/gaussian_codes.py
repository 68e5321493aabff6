"""Codes whose total correlation is known: Gaussian ones of a given correlation."""

from __future__ import annotations

import torch
from torch import Tensor

from aekit.images.config import ModelConfig, TrainConfig
from aekit.images.models import build_model
from aekit.images.objectives import build_objective
from aekit.images.objectives.base import Codes, Objective


def pairwise_correlation(n_dims: int, rho: float) -> Tensor:
    """Return a correlation matrix in which dimensions 0 and 1, 2 and 3 ... are correlated."""
    matrix = torch.eye(n_dims, dtype=torch.float64)
    for first in range(0, n_dims - 1, 2):
        matrix[first, first + 1] = matrix[first + 1, first] = rho
    return matrix


def gaussian_codes(n: int, correlation: Tensor, *, noise: float = 0.2, seed: int = 0) -> Codes:
    """Return codes z of correlation R and variance one, drawn from posteriors of variance ``noise``."""
    source = torch.Generator().manual_seed(seed)
    n_dims = len(correlation)
    of_means = torch.linalg.cholesky(correlation - noise * torch.eye(n_dims, dtype=torch.float64))
    mean = torch.randn(n, n_dims, generator=source, dtype=torch.float64) @ of_means.t()
    z = mean + noise**0.5 * torch.randn(n, n_dims, generator=source, dtype=torch.float64)
    return Codes(mean, torch.full_like(mean, noise).log(), z)


def objective_of(latent: int = 3, **options: object) -> Objective:
    """Return an objective with a small network."""
    torch.manual_seed(0)
    model = build_model(ModelConfig(kind="vae", arch="dense", latent=latent, width=8), (1, 9, 8))
    return build_objective(model, TrainConfig(**options))
