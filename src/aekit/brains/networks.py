"""Networks for brain images: image to tissue volumes, volumes to age, the two chained, and image to age directly.

Tissues are in the order grey matter, white matter, cerebrospinal fluid: in mL (``absolute``), or as proportions of
their sum (``proportion``), which a softmax makes add up to one. Every network contains the mean and SD of its train
set, so that inputs and outputs are in plain units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.brains.age_bins import N_AGE_BINS, AgeBins
from aekit.brains.config import BrainArch, BrainModelConfig, Target
from aekit.brains.encoders import ENCODERS, GridSize, SeededDropout

N_TISSUES = 3
_AGE_UNITS = 32
_BINNED_DROPOUT = 0.5  # before the bins of age, as published; volumes are linear in features, which need all of them
MAX_AGE_YEARS = 120.0


class BrainBatch(NamedTuple):
    """The inputs of a network for B participants, and the targets that it is trained on.

    Attributes:
        images: Scaled intensities on the grid, (B, 1, X, Y, Z).
        cumulative_ml: mL of brain darker than the upper end of each intensity bin, (B, N_BINS).
        tissues: True volumes in mL or proportions, (B, 3); empty, (B, 0), if there are none.
        age_years: True ages, (B,).
    """

    images: Tensor
    cumulative_ml: Tensor
    tissues: Tensor
    age_years: Tensor


@dataclass(frozen=True)
class Normalisation:
    """Means and standard deviations of the train set, which z-scores are relative to.

    Attributes:
        tissue_mean: Mean of each tissue, (3,), in mL or as proportions; empty if there are none.
        tissue_sd: Its standard deviation, (3,).
        age_mean: Mean age in years, or mean of its logarithm.
        age_sd: Its standard deviation.
        age_range: Lowest and highest age, or their logarithms, (2,).
        cumulative_mean: Mean cumulative histogram in mL, (N_BINS,).
        cumulative_sd: One SD for all of its bins, as rare bins are noisy.
    """

    tissue_mean: Tensor
    tissue_sd: Tensor
    age_mean: Tensor
    age_sd: Tensor
    age_range: Tensor
    cumulative_mean: Tensor
    cumulative_sd: Tensor


class ImageNet(nn.Module):
    """K outputs from an image: an encoder with a linear layer, plus a linear layer on the intensity histogram.

    Args:
        arch: Which encoder.
        size: Voxels of the grid.
        n_outputs: Number of outputs, K.
        normalisation: Of the train set, for the histogram.
        n_bins: Bins of the histogram; 0 for none.
        dropout: Fraction of the encoder's features that are left out in training.
    """

    cumulative_mean: Tensor
    cumulative_sd: Tensor

    def __init__(
        self,
        arch: BrainArch,
        size: GridSize,
        n_outputs: int,
        normalisation: Normalisation,
        n_bins: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder, n_features = ENCODERS[arch](size)
        self.dropout = SeededDropout(dropout)
        self.head = nn.Linear(n_features, n_outputs)
        self.histogram_head = nn.Linear(n_bins, n_outputs) if n_bins else None
        self.register_buffer("cumulative_mean", normalisation.cumulative_mean.clone())
        self.register_buffer("cumulative_sd", normalisation.cumulative_sd.clone())

    def forward(self, images: Tensor, cumulative_ml: Tensor) -> Tensor:
        """Return outputs around zero, (B, K), from images (B, 1, X, Y, Z) and cumulative histograms (B, N_BINS)."""
        # The last layers stay in fp32: tissue volumes need a precision of a few mL in a thousand.
        features = self.encoder(images).float()
        with torch.autocast(images.device.type, enabled=False):
            outputs: Tensor = self.head(self.dropout(features))
            if self.histogram_head is not None:
                outputs = outputs + self.histogram_head(self.scale_histogram(cumulative_ml))
        return outputs

    def scale_histogram(self, cumulative_ml: Tensor) -> Tensor:
        """Return cumulative histograms, (B, N_BINS), around zero."""
        return (cumulative_ml - self.cumulative_mean) / self.cumulative_sd

    def init_from_histogram(self, weight: Tensor, bias: Tensor) -> None:
        """Initialise the outputs as a linear function of the scaled histogram, weights (K, N_BINS), bias (K,).

        The image then only has to add what the histogram does not contain.
        """
        if self.histogram_head is None:
            raise ValueError("this network has no histogram input")
        with torch.no_grad():
            self.histogram_head.weight.copy_(weight)
            self.histogram_head.bias.copy_(bias)
            self.head.weight.zero_()
            self.head.bias.zero_()


class TissueNet(nn.Module):
    """Image -> tissue volumes in mL, or proportions that add up to one.

    Args:
        config: Architecture and target.
        size: Voxels of the grid.
        normalisation: Of the train set.
        n_bins: Bins of the histogram that is a second input; 0 for none.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, config: BrainModelConfig, size: GridSize, normalisation: Normalisation, n_bins: int) -> None:
        super().__init__()
        self.net = ImageNet(config.arch, size, N_TISSUES, normalisation, n_bins)
        self.target: Target = config.target or "absolute"
        self.register_buffer("mean", normalisation.tissue_mean.clone())
        self.register_buffer("sd", normalisation.tissue_sd.clone())

    def forward(self, images: Tensor, cumulative_ml: Tensor) -> Tensor:
        """Return tissue volumes in mL or proportions, (B, 3)."""
        return self.to_tissues(self.net(images, cumulative_ml))

    def to_tissues(self, outputs: Tensor) -> Tensor:
        """Return volumes or proportions, (B, 3), from outputs of the last layer, (B, 3)."""
        if self.target == "proportion":
            # Near the mean proportions p, one SD of p is about SD / p of its logarithm.
            return torch.softmax(self.mean.log() + outputs * (self.sd / self.mean), dim=1)
        return self.mean + self.sd * outputs

    def to_outputs(self, tissues: Tensor) -> Tensor:
        """Return the outputs of the last layer, (B, 3), that give these volumes or proportions."""
        if self.target == "proportion":
            return (tissues.log() - self.mean.log()) / (self.sd / self.mean)
        return (tissues - self.mean) / self.sd

    def loss(self, batch: BrainBatch) -> Tensor:
        """Return the mean squared error of z-scores, a scalar."""
        return self.tissue_loss(self(batch.images, batch.cumulative_ml), batch.tissues)

    def tissue_loss(self, tissues: Tensor, truth: Tensor) -> Tensor:
        """Return the mean squared error of z-scores between volumes or proportions, both (B, 3)."""
        return F.mse_loss((tissues - self.mean) / self.sd, (truth - self.mean) / self.sd)


