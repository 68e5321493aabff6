"""Ridge regression of age on voxels as one image of weights, so that a checkpoint can apply it to new scans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aekit.brains.measures.baselines import fit_ridge_voxels

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

TENSOR = "ridge-voxels.age_years"
_BLOCK = 16  # images read at a time


def fit_voxel_model(
    images: npt.NDArray[np.floating], gram: Floats, age_years: Floats, trains: Sequence[Rows]
) -> tuple[Tensor, float]:
    """Return the mean of the folds' regressions: weights, float32 (X, Y, Z), in years per intensity, and an intercept.

    Args:
        images: Of all participants, (N, X, Y, Z), which may be memory-mapped.
        gram: Their inner products, (N, N).
        age_years: Their ages, (N,).
        trains: Rows of the train participants of each fold.
    """
    weight, bias = np.zeros(images.shape[1:]), 0.0
    for train in trains:
        dual = fit_ridge_voxels(gram, age_years[:, None], train)[:, 0]
        own, mean = np.zeros(images.shape[1:]), np.zeros(images.shape[1:])
        for start in range(0, len(train), _BLOCK):
            rows = slice(start, start + _BLOCK)
            block = np.asarray(images[train[rows]], np.float64)
            own += np.tensordot(dual[rows], block, axes=1)
            mean += block.sum(axis=0) / len(train)
        weight += own / len(trains)
        bias += (float(age_years[train].mean()) - float((mean * own).sum())) / len(trains)
    return torch.from_numpy(weight.astype(np.float32)), bias


def predict_voxel_model(weight: Tensor, bias: float, images: npt.NDArray[np.floating], rows: Rows) -> Floats:
    """Return ages in years of the images in ``rows``, (M,), which may be clipped nowhere."""
    flat = weight.double().numpy()
    found = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        block = np.asarray(images[rows[start : start + _BLOCK]], np.float64)
        found[start : start + _BLOCK] = np.tensordot(block, flat, axes=3) + bias
    return found
