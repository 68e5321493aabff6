"""Networks for brain images: image to tissue volumes, volumes to age, the two chained, and image to age directly.

Tissues are in the order grey matter, white matter, cerebrospinal fluid: in mL (``absolute``), or as proportions of
their sum (``proportion``), which a softmax makes add up to one. Every network contains the mean and SD of its train
set, so that inputs and outputs are in plain units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.brains.config import BrainArch, BrainModelConfig, Target
from aekit.errors import AekitError

GridSize = tuple[int, int, int]
N_TISSUES = 3
_STRIDED_CHANNELS = (16, 32, 64, 64)
_BASE_CHANNELS = 8
_DEEP_CHANNELS = (8, 16, 32, 64, 64)
_LEAK = 0.1  # slope of the leaky ReLU below zero
_AGE_UNITS = 32
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
        cumulative_mean: Mean cumulative histogram in mL, (N_BINS,).
        cumulative_sd: One SD for all of its bins, as rare bins are noisy.
    """

    tissue_mean: Tensor
    tissue_sd: Tensor
    age_mean: Tensor
    age_sd: Tensor
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
    """

    cumulative_mean: Tensor
    cumulative_sd: Tensor

    def __init__(
        self, arch: BrainArch, size: GridSize, n_outputs: int, normalisation: Normalisation, n_bins: int
    ) -> None:
        super().__init__()
        self.encoder, n_features = ENCODERS[arch](size)
        self.head = nn.Linear(n_features, n_outputs)
        self.histogram_head = nn.Linear(n_bins, n_outputs) if n_bins else None
        self.register_buffer("cumulative_mean", normalisation.cumulative_mean.clone())
        self.register_buffer("cumulative_sd", normalisation.cumulative_sd.clone())

    def forward(self, images: Tensor, cumulative_ml: Tensor) -> Tensor:
        """Return outputs around zero, (B, K), from images (B, 1, X, Y, Z) and cumulative histograms (B, N_BINS)."""
        # The last layers stay in fp32: tissue volumes need a precision of a few mL in a thousand.
        features = self.encoder(images).float()
        with torch.autocast(images.device.type, enabled=False):
            outputs: Tensor = self.head(features)
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
    """Image -> age, without volumes in between.

    Args:
        config: Architecture and target.
        size: Voxels of the grid.
        normalisation: Of the train set.
        n_bins: Bins of the histogram that is a second input; 0 for none.
    """

    def __init__(self, config: BrainModelConfig, size: GridSize, normalisation: Normalisation, n_bins: int) -> None:
        super().__init__()
        self.net = ImageNet(config.arch, size, 1, normalisation, n_bins)
        self.age = AgeScale(normalisation, log_age=config.log_age)

    def forward(self, images: Tensor, cumulative_ml: Tensor) -> Tensor:
        """Return ages in years, (B,)."""
        return self.age.to_years(self.net(images, cumulative_ml)[:, 0])

    def loss(self, batch: BrainBatch) -> Tensor:
        """Return the mean squared error of z-scores, a scalar."""
        return F.mse_loss(self.net(batch.images, batch.cumulative_ml)[:, 0], self.age.to_z(batch.age_years))


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


class _Conv3d(nn.Conv3d):
    """A convolution that stays in fp32 where an axis is shorter than its kernel.

    There oneDNN returns uninitialised memory as bf16 gradient of the weights, or writes out of bounds (torch 2.15 on a
    processor with AMX): NaN in some weights, different bytes each time, or a crash.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Return features, (B, n_out, X', Y', Z'), of features (B, n_in, X, Y, Z)."""
        if min(features.shape[2:]) >= self.kernel_size[0]:
            return super().forward(features)
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.float())


def _strided(size: GridSize) -> tuple[nn.Module, int]:
    layers: list[nn.Module] = []
    for n_in, n_out in zip((1, *_STRIDED_CHANNELS), _STRIDED_CHANNELS, strict=False):
        layers += [_Conv3d(n_in, n_out, 3, stride=2, padding=1, bias=False), nn.BatchNorm3d(n_out), nn.SiLU()]
    return nn.Sequential(*layers, _MeanOverVoxels()), _STRIDED_CHANNELS[-1]


def _base(size: GridSize) -> tuple[nn.Module, int]:
    if min(size) < 6:
        raise AekitError(f"--size: {min(size)} voxels are too few for --arch base; give 6 or more, or --arch strided")
    pooled = [(side - 4) // 2 for side in size]
    layers = (nn.Conv3d(1, _BASE_CHANNELS, 5), nn.LeakyReLU(_LEAK), nn.AvgPool3d(2), nn.Flatten())
    return nn.Sequential(*layers), _BASE_CHANNELS * pooled[0] * pooled[1] * pooled[2]


def _deep(size: GridSize) -> tuple[nn.Module, int]:
    layers: list[nn.Module] = []
    sides = list(size)
    for n_in, n_out in zip((1, *_DEEP_CHANNELS), _DEEP_CHANNELS, strict=False):
        layers += [_Conv3d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm3d(n_out), nn.LeakyReLU(_LEAK)]
        if min(sides) >= 2:
            layers.append(nn.AvgPool3d(2))
            sides = [side // 2 for side in sides]
    n_flat = _DEEP_CHANNELS[-1] * sides[0] * sides[1] * sides[2]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(n_flat, 64), nn.LeakyReLU(_LEAK)), 64


class _MeanOverVoxels(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3, 4))


ENCODERS = {"strided": _strided, "base": _base, "deep": _deep}
DEFAULT_EPOCHS: dict[BrainArch, int] = {"strided": 40, "base": 10, "deep": 10}
DEFAULT_LR: dict[BrainArch, float] = {"strided": 3e-3, "base": 1e-3, "deep": 3e-4}


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
