"""Networks that read a brain: image to tissue volumes, volumes to age, both joined, and image to age directly.

Tissues are in the order grey matter, white matter, cerebrospinal fluid: in mL (``absolute``), or as shares of their
sum (``proportion``), which a softmax makes add up to one. Every network carries the mean and SD of its train people, so
that it takes and gives plain units.
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


class Brains(NamedTuple):
    """What a network sees of B people, and for training what it should have said.

    Attributes:
        images: Scaled intensities on the grid, (B, 1, X, Y, Z).
        cumulative_ml: mL of brain that are darker than the end of each bin of intensity, (B, N_BINS).
        tissues: True volumes in mL or proportions, (B, 3); empty, (B, 0), if there are none.
        age_years: True ages, (B,).
    """

    images: Tensor
    cumulative_ml: Tensor
    tissues: Tensor
    age_years: Tensor


@dataclass(frozen=True)
class Norms:
    """What the train people are like on average: where a network's numbers start from.

    Attributes:
        tissue_mean: Mean of each tissue, (3,), in mL or as proportions; empty if there are none.
        tissue_sd: Its standard deviation, (3,).
        age_mean: Mean age in years, or of its logarithm.
        age_sd: Its standard deviation.
        cumulative_mean: Mean cumulative histogram in mL, (N_BINS,).
        cumulative_sd: One SD for all of its bins, as rare bins say little.
    """

    tissue_mean: Tensor
    tissue_sd: Tensor
    age_mean: Tensor
    age_sd: Tensor
    cumulative_mean: Tensor
    cumulative_sd: Tensor


class ImageNet(nn.Module):
    """Numbers from an image: an encoder, a linear layer, and beside it one on the intensity histogram.

    Args:
        arch: Which encoder.
        size: Voxels of the grid.
        n_outputs: K.
        norms: Of the train people, for the histogram.
        n_bins: Bins of the histogram; 0 for none.
    """

    cumulative_mean: Tensor
    cumulative_sd: Tensor

    def __init__(self, arch: BrainArch, size: GridSize, n_outputs: int, norms: Norms, n_bins: int) -> None:
        super().__init__()
        self.encoder, n_features = ENCODERS[arch](size)
        self.head = nn.Linear(n_features, n_outputs)
        self.histogram_head = nn.Linear(n_bins, n_outputs) if n_bins else None
        self.register_buffer("cumulative_mean", norms.cumulative_mean.clone())
        self.register_buffer("cumulative_sd", norms.cumulative_sd.clone())

    def forward(self, images: Tensor, cumulative_ml: Tensor) -> Tensor:
        """Return numbers around zero, (B, K), from images (B, 1, X, Y, Z) and cumulative histograms (B, N_BINS)."""
        # The last layers stay in fp32: a tissue volume is wanted to a few mL in a thousand.
        features = self.encoder(images).float()
        with torch.autocast(images.device.type, enabled=False):
            outputs: Tensor = self.head(features)
            if self.histogram_head is not None:
                outputs = outputs + self.histogram_head(self.scale_histogram(cumulative_ml))
        return outputs

    def scale_histogram(self, cumulative_ml: Tensor) -> Tensor:
        """Return cumulative histograms, (B, N_BINS), around zero."""
        return (cumulative_ml - self.cumulative_mean) / self.cumulative_sd

    def start_at_histogram(self, weight: Tensor, bias: Tensor) -> None:
        """Let the outputs start as a linear function of the scaled histogram, weights (K, N_BINS), bias (K,).

        The image then only has to say what the histogram does not.
        """
        if self.histogram_head is None:
            raise ValueError("this network has no histogram")
        with torch.no_grad():
            self.histogram_head.weight.copy_(weight)
            self.histogram_head.bias.copy_(bias)
            self.head.weight.zero_()
            self.head.bias.zero_()


class TissueNet(nn.Module):
    """Image -> tissue volumes in mL, or proportions that add up to one.

    Args:
        config: Which networks.
        size: Voxels of the grid.
        norms: Of the train people.
        n_bins: Bins of the histogram that is fed beside the image; 0 for none.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, config: BrainModelConfig, size: GridSize, norms: Norms, n_bins: int) -> None:
        super().__init__()
        self.net = ImageNet(config.arch, size, N_TISSUES, norms, n_bins)
        self.target: Target = config.target or "absolute"
        self.register_buffer("mean", norms.tissue_mean.clone())
        self.register_buffer("sd", norms.tissue_sd.clone())

    def forward(self, images: Tensor, cumulative_ml: Tensor) -> Tensor:
        """Return tissue volumes in mL or proportions, (B, 3)."""
        return self.to_tissues(self.net(images, cumulative_ml))

    def to_tissues(self, outputs: Tensor) -> Tensor:
        """Return volumes or proportions, (B, 3), from the numbers of the last layer, (B, 3)."""
        if self.target == "proportion":
            # Around the mean proportions p, an SD of p is about SD / p of its logarithm.
            return torch.softmax(self.mean.log() + outputs * (self.sd / self.mean), dim=1)
        return self.mean + self.sd * outputs

    def to_outputs(self, tissues: Tensor) -> Tensor:
        """Return numbers of the last layer, (B, 3), that give these volumes or proportions."""
        if self.target == "proportion":
            return (tissues.log() - self.mean.log()) / (self.sd / self.mean)
        return (tissues - self.mean) / self.sd

    def loss(self, brains: Brains) -> Tensor:
        """Return the mean squared error of z-scores, a scalar."""
        return self.tissue_loss(self(brains.images, brains.cumulative_ml), brains.tissues)

    def tissue_loss(self, tissues: Tensor, truth: Tensor) -> Tensor:
        """Return the mean squared error of z-scores between volumes or proportions, both (B, 3)."""
        return F.mse_loss((tissues - self.mean) / self.sd, (truth - self.mean) / self.sd)


class AgeNet(nn.Module):
    """Tissue volumes or proportions -> age: a small MLP.

    Args:
        config: Which networks.
        norms: Of the train people.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, config: BrainModelConfig, norms: Norms) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(N_TISSUES, _AGE_UNITS),
            nn.SiLU(),
            nn.Linear(_AGE_UNITS, _AGE_UNITS),
            nn.SiLU(),
            nn.Linear(_AGE_UNITS, 1),
        )
        self.age = AgeScale(norms, log_age=config.log_age)
        self.register_buffer("mean", norms.tissue_mean.clone())
        self.register_buffer("sd", norms.tissue_sd.clone())

    def z(self, tissues: Tensor) -> Tensor:
        """Return z-scores of age, (B,), from volumes or proportions, (B, 3)."""
        z: Tensor = self.net((tissues - self.mean) / self.sd)
        return z[:, 0]

    def forward(self, tissues: Tensor) -> Tensor:
        """Return ages in years, (B,), from volumes or proportions, (B, 3)."""
        return self.age.to_years(self.z(tissues))

    def loss(self, brains: Brains) -> Tensor:
        """Return the mean squared error of z-scores, a scalar."""
        return F.mse_loss(self.z(brains.tissues), self.age.to_z(brains.age_years))


class Chain(nn.Module):
    """Image -> tissue volumes -> age, trained end to end from both halves.

    Args:
        tissues: The first half, trained; it is changed.
        age: The second half, trained; it is changed.
    """

    def __init__(self, tissues: TissueNet, age: AgeNet) -> None:
        super().__init__()
        self.tissues = tissues
        self.age = age

    def forward(self, images: Tensor, cumulative_ml: Tensor) -> tuple[Tensor, Tensor]:
        """Return tissue volumes or proportions, (B, 3), and ages in years, (B,)."""
        tissues = self.tissues(images, cumulative_ml)
        return tissues, self.age(tissues)

    def loss(self, brains: Brains) -> Tensor:
        """Return the mean squared error of the age's z-score plus that of the volumes, which must stay volumes."""
        tissues = self.tissues(brains.images, brains.cumulative_ml)
        age_loss = F.mse_loss(self.age.z(tissues), self.age.age.to_z(brains.age_years))
        return age_loss + self.tissues.tissue_loss(tissues, brains.tissues)


class DirectNet(nn.Module):
    """Image -> age, without volumes in between.

    Args:
        config: Which networks.
        size: Voxels of the grid.
        norms: Of the train people.
        n_bins: Bins of the histogram that is fed beside the image; 0 for none.
    """

    def __init__(self, config: BrainModelConfig, size: GridSize, norms: Norms, n_bins: int) -> None:
        super().__init__()
        self.net = ImageNet(config.arch, size, 1, norms, n_bins)
        self.age = AgeScale(norms, log_age=config.log_age)

    def forward(self, images: Tensor, cumulative_ml: Tensor) -> Tensor:
        """Return ages in years, (B,)."""
        return self.age.to_years(self.net(images, cumulative_ml)[:, 0])

    def loss(self, brains: Brains) -> Tensor:
        """Return the mean squared error of z-scores, a scalar."""
        return F.mse_loss(self.net(brains.images, brains.cumulative_ml)[:, 0], self.age.to_z(brains.age_years))


class AgeScale(nn.Module):
    """Between years and z-scores of age or of its logarithm.

    Args:
        norms: Of the train people.
        log_age: Of the logarithm.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, norms: Norms, *, log_age: bool) -> None:
        super().__init__()
        self.log_age = log_age
        self.register_buffer("mean", norms.age_mean.clone())
        self.register_buffer("sd", norms.age_sd.clone())

    def to_z(self, age_years: Tensor) -> Tensor:
        """Return z-scores of ages, (B,)."""
        return ((age_years.log() if self.log_age else age_years) - self.mean) / self.sd

    def to_years(self, z: Tensor) -> Tensor:
        """Return ages in years of z-scores, (B,), no lower than 0 and no higher than 120, where no person is."""
        age = self.mean + self.sd * z
        # Of few people the networks know little: beyond the ages they saw they may say 500 years.
        return (age.exp() if self.log_age else age).clamp(0.0, MAX_AGE_YEARS)


class _Conv3d(nn.Conv3d):
    """A convolution that stays in fp32 where an axis is shorter than its kernel.

    There oneDNN's bf16 gradient of the weights is memory that was never written, or it writes beyond its own (torch
    2.15 on a processor with AMX): NaN in some weights, other bytes each time, or a crash.
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


def least_squares_start(features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights (K, F) and bias (K,) of ridge regression, the penalty of each output by leave-one-out.

    Args:
        features: Of the train people, (N, F), N >= 2.
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
