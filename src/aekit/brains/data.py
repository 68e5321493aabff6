"""Participants as tensors: what networks are trained on and predict from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aekit.brains.config import Target
from aekit.brains.networks import BrainBatch
from aekit.brains.people import People
from aekit.brains.volumes.store import PreparedVolumes


@dataclass(frozen=True)
class BrainData:
    """All participants, in plain units.

    Attributes:
        images: Scaled intensities, float16 (N, X, Y, Z); mapped into memory.
        cumulative_ml: mL of brain darker than the upper end of each intensity bin, float32 (N, N_BINS).
        tissues: True volumes in mL or proportions, float32 (N, 3), or (N, 0) if there are none.
        age_years: Ages, float32 (N,).
    """

    images: npt.NDArray[np.float16]
    cumulative_ml: Tensor
    tissues: Tensor
    age_years: Tensor

    def take(self, rows: Tensor, device: torch.device, *, with_images: bool = True) -> BrainBatch:
        """Return the participants in ``rows``, (B,), on a device; without images, these are empty."""
        images = (
            torch.from_numpy(self.images[rows.numpy()]).to(device).float()[:, None]
            if with_images
            else torch.empty(0, device=device)
        )
        others = (self.cumulative_ml[rows], self.tissues[rows], self.age_years[rows])
        return BrainBatch(images, *(values.to(device) for values in others))


def build_brain_data(people: People, target: Target | None) -> BrainData:
    """Return participants as tensors; the images stay mapped into memory."""
    return BrainData(
        images=people.volumes.images,
        cumulative_ml=_cumulative_ml(people.volumes),
        tissues=torch.from_numpy(people.tissues(target).astype(np.float32)),
        age_years=torch.from_numpy(people.cohort.age_years.astype(np.float32)),
    )


def build_unlabelled_data(volumes: PreparedVolumes) -> BrainData:
    """Return scans without true volumes, (N, 0), and with ages of 0, to predict from."""
    n = len(volumes.images)
    return BrainData(volumes.images, _cumulative_ml(volumes), torch.empty(n, 0), torch.zeros(n))


def _cumulative_ml(volumes: PreparedVolumes) -> Tensor:
    return torch.from_numpy(np.cumsum(volumes.histograms_ml, axis=1, dtype=np.float32))
