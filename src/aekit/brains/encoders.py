"""Encoders of brain images: from an image to a vector of features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from aekit.brains.config import BrainArch
from aekit.errors import AekitError

GridSize = tuple[int, int, int]
_STRIDED_CHANNELS = (16, 32, 64, 64)
_BASE_CHANNELS = 8
_DEEP_CHANNELS = (8, 16, 32, 64, 64)
_SFCN_CHANNELS = (32, 64, 128, 256, 256)
_SFCN_FEATURES = 64
_LEAK = 0.1  # slope of the leaky ReLU below zero


class SeededDropout(nn.Module):
    """Dropout with masks from a generator of its own, drawn on the CPU.

    Members of an ensemble train side by side, so that what one draws from torch's only generator would depend on the
    others.

    Attributes:
        fraction: Of the features that are set to zero in training; the others are scaled up accordingly.
        generator: What masks are drawn from; None is torch's.
    """

    def __init__(self, fraction: float) -> None:
        super().__init__()
        self.fraction = fraction
        self.generator: torch.Generator | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Return features, (B, F), of which some are zero in training."""
        if not self.training or not self.fraction:
            return features
        is_kept = torch.rand(features.shape, generator=self.generator) >= self.fraction
        return features * (is_kept / (1 - self.fraction)).to(features.device)


def draw_dropout_from(network: nn.Module, generator: torch.Generator | None) -> None:
    """Let all dropout of a network draw its masks from ``generator``."""
    for module in network.modules():
        if isinstance(module, SeededDropout):
            module.generator = generator


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


def _sfcn(size: GridSize) -> tuple[nn.Module, int]:
    """Return the Simple Fully Convolutional Network up to its pooled features, and their number.

    On 160 x 192 x 160 voxels, for which it was made, every block halves every axis. On a smaller grid an axis of one
    voxel is not halved further. The convolutions have no bias, which batch norm would remove.

    Source:
        Peng, Gong, Beckmann, Vedaldi & Smith 2021, Accurate brain age prediction with lightweight deep neural networks,
        doi:10.1016/j.media.2020.101871.
    """
    layers: list[nn.Module] = []
    sides = list(size)
    for n_in, n_out in zip((1, *_SFCN_CHANNELS), _SFCN_CHANNELS, strict=False):
        layers += [_Conv3d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm3d(n_out)]
        layers += [nn.MaxPool3d(tuple(min(2, side) for side in sides)), nn.ReLU()]
        sides = [max(1, side // 2) for side in sides]
    layers += [_Conv3d(_SFCN_CHANNELS[-1], _SFCN_FEATURES, 1, bias=False), nn.BatchNorm3d(_SFCN_FEATURES), nn.ReLU()]
    return nn.Sequential(*layers, _MeanOverVoxels()), _SFCN_FEATURES


class _MeanOverVoxels(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3, 4))


ENCODERS: dict[BrainArch, Callable[[GridSize], tuple[nn.Module, int]]] = {
    "strided": _strided,
    "base": _base,
    "deep": _deep,
    "sfcn": _sfcn,
}
DEFAULT_EPOCHS: dict[BrainArch, int] = {"strided": 40, "base": 10, "deep": 10, "sfcn": 10}
DEFAULT_LR: dict[BrainArch, float] = {"strided": 3e-3, "base": 1e-3, "deep": 3e-4, "sfcn": 3e-3}