class AgeNet(nn.Module):
    """Tissue volumes or proportions -> age: a small MLP.

    Args:
        config: Architecture and target.
        normalisation: Of the train set.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, config: BrainModelConfig, normalisation: Normalisation) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(N_TISSUES, _AGE_UNITS),
            nn.SiLU(),
            nn.Linear(_AGE_UNITS, _AGE_UNITS),
            nn.SiLU(),
            nn.Linear(_AGE_UNITS, 1),
        )
        self.age = AgeScale(normalisation, log_age=config.log_age)
        self.register_buffer("mean", normalisation.tissue_mean.clone())
        self.register_buffer("sd", normalisation.tissue_sd.clone())

    def z(self, tissues: Tensor) -> Tensor:
        """Return z-scores of age, (B,), from volumes or proportions, (B, 3)."""
        z: Tensor = self.net((tissues - self.mean) / self.sd)
        return z[:, 0]

    def forward(self, tissues: Tensor) -> Tensor:
        """Return ages in years, (B,), from volumes or proportions, (B, 3)."""
        return self.age.to_years(self.z(tissues))

    def loss(self, batch: BrainBatch) -> Tensor:
        """Return the mean squared error of z-scores, a scalar."""
        return F.mse_loss(self.z(batch.tissues), self.age.to_z(batch.age_years))


class Chain(nn.Module):
    """Image -> tissue volumes -> age, trained end to end, starting from both parts.

    Args:
        tissues: The first part, already trained; it is trained further in place.
        age: The second part, already trained; it is trained further in place.
    """

    def __init__(self, tissues: TissueNet, age: AgeNet) -> None:
        super().__init__()
        self.tissues = tissues
        self.age = age

    def forward(self, images: Tensor, cumulative_ml: Tensor) -> tuple[Tensor, Tensor]:
        """Return tissue volumes or proportions, (B, 3), and ages in years, (B,)."""
        tissues = self.tissues(images, cumulative_ml)
        return tissues, self.age(tissues)

    def loss(self, batch: BrainBatch) -> Tensor:
        """Return the mean squared error of the age's z-score plus that of the volumes, so that they stay volumes."""
        tissues = self.tissues(batch.images, batch.cumulative_ml)
        age_loss = F.mse_loss(self.age.z(tissues), self.age.age.to_z(batch.age_years))
        return age_loss + self.tissues.tissue_loss(tissues, batch.tissues)


