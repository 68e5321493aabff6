"""Where in a scan an age comes from: occlusion maps in years, and SmoothGrad maps in years per unit of intensity.

Both explain the image that a network sees. The intensity histogram, its second input, is held fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from aekit.brains.explain.request import Fill

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
AgeFunction = Callable[[Tensor, Tensor], Tensor]  # images (B, 1, X, Y, Z), histograms (B, N_BINS) -> years (B,)
_BATCH = 16


@dataclass(frozen=True)
class Scan:
    """The two inputs of a network for one scan.

    Attributes:
        image: Scaled intensities on the grid, 0 outside the brain, float32 (X, Y, Z).
        cumulative_ml: mL of brain darker than the upper end of each intensity bin, (N_BINS,).
    """

    image: Tensor
    cumulative_ml: Tensor

    @property
    def brain(self) -> npt.NDArray[np.bool_]:
        """Return where there is brain, (X, Y, Z)."""
        return np.asarray((self.image > 0).numpy())


@dataclass(frozen=True)
class AgeMap:
    """One map of one scan.

    Attributes:
        values: Years, or years per unit of intensity; 0 outside the brain, (X, Y, Z).
        total: Of an occlusion map, the sum of the effects of all cubes over how many of them cover a voxel: for a
            linear network the change in age if the whole brain is replaced. Of a SmoothGrad map the sum over voxels:
            the change in age per unit by which the whole brain gets brighter.
    """

    values: Floats
    total: float


@dataclass(frozen=True)
class Cubes:
    """Cubes that overlap so that each voxel of a grid lies in the same number of them.

    Attributes:
        edge: Voxels along an edge.
        step: Voxels from one cube to the next; divides ``edge``.
    """

    edge: int
    step: int

    @property
    def coverage(self) -> int:
        """Return in how many cubes each voxel lies."""
        return (self.edge // self.step) ** 3

    def boxes(self, size: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
        """Yield each cube, cut at the border of a grid of ``size`` voxels."""
        starts = [range(self.step - self.edge, side, self.step) for side in size]
        for corner in product(*starts):
            yield tuple(slice(max(0, start), start + self.edge) for start in corner)


def cubes_of(cube_mm: float, spacing_mm: float) -> Cubes:
    """Return cubes of about ``cube_mm`` that overlap by half; of a single voxel if that is as large."""
    half = round(cube_mm / (2 * spacing_mm))
    return Cubes(2 * half, half) if half else Cubes(1, 1)


def fill_of(scan: Scan, fill: Fill, cubes: Cubes) -> Tensor:
    """Return what a scan's brain is replaced by where it is occluded, (X, Y, Z), 0 outside the brain."""
    image, brain = scan.image.numpy().astype(np.float64), scan.brain
    if fill == "mean":
        values = np.where(brain, image[brain].mean() if brain.any() else 0.0, 0.0)
    else:
        # Over the brain alone: the background would darken what is near it.
        sigma = cubes.edge / 2
        weight = ndimage.gaussian_filter(brain.astype(np.float64), sigma)
        values = np.where(brain, ndimage.gaussian_filter(image, sigma) / np.maximum(weight, 1e-9), 0.0)
    return torch.from_numpy(values.astype(np.float32))


def occlusion_map(age: AgeFunction, scan: Scan, fill: Tensor, cubes: Cubes, device: torch.device) -> AgeMap:
    """Return by how many years a scan's age changes with each part of its brain.

    The effect of a cube is the age of the scan minus that of the scan with the brain in this cube replaced: positive
    where the network takes the brain for older because of what is there. The map has in each voxel the mean effect of
    the cubes that cover it.

    Args:
        age: The network.
        scan: Its inputs.
        fill: What replaces the brain, (X, Y, Z).
        cubes: Size and overlap of the cubes.
        device: Where the network is.

    Source:
        Zeiler & Fergus 2014, Visualizing and Understanding Convolutional Networks, section 4.2.
    """
    brain = scan.brain
    boxes = [box for box in cubes.boxes(brain.shape) if brain[box].any()]
    total = np.zeros(brain.shape)
    effects: list[float] = []
    with torch.inference_mode():
        whole = float(age(scan.image[None, None].to(device), scan.cumulative_ml[None].to(device))[0])
        for first in range(0, len(boxes), _BATCH):
            block = boxes[first : first + _BATCH]
            images = scan.image.repeat(len(block), 1, 1, 1)
            for image, box in zip(images, block, strict=True):
                image[box] = fill[box]
            ages = age(images[:, None].to(device), scan.cumulative_ml.repeat(len(block), 1).to(device))
            effects += [whole - float(one) for one in ages.double().cpu()]
    for box, effect in zip(boxes, effects, strict=True):
        total[box] += effect
    return AgeMap(np.where(brain, total / cubes.coverage, 0.0), sum(effects) / cubes.coverage)


def smoothgrad_map(
    age: AgeFunction, scan: Scan, *, samples: int, noise: float, seed: int, device: torch.device
) -> AgeMap:
    """Return the mean gradient of a scan's age over noisy copies of it, in years per unit of scaled intensity.

    Args:
        age: The network.
        scan: Its inputs.
        samples: Number of copies; one without noise is the plain gradient.
        noise: SD of the Gaussian noise in the brain; there is none outside of it.
        seed: Of the noise, the same for each scan.
        device: Where the network is.

    Source:
        Smilkov et al. 2017, SmoothGrad: removing noise by adding noise.
    """
    random = torch.Generator().manual_seed(seed)
    brain = scan.image > 0
    total = torch.zeros(scan.image.shape, dtype=torch.float64)
    cumulative_ml = scan.cumulative_ml[None].to(device)
    for _ in range(samples):
        noisy = scan.image + noise * torch.randn(scan.image.shape, generator=random) * brain
        image = noisy[None, None].to(device).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(age(image, cumulative_ml).sum(), image)
        total += gradient[0, 0].double().cpu()
    values = np.where(brain.numpy(), total.numpy() / samples, 0.0)
    return AgeMap(values, float(values.sum()))
