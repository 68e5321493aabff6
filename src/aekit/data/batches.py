"""Batches of images as floats in [0, 1] from a set that lives on the device as uint8, if it fits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aekit.data.image_set import ImageSet

# A subset of a store is copied into memory up to this size; above it, its rows are read as they are needed.
MAX_COPY_BYTES = 2 * 2**30


class ImageLoader:
    """The images of a set on a device, by index.

    On the CPU the set is used where it lies, so a memory-mapped one is never read whole. To another device it is
    copied once as uint8, if that takes at most half of the memory that is free there.
    """

    def __init__(self, image_set: ImageSet, device: torch.device) -> None:
        self.image_set = image_set
        self.device = device
        self.resident: Tensor | None = None
        n_bytes = len(image_set) * int(np.prod(image_set.image_shape))
        if device.type == "cpu":
            if image_set.rows is None or n_bytes <= MAX_COPY_BYTES:
                self.resident = _as_tensor(image_set.images)
        elif n_bytes <= _free_bytes(device) // 2:
            self.resident = _as_tensor(image_set.images).to(device)

    def __len__(self) -> int:
        return len(self.image_set)

    def take(self, indices: Tensor) -> Tensor:
        """Return the images at ``indices``, (B,), as floats in [0, 1], (B, C, H, W), on the device, channels last."""
        if self.resident is not None:
            pixels = self.resident[indices]
        else:
            pixels = torch.from_numpy(self.image_set.take(indices.cpu().numpy())).to(self.device)
        return pixels.to(torch.float32, memory_format=torch.channels_last).div_(255)

    def in_order(self, batch_size: int) -> Iterator[Tensor]:
        """Yield all images once, in order, ``batch_size`` at a time; the last batch may be smaller."""
        for indices in torch.split(torch.arange(len(self), device=self.device), batch_size):
            yield self.take(indices)


def _as_tensor(pixels: npt.NDArray[np.uint8]) -> Tensor:
    with warnings.catch_warnings():  # torch warns that a read-only memory map could be written to; nothing here does
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(pixels)


def _free_bytes(device: torch.device) -> int:
    # Apple's GPU shares the machine's memory, and torch does not say what is free of it.
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 2 * MAX_COPY_BYTES


def epoch_order(n_images: int, n_samples: int, seed: int, epoch: int) -> Tensor:
    """Return which images an epoch trains on, (n_samples,), in a random order.

    Epochs are cut from an endless row of shuffles of the whole set, so no image comes again before all have come.

    Args:
        n_images: Size of the set.
        n_samples: Images an epoch; ``n_images`` makes every epoch one shuffle.
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
    """
    start, stop = epoch * n_samples, (epoch + 1) * n_samples
    parts = []
    for shuffle in range(start // n_images, (stop - 1) // n_images + 1):
        # PCG64 streams of a seed sequence are independent, and do not depend on torch's version.
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, shuffle])))
        first = shuffle * n_images
        parts.append(generator.permutation(n_images)[max(start - first, 0) : max(stop - first, 0)])
    return torch.from_numpy(np.concatenate(parts))


def epoch_mirrored(n_samples: int, seed: int, epoch: int) -> Tensor:
    """Return which images of an epoch's order are turned left to right, (n_samples,), half of them, as booleans."""
    # The third number keeps this stream apart from those of the shuffles.
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, 1])))
    return torch.from_numpy(generator.permutation(n_samples) < n_samples // 2)


def mirror(images: Tensor, which: Tensor) -> Tensor:
    """Return images, (B, C, H, W), of which those that are marked in ``which``, (B,), are turned left to right."""
    return torch.where(which[:, None, None, None], images.flip(3), images)


def split_batches(order: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Return an epoch's order cut into batches; the last may be smaller.

    A last batch of one image joins the one before: batch norm has no spread to divide by in it.
    """
    batches = list(torch.split(order, batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        tail = batches.pop()
        batches[-1] = torch.cat([batches[-1], tail])
    return tuple(batches)
