"""Effects of scanners on training images, and on their histograms in the same way: contrast, coils, noise, resolution.

A network that is trained with them cannot rely on absolute intensities, which do not travel to another scanner.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.brains.volumes.gridding import TOP

# Standard deviations and largest values at strength 1. They are what preparation leaves behind: it scales every scan
# and removes most of the bias field.
_LOG_GAMMA_SD = 0.15
_LOG_SLOPE_SD = 0.15
_N_SEGMENTS = 5
_LOG_BIAS_SD = 0.05  # per coefficient of a polynomial of degree 2
_LOG_GAIN_SD = 0.05
_MAX_NOISE = 0.04  # SD of the noise, drawn between 0 and this, where white matter is about 1
_MAX_BLUR = 0.6  # SD of the blur in voxels of the grid, drawn between 0 and this
_SCALE_PERCENTILES = (0.40, 0.95)  # as preparation scales scans, by the mean between them
_LEVELS = np.concatenate([[0.002], np.linspace(0.01, 0.99, 99), [0.998]])  # quantiles that are matched
_FEWEST = 8  # voxels of a brain for its quantiles to mean anything


class ScannerEffects:
    """Draws how another scanner would have shown the same brains.

    In this order: a monotone contrast curve (a gamma, and a piecewise linear curve with random slopes), a smooth bias
    field (the exponential of a polynomial of degree 2), noise, and a blur within the brain; then the image is scaled as
    in the preparation of scans, and multiplied by a gain.

    Args:
        strength: Factor of all standard deviations and of noise and blur; 0 changes nothing.
    """

    def __init__(self, strength: float = 1.0) -> None:
        self._strength = strength

    def __call__(self, images: Tensor, cumulative_ml: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return images, (B, 1, X, Y, Z), and cumulative histograms in mL, (B, F), as another scanner gives them.

        A histogram follows the quantiles of its image: the intensity of each quantile of the brain is moved to that of
        the same quantile afterwards. So its order and its sum stay as they are. Random numbers are drawn on the CPU.
        """
        found = [self._one(image, generator) for image in images]
        pairs = zip(images, found, cumulative_ml, strict=True)
        histograms = [_follow(old, new, cumulative) for old, new, cumulative in pairs]
        return torch.stack(found), torch.stack(histograms)

    def _one(self, image: Tensor, generator: torch.Generator) -> Tensor:
        strength, device = self._strength, image.device
        gamma = math.exp(strength * _LOG_GAMMA_SD * _normal(1, generator)[0].item())
        slopes = (strength * _LOG_SLOPE_SD * _normal(_N_SEGMENTS, generator)).exp()
        coefficients = strength * _LOG_BIAS_SD * _normal(9, generator)
        noise_sd, blur_sd = (
            strength * torch.rand(2, generator=generator) * torch.tensor([_MAX_NOISE, _MAX_BLUR])
        ).tolist()
        noise = torch.randn(image.shape, generator=generator).to(device)
        gain = math.exp(strength * _LOG_GAIN_SD * _normal(1, generator)[0].item())
        inside = image > 0
        if int(inside.sum()) < _FEWEST:
            return image
        found = contrast_curve(image, gamma, slopes.to(device))
        found = found * bias_field(coefficients, (image.shape[1], image.shape[2], image.shape[3])).to(device)
        found = torch.where(inside, found + noise_sd * noise, found)
        found = _blur(found, inside, blur_sd)
        found = found * (_scale_of(image[inside]) / _scale_of(found[inside]).clamp_min(1e-6)) * gain
        # As in preparation, and what belongs to the brain stays brighter than the background.
        return torch.where(inside, found.clamp(1e-3, TOP), 0.0)


def contrast_curve(intensities: Tensor, gamma: float, slopes: Tensor) -> Tensor:
    """Return intensities, in [0, TOP], after a curve that keeps their order, 0 and TOP.

    Args:
        intensities: Of any shape.
        gamma: Exponent, > 0.
        slopes: Of the segments of equal width of a piecewise linear curve, (K,), > 0; only their ratios matter.
    """
    fraction = (intensities / TOP).clamp(0.0, 1.0) ** gamma
    place = (fraction * len(slopes)).clamp(0.0, len(slopes) - 1e-6)
    which = place.long()
    starts = torch.cat([slopes.new_zeros(1), slopes.cumsum(0)])
    curved: Tensor = TOP * (starts[which] + (place - which) * slopes[which]) / starts[-1]
    return curved


def bias_field(coefficients: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Return a smooth field with a mean logarithm of about 0, (1, X, Y, Z).

    Args:
        coefficients: Of x, y, z, x^2, y^2, z^2, xy, xz and yz, (9,), with coordinates between -1 and 1.
        size: Voxels.
    """
    axes = [torch.linspace(-1.0, 1.0, side) for side in size]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    terms = torch.stack([x, y, z, x**2 - 1 / 3, y**2 - 1 / 3, z**2 - 1 / 3, x * y, x * z, y * z])
    return torch.einsum("k,kxyz->xyz", coefficients, terms).exp()[None]


def _normal(n: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, generator=generator).clamp(-3.0, 3.0)


def _blur(image: Tensor, inside: Tensor, sd: float) -> Tensor:
    """Return an image, (1, X, Y, Z), blurred within the brain: nothing flows in from the background."""
    side = math.exp(-0.5 / sd**2) if sd > 0.05 else 0.0
    if side == 0.0:
        return image
    weights = image.new_tensor([side, 1.0, side]) / (1 + 2 * side)
    both = torch.stack([torch.where(inside, image, 0.0), inside.float()])
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = 3
        both = F.conv3d(both, weights.view(1, 1, *shape), padding=tuple(side // 2 for side in shape))
    return torch.where(inside, both[0] / both[1].clamp_min(1e-6), 0.0)


def _scale_of(inside: Tensor) -> Tensor:
    ordered = inside.sort().values
    low, high = (round(level * (len(ordered) - 1)) for level in _SCALE_PERCENTILES)
    return ordered[low : high + 1].mean()


def _follow(old: Tensor, new: Tensor, cumulative_ml: Tensor) -> Tensor:
    """Return the cumulative histogram, (F,), of an image, (1, X, Y, Z), whose intensities became others."""
    before, after = (image[old > 0].double().cpu().numpy() for image in (old, new))
    if len(before) < _FEWEST:
        return cumulative_ml
    moved = remap_histogram(
        cumulative_ml.double().cpu().numpy(), np.quantile(before, _LEVELS), np.quantile(after, _LEVELS)
    )
    return torch.from_numpy(moved).to(cumulative_ml)


def remap_histogram(
    cumulative_ml: npt.NDArray[np.float64], before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return a cumulative histogram over equal bins of [0, TOP), (F,), in which intensities are moved.

    Args:
        cumulative_ml: mL below the upper end of each bin, (F,), ascending.
        before: Intensities, ascending, (Q,).
        after: What becomes of each, ascending, (Q,); lower and higher ones are moved in proportion.
    """
    edges = np.linspace(0.0, TOP, len(cumulative_ml) + 1)
    far = max(1.0, TOP / max(after[-1], 1e-6))
    origin = np.interp(edges[1:], [0.0, *after, far * after[-1]], [0.0, *before, far * before[-1]])
    moved: npt.NDArray[np.float64] = np.interp(origin, edges, [0.0, *cumulative_ml])
    moved[-1] = cumulative_ml[-1]  # the last bin has what is brighter, too
    return moved
