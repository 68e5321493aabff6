"""How similar two images are: squared error, peak signal-to-noise ratio and structural similarity, per image."""

from __future__ import annotations

import torch
from torch import Tensor

WINDOW = 11
SIGMA = 1.5
# The ratio of two equal images is infinite, and a single such pair would make the mean infinite.
MAX_PSNR_DB = 100.0


def mse(x: Tensor, x_hat: Tensor) -> Tensor:
    """Return the mean squared error over pixels and channels of each image, (B,).

    Args:
        x: Images in [0, 1], (B, C, H, W).
        x_hat: Their reconstructions, of the same shape.
    """
    return (x.float() - x_hat.float()).square().flatten(1).mean(1)


def psnr(x: Tensor, x_hat: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio -10 log10(MSE) of each image in dB, (B,), at most 100 dB.

    Args:
        x: Images in [0, 1], (B, C, H, W).
        x_hat: Their reconstructions, of the same shape.
    """
    return -10 * torch.log10(mse(x, x_hat).clamp(min=10 ** (-MAX_PSNR_DB / 10)))


def ssim(x: Tensor, x_hat: Tensor) -> Tensor:
    """Return the mean structural similarity of each image, (B,), in [-1, 1] and 1 for equal images.

    The window is 11 x 11 pixels, Gaussian with a standard deviation of 1.5 pixels, and only positions where it lies
    entirely inside the image count. An image with a side below 11 pixels gets the largest odd window that fits (7 x 7
    for 8 x 8 digits); its values can be compared with each other, but not with those of larger images. The channels of
    a colour image are compared separately and averaged.

    Args:
        x: Images in [0, 1], (B, C, H, W).
        x_hat: Their reconstructions, of the same shape.

    Source:
        Wang, Bovik, Sheikh & Simoncelli 2004, Image quality assessment: from error visibility to structural
        similarity, IEEE Transactions on Image Processing 13(4), with its K1 = 0.01, K2 = 0.03.
    """
    if x.shape != x_hat.shape:
        raise ValueError(f"images of {tuple(x.shape)} against {tuple(x_hat.shape)}")
    x, x_hat = x.float(), x_hat.float()
    c1, c2 = 0.01**2, 0.03**2
    size = min(WINDOW, *(side - (side + 1) % 2 for side in x.shape[-2:]))
    window = _gaussian_window(size)
    (mean_u, variance_u), (mean_v, variance_v) = (_moments(images, window) for images in (x + x_hat, x - x_hat))
    # Of the sum and the difference of two images instead of the images: 2 mean_x mean_y is half the difference of their
    # squared means, 2 covariance half that of their variances. So no rounding makes a factor exceed 1.
    luminance = _contrast(mean_u.square(), mean_v.square(), c1)
    structure = _contrast(variance_u, variance_v, c2)
    return (luminance * structure).flatten(1).mean(1)


def _moments(images: Tensor, window: list[float]) -> tuple[Tensor, Tensor]:
    """Return the local mean and variance; values are centred first, as squares of a bright image lose its contrast."""
    middle = images.mean((-2, -1), keepdim=True)
    mean = _blur(images - middle, window)
    variance = (_blur((images - middle).square(), window) - mean.square()).clamp(min=0)
    return mean + middle, variance


def _contrast(of_sum: Tensor, of_difference: Tensor, constant: float) -> Tensor:
    return (0.5 * (of_sum - of_difference) + constant) / (0.5 * (of_sum + of_difference) + constant)


def _gaussian_window(size: int) -> list[float]:
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-0.5 * (offsets / SIGMA).square())
    return [float(weight) for weight in weights / weights.sum()]


def _blur(images: Tensor, window: list[float]) -> Tensor:
    # Shifted sums instead of a convolution: on GPUs that round convolutions to TF32, rounding would exceed c2.
    n = len(window) - 1
    height, width = images.shape[-2] - n, images.shape[-1] - n
    columns = torch.zeros_like(images[..., :height, :])
    for i, weight in enumerate(window):
        columns.add_(images[..., i : i + height, :], alpha=weight)
    blurred = torch.zeros_like(columns[..., :width])
    for j, weight in enumerate(window):
        blurred.add_(columns[..., j : j + width], alpha=weight)
    return blurred
