"""Layers that several networks share: they restore any image size and are initialised for fast training."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from aekit.errors import AekitError
from aekit.images.sizes import in_pixels

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def init_weights(layer: Layer, gain: float) -> Layer:
    """Return the layer with weights drawn from N(0, gain^2 / fan_in) and biases of zero."""
    fan_in = layer.weight[0].numel()
    if isinstance(layer, nn.ConvTranspose2d):
        # An output pixel is reached by one in stride^2 of the kernel's weights.
        fan_in = layer.weight[:, 0].numel() // math.prod(layer.stride)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResidualLinear(nn.Module):
    """x + W silu(x) + b for x (B, F)."""

    def __init__(self, n_features: int, gain: float) -> None:
        super().__init__()
        self.activation = nn.SiLU()
        self.linear = init_weights(nn.Linear(n_features, n_features), gain)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, F) for x (B, F)."""
        residual: Tensor = self.linear(self.activation(x))
        return x + residual


class FlattenPixels(nn.Module):
    """(B, C, H, W) -> (B, H * W * C): no copy if channels are last in memory, as in training.

    Flattening channels first would copy, and give the activation before it a gradient in another memory order than its
    input, which is several times slower.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, H * W * C)."""
        return x.permute(0, 2, 3, 1).flatten(1)


class UnflattenPixels(nn.Module):
    """(B, H * W * C) -> (B, C, H, W), channels last in memory: the inverse of :class:`FlattenPixels`."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, features: Tensor) -> Tensor:
        """Return pixels (B, C, H, W)."""
        channels, height, width = self.shape
        return features.reshape(features.shape[0], height, width, channels).permute(0, 3, 1, 2)


class UpToGrey(nn.ConvTranspose2d):
    """A transposed convolution to one channel; on a CPU, one matrix product.

    oneDNN is slow for a single output channel: forward and backward of 50 images took 2.7 ms of a 24 ms step in fp32,
    and 2.0 of 19 ms in bf16, on one core; this takes 1.2 and 1.0 ms.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return (B, 1, H', W') for x (B, C, H, W); on a CPU in fp32 even under bf16, as contributions are added."""
        if x.device.type != "cpu" or self.out_channels != 1 or output_size is not None:
            return super().forward(x, output_size)
        n_images, _, height, width = x.shape
        padding = int(self.padding[0]), int(self.padding[1])
        size = (
            (height - 1) * self.stride[0] - 2 * padding[0] + self.kernel_size[0],
            (width - 1) * self.stride[1] - 2 * padding[1] + self.kernel_size[1],
        )
        # The contribution of each pixel to each of those that its kernel reaches, (kernel, B * H * W).
        added = self.weight.flatten(1).t() @ x.permute(0, 2, 3, 1).flatten(0, 2).t()
        added = added.to(torch.promote_types(added.dtype, torch.float32))
        added = added.reshape(len(added), n_images, height * width).transpose(0, 1)
        image = functional.fold(added, size, self.kernel_size, stride=self.stride, padding=padding)
        return image if self.bias is None else image + self.bias


class DownConv(nn.Conv2d):
    """A 3x3 convolution of stride 2 that halves the size, rounded up; in fp32 where an axis is a single pixel.

    There oneDNN writes no bf16 gradient for the taps of the kernel that only see padding, and it is whatever the memory
    held (torch 2.14): NaN in some weights, and different bytes each time.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, kernel_size=3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x at half the size, (B, C', height, width)."""
        if min(x.shape[2:]) > 1:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class UpConv(nn.ConvTranspose2d):
    """A 4x4 transposed convolution of stride 2 that doubles the size, cut to ``size`` (height, width)."""

    def __init__(self, n_in: int, n_out: int, size: tuple[int, int]) -> None:
        super().__init__(n_in, n_out, kernel_size=4, stride=2, padding=1)
        self.size = size

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return x at twice the size, (B, C', height, width)."""
        twice = super().forward(x, output_size)
        height, width = self.size
        if twice.shape[2:] == (height, width):
            return twice
        # A view would send the batch norm that follows down a path that is six times slower: 1.8 times the whole step.
        last = twice.is_contiguous(memory_format=torch.channels_last)
        memory_format = torch.channels_last if last else torch.contiguous_format
        return twice[:, :, :height, :width].contiguous(memory_format=memory_format)


def halved_sizes(size: tuple[int, int], times: int) -> list[tuple[int, int]]:
    """Return ``size`` and the sizes after each of ``times`` halvings, rounded up.

    Raises:
        AekitError: More than one halving starts from a single pixel.
    """
    useful = (max(size) - 1).bit_length()
    if times > useful + 1:
        raise AekitError(
            f"--layers: {times} is too deep for images of {in_pixels(*size)}, which are a single one after {useful}; "
            "use fewer"
        )
    sizes = [size]
    for _ in range(times):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes
