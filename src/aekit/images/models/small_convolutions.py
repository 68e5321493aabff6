"""Convolutions of small images whose weights get their gradient by one matrix product."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# Bytes of all patches of a batch. Beyond that they leave the processor's cache: for 50 images of 24 channels and 109 x
# 88 pixels the product takes 79 ms, oneDNN 25.
_MOST = 2**22


class _Geometry(NamedTuple):
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    is_transposed: bool
    output_padding: tuple[int, ...]


class _Convolution(torch.autograd.Function):
    """A convolution, or a transposed one, of bf16 on a CPU.

    oneDNN takes half of its time for the gradient of the weights: 11.6 ms of one core for the four inner convolutions
    of ``conv`` and 100 images of 28 x 28, where gathering the patches and multiplying takes 5.8.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: _Geometry) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        stride, padding, is_transposed, output_padding = geometry
        return torch.convolution(x, weight, bias, stride, padding, (1, 1), is_transposed, output_padding, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        stride, padding, is_transposed, output_padding = geometry = ctx.geometry
        to_input = None
        if ctx.needs_input_grad[0]:
            to_input, _, _ = torch.ops.aten.convolution_backward(
                gradient,
                x,
                weight,
                None,
                stride,
                padding,
                (1, 1),
                is_transposed,
                output_padding,
                1,
                (True, False, False),
            )
        # Each weight is the sum of products of a pixel of the smaller image and one of its patch of the larger one.
        large, small = (gradient, x) if is_transposed else (x, gradient)
        rows = small.permute(0, 2, 3, 1).reshape(-1, small.shape[1])
        columns = _patches(large, small.shape[2:], weight.shape[2:], geometry)
        to_weight = (rows.t() @ columns).view(weight.shape[0], *weight.shape[2:], weight.shape[1]).permute(0, 3, 1, 2)
        to_bias = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return to_input, to_weight, to_bias, None


def _patches(large: Tensor, grid: torch.Size, kernel: torch.Size, geometry: _Geometry) -> Tensor:
    """Return the pixels under the kernel at each place of the grid, (B * grid, kernel * C)."""
    (down, right), (above, beside) = geometry.stride, geometry.padding
    n_images, channels, height, width = large.shape
    padded = large.new_zeros((n_images, height + 2 * above, width + 2 * beside, channels))
    padded[:, above : above + height, beside : beside + width] = large.permute(0, 2, 3, 1)
    image, row, column, _ = padded.stride()
    windows = padded.as_strided(
        (n_images, *grid, kernel[0], kernel[1] * channels), (image, down * row, right * column, row, 1)
    )
    return windows.reshape(n_images * grid[0] * grid[1], -1)


def _is_quick(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, n_places: int) -> bool:
    """Return whether a product is faster for the gradient of a layer's weights, with so many patches in a batch."""
    is_trained = torch.is_grad_enabled() and layer.weight.requires_grad and not torch.compiler.is_compiling()
    is_known = x.dtype == torch.bfloat16 and x.device.type == "cpu"
    # From the sizes: to index a parameter takes a lock of it while holding Python's, and torch takes them the other way
    # round where another thread of the team begins with the same parameter (torch 2.14): both wait for ever.
    n_weights = layer.weight.numel() // len(layer.weight)
    return is_trained and is_known and x.element_size() * n_places * n_weights <= _MOST


def _convolve(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, *, is_transposed: bool) -> Tensor:
    geometry = _Geometry(layer.stride, tuple(map(int, layer.padding)), is_transposed, layer.output_padding)
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    convolved: Tensor = _Convolution.apply(x, layer.weight.to(x.dtype), bias, geometry)
    return convolved


class SmallConv2d(nn.Conv2d):
    """A convolution of one group, without dilation."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C', H', W') for x (B, C, H, W)."""
        sizes = zip(x.shape[2:], map(int, self.padding), self.kernel_size, self.stride, strict=True)
        grid = [(size + 2 * padding - kernel) // stride + 1 for size, padding, kernel, stride in sizes]
        if not _is_quick(self, x, len(x) * grid[0] * grid[1]):
            return super().forward(x)
        return _convolve(self, x, is_transposed=False)


class SmallConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution of one group, without dilation."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return (B, C', H', W') for x (B, C, H, W)."""
        if output_size is not None or not _is_quick(self, x, len(x) * x.shape[2] * x.shape[3]):
            return super().forward(x, output_size)
        return _convolve(self, x, is_transposed=True)