class DirectNet(nn.Module):
    """Image -> age, without volumes in between; ``sfcn`` predicts the probability of bins of age.

    Args:
        config: Architecture and target.
        size: Voxels of the grid.
        normalisation: Of the train set.
        n_bins: Bins of the histogram that is a second input; 0 for none.
    """

    def __init__(self, config: BrainModelConfig, size: GridSize, normalisation: Normalisation, n_bins: int) -> None:
        super().__init__()
        is_binned = config.arch == "sfcn"
        n_outputs, dropout = (N_AGE_BINS, _BINNED_DROPOUT) if is_binned else (1, 0.0)
        self.net = ImageNet(config.arch, size, n_outputs, normalisation, n_bins, dropout)
        self.age = AgeScale(normalisation, log_age=config.log_age)
        z_range = (normalisation.age_range - normalisation.age_mean) / normalisation.age_sd
        self.bins = AgeBins(*z_range) if is_binned else None
        if self.bins is not None:  # about as ages are distributed in train, as the other networks start at their mean
            _, bias = self.bins.outputs_of(torch.zeros(1, 1), torch.zeros(1), torch.ones(()))
            with torch.no_grad():
                self.net.head.bias.copy_(bias)

    def forward(self, images: Tensor, cumulative_ml: Tensor) -> Tensor:
        """Return ages in years, (B,)."""
        outputs = self.net(images, cumulative_ml)
        return self.age.to_years(outputs[:, 0] if self.bins is None else self.bins.expectation(outputs))

    def loss(self, batch: BrainBatch) -> Tensor:
        """Return the mean squared error of z-scores, or the divergence from the labels of bins in nats, a scalar."""
        outputs, z = self.net(batch.images, batch.cumulative_ml), self.age.to_z(batch.age_years)
        return F.mse_loss(outputs[:, 0], z) if self.bins is None else self.bins.loss(outputs, z)

    def labelled_years(self) -> tuple[float, float]:
        """Return the lowest and the highest age that it can be trained on."""
        if self.bins is None:
            return 0.0, math.inf
        lowest, highest = self.age.to_years(torch.stack(self.bins.labelled)).tolist()
        return lowest, highest

    def init_from_histogram(self, cumulative_ml: Tensor, age_years: Tensor) -> None:
        """Initialise as the ridge regression of age on the histogram.

        Args:
            cumulative_ml: Cumulative histograms of the train set, (N, N_BINS).
            age_years: Its ages, (N,).
        """
        features, z = self.net.scale_histogram(cumulative_ml), self.age.to_z(age_years)[:, None]
        weight, bias = ridge_by_leave_one_out(features, z)
        if self.bins is not None:
            error_sd = (features @ weight.T + bias - z).square().mean().sqrt()
            weight, bias = self.bins.outputs_of(weight, bias, error_sd)
        self.net.init_from_histogram(weight, bias)


class AgeScale(nn.Module):
    """Converts between years and z-scores of age or of its logarithm.

    Args:
        normalisation: Of the train set.
        log_age: Use the logarithm.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, normalisation: Normalisation, *, log_age: bool) -> None:
        super().__init__()
        self.log_age = log_age
        self.register_buffer("mean", normalisation.age_mean.clone())
        self.register_buffer("sd", normalisation.age_sd.clone())

    def to_z(self, age_years: Tensor) -> Tensor:
        """Return z-scores of ages, (B,)."""
        return ((age_years.log() if self.log_age else age_years) - self.mean) / self.sd

    def to_years(self, z: Tensor) -> Tensor:
        """Return ages in years of z-scores, (B,), clamped to 0 to 120."""
        age = self.mean + self.sd * z
        # Trained on few participants, networks extrapolate badly, even to 500 years.
        return (age.exp() if self.log_age else age).clamp(0.0, MAX_AGE_YEARS)


def is_clamped(age_years: Tensor) -> Tensor:
    """Return which ages of networks were clamped to 0 or 120 years, (B,)."""
    return (age_years <= 0) | (age_years >= MAX_AGE_YEARS)


def ridge_by_leave_one_out(features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights (K, F) and bias (K,) of ridge regression, with the penalty of each output by leave-one-out.

    Args:
        features: Of the train set, (N, F), N >= 2.
        targets: Theirs, (N, K).

    Source:
        Hastie, Tibshirani & Friedman 2009, The Elements of Statistical Learning, section 7.10.1.
    """
    x, y = features.double(), targets.double()
    x_mean, y_mean = x.mean(0), y.mean(0)
    u, s, vt = torch.linalg.svd(x - x_mean, full_matrices=False)
    rotated = u.T @ (y - y_mean)  # (R, K)
    best = torch.full((y.shape[1],), torch.inf, dtype=torch.float64)
    weight = torch.zeros(y.shape[1], x.shape[1], dtype=torch.float64)
    for penalty in _penalties(s):
        shrunk = s**2 / (s**2 + penalty)
        leverage = (u**2) @ shrunk + 1 / len(x)
        errors = (y - y_mean - u @ (shrunk[:, None] * rotated)) / (1 - leverage).clamp_min(1e-9)[:, None]
        left_out = errors.square().mean(0)
        found = (vt.T @ ((shrunk / s.clamp_min(1e-12))[:, None] * rotated)).T  # (K, F)
        better = left_out < best
        best[better], weight[better] = left_out[better], found[better]
    return weight.float(), (y_mean - weight @ x_mean).float()


def _penalties(s: Tensor) -> Sequence[float]:
    top = float(s[0]) ** 2 or 1.0
    return [top * 10.0 ** (-k / 4) for k in range(-4, 37)]
