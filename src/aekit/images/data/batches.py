"""Batches of images as floats in [0, 1], from a set that is on the device as uint8 if it fits, or is read ahead."""

from __future__ import annotations

import math
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aekit.images.data.image_set import ImageSet, Indices
from aekit.images.data.readahead import Pages, is_mapped, rows_per_block

# A subset of a store is copied into memory up to this size; above it, its rows are read as they are needed.
MAX_COPY_BYTES = 2 * 2**30
# Sets with more pixels are shuffled in blocks (:func:`epoch_order`). This depends on the set, not on free memory: the
# order is part of a result, and a run must be able to resume in it later or on another machine.
MAX_EXACT_BYTES = 4 * 2**30
# Number of blocks that are shuffled together; with blocks of 1 MiB, 1 GiB is in use at a time. Images of a block may be
# similar, so a good shuffle needs many blocks. MNIST sorted by class, one epoch, validation nats: exact 105.40, 1,024
# blocks of 9 images 105.28, 256 of 36 105.96, 32 of 36 106.33; over three seeds: exact 105.49, 1,024 of 9 105.49.
GROUP_BLOCKS = 1024
_DEPTH = 3  # batches to prepare ahead


class ImageLoader:
    """The images of a set on a device, by index.

    On a CPU the set is used in place. It is copied once to any other device, as uint8, if that takes at most half of
    the device's free memory. Larger sets are read as they are needed.

    Args:
        image_set: The images.
        device: Where they go.
        labels: Number of each image's class, (N,), for a network that is told it.

    Attributes:
        resident: All pixels on the device, uint8 (N, C, H, W); None if they are read as they are needed.
        blocks: For a set that is shuffled in blocks, the block of each image, (N,); else None.
        waited_s: Total time spent waiting for batches, in seconds.
    """

    def __init__(self, image_set: ImageSet, device: torch.device, labels: Indices | None = None) -> None:
        self.image_set = image_set
        self._labels = None if labels is None else torch.from_numpy(labels).to(device)
        self.device = device
        self.resident: Tensor | None = None
        self.waited_s = 0.0
        n_bytes = len(image_set) * math.prod(image_set.image_shape)
        rows = image_set.rows if image_set.rows is not None else np.arange(len(image_set))
        self.blocks = rows // rows_per_block(image_set.store) if n_bytes > MAX_EXACT_BYTES else None
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        if device.type == "cpu":
            if n_bytes <= MAX_COPY_BYTES or (image_set.rows is None and not is_mapped(image_set.store)):
                self.resident = _as_tensor(image_set.images)
        elif n_bytes <= _free_bytes(device) // 2:
            self.resident = self._uploaded()

    def __len__(self) -> int:
        return len(self.image_set)

    def take(self, indices: Tensor) -> Tensor:
        """Return the images at ``indices``, (B,), as floats in [0, 1], (B, C, H, W), on the device, channels last."""
        if self.resident is not None:
            return _as_floats(self.resident[indices])
        return _as_floats(torch.from_numpy(self.image_set.take(indices.cpu().numpy())).to(self.device))

    def classes(self, indices: Tensor) -> Tensor | None:
        """Return the numbers of the classes of the images at ``indices``, (B,); None for a network that takes none."""
        return None if self._labels is None else self._labels[indices.to(self.device)]

    def batches(self, indices: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield the result of :meth:`take` for each (B,) of ``indices``, prepared ahead by a thread.

        The thread ends with the iterator, and its exceptions are raised here.
        """
        if self.resident is not None:
            yield from map(self.take, indices)
        else:
            for pixels in self._read_ahead(indices):
                # On a CPU the thread has converted them to floats; a GPU is faster at this itself.
                yield pixels if self.device.type == "cpu" else _as_floats(pixels)

    def in_order(self, batch_size: int) -> Iterator[Tensor]:
        """Yield all images once, in order, ``batch_size`` at a time; the last batch may be smaller."""
        return self.batches(self._spans(batch_size))

    def in_order_with_classes(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield all images as :meth:`in_order` does, with the result of :meth:`classes` for each batch."""
        spans = self._spans(batch_size)
        yield from zip(self.batches(spans), map(self.classes, spans), strict=True)

    def _spans(self, batch_size: int) -> tuple[Tensor, ...]:
        return torch.split(torch.arange(len(self), device=self.device), batch_size)

    def _read_ahead(self, indices: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield pixels on the device: floats on the CPU, else uint8."""
        if not indices:
            return
        flat = torch.cat(tuple(indices)).cpu().numpy()
        upcoming = iter(np.split(flat, np.cumsum([len(each) for each in indices])[:-1]))
        rows = flat if self.image_set.rows is None else self.image_set.rows[flat]
        pages = Pages(self.image_set.store, rows)
        # Each operator on this one thread: all others belong to the network.
        reader = ThreadPoolExecutor(1, "batches", initializer=torch.set_num_threads, initargs=(1,))
        ahead: deque[Future[tuple[Tensor, torch.Event | None]]] = deque()
        n_taken = 0
        try:
            while True:
                ahead.extend(reader.submit(self._load, each) for each in islice(upcoming, _DEPTH - len(ahead)))
                if not ahead:
                    return
                pages.advance(n_taken)
                started = time.perf_counter()
                pixels, copied = ahead.popleft().result()
                self.waited_s += time.perf_counter() - started
                n_taken += len(pixels)
                if copied is not None:
                    stream = torch.cuda.current_stream(self.device)
                    stream.wait_event(copied)
                    pixels.record_stream(stream)
                elif self.device.type != "cpu":
                    pixels = pixels.to(self.device)
                yield pixels
        finally:
            reader.shutdown(cancel_futures=True)
            pages.close()

    def _load(self, indices: Indices) -> tuple[Tensor, torch.Event | None]:
        """Return pixels, and for CUDA the event that marks their arrival on the device."""
        pixels = torch.from_numpy(self.image_set.take(indices))
        if self._copies is not None:
            with torch.cuda.stream(self._copies):
                return pixels.pin_memory().to(self.device, non_blocking=True), self._copies.record_event()
        return (_as_floats(pixels) if self.device.type == "cpu" else pixels), None

    def _uploaded(self) -> Tensor:
        # In pieces: the machine may have less free memory than its GPU.
        pixels = torch.empty((len(self), *self.image_set.image_shape), dtype=torch.uint8, device=self.device)
        start = 0
        for piece in self._read_ahead(torch.split(torch.arange(len(self)), rows_per_block(self.image_set.store))):
            pixels[start : start + len(piece)] = piece
            start += len(piece)
        return pixels


def _as_floats(pixels: Tensor) -> Tensor:
    return pixels.to(torch.float32, memory_format=torch.channels_last).div_(255)


def _as_tensor(pixels: npt.NDArray[np.uint8]) -> Tensor:
    with warnings.catch_warnings():  # PyTorch warns that a read-only memory map could be written to; it is not
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(pixels)


def _free_bytes(device: torch.device) -> int:
    # Apple's GPU shares the machine's memory, and PyTorch does not report how much of it is free.
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 2 * MAX_COPY_BYTES


def epoch_order(n_images: int, n_samples: int, seed: int, epoch: int, *, blocks: Indices | None = None) -> Tensor:
    """Return which images an epoch trains on, (n_samples,), in a random order.

    Epochs are cut from an endless sequence of shuffles of the whole set, so no image recurs before all have been drawn.

    A set that does not fit into memory is shuffled in blocks, so that a disk can keep up: blocks of consecutive images
    are assigned at random to groups of up to :data:`GROUP_BLOCKS`, and the images of each group are shuffled.

    Args:
        n_images: Size of the set.
        n_samples: Images per epoch; ``n_images`` makes every epoch one shuffle.
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
        blocks: Number of the block of each image, (n_images,); None shuffles single images.
    """
    start, stop = epoch * n_samples, (epoch + 1) * n_samples
    parts = []
    for shuffle in range(start // n_images, (stop - 1) // n_images + 1):
        # PCG64 streams of a seed sequence are independent, and do not depend on torch's version.
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, shuffle])))
        order = generator.permutation(n_images)
        if blocks is not None:
            order = order[np.argsort(_group_of_each(blocks, generator)[order], kind="stable")]
        first = shuffle * n_images
        parts.append(order[max(start - first, 0) : max(stop - first, 0)])
    return torch.from_numpy(np.concatenate(parts))


def _group_of_each(blocks: Indices, generator: np.random.Generator) -> Indices:
    numbers, block = np.unique(blocks, return_inverse=True)
    n_groups = math.ceil(len(numbers) / GROUP_BLOCKS)
    # Groups of equal size: a last group of few blocks would have batches of neighbouring images.
    group: Indices = generator.permutation(len(numbers))[block] * n_groups // len(numbers)
    return group


def epoch_mirrored(n_samples: int, seed: int, epoch: int) -> Tensor:
    """Return which images of an epoch's order are flipped horizontally, bool (n_samples,): half of them."""
    # The third number separates this stream from those of the shuffles.
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, 1])))
    return torch.from_numpy(generator.permutation(n_samples) < n_samples // 2)


def mirror(images: Tensor, which: Tensor) -> Tensor:
    """Return images, (B, C, H, W), of which those marked in ``which``, (B,), are flipped horizontally."""
    return torch.where(which[:, None, None, None], images.flip(3), images)


def split_batches(order: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Return an epoch's order split into batches; the last may be smaller.

    A last batch of one image is merged with the one before: batch norm has no variance to divide by there.
    """
    batches = list(torch.split(order, batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        tail = batches.pop()
        batches[-1] = torch.cat([batches[-1], tail])
    return tuple(batches)


def n_batches(n_images: int, batch_size: int) -> int:
    """Return the number of batches that :func:`split_batches` makes of ``n_images``."""
    n_full, n_left = divmod(n_images, batch_size)
    n_merged = int(batch_size == 1)  # its last batch always is one image
    return max(n_full + (n_left > 1) - n_merged, 1)
