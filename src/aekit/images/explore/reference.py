"""What a page is checked on when it opens: codes with the pixels that torch decodes, images with their codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from aekit.images.conditioning import class_numbers
from aekit.images.data.image_set import ImageSet
from aekit.images.explore.network import Network, Precision, run_layers
from aekit.images.inference import decode_codes, encode_images
from aekit.images.loaded import LoadedCheckpoint

Floats = npt.NDArray[np.floating]

N_CODES = 100
MAX_PIXELS = 1024  # of each decoded code that the page compares; together they cover an image of up to 102,400 values
N_IMAGES = 8
ALLOWED = 1 / 255  # largest difference of a pixel
ALLOWED_OF_CODES = 0.01  # largest difference of a code, in standard deviations of that dimension
_MARGIN = 0.5  # of what is allowed, that rounding the weights may take


@dataclass(frozen=True)
class Reference:
    """What torch computes.

    Attributes:
        codes: Codes of images and of samples, (100, L).
        labels: Class of each, for a network that is told it, (100,); None if it is told none.
        pixels: Values that were decoded, at the places of :func:`pixel_places`, (100, P).
        images: Some images, uint8 (8, C, H, W).
        image_labels: Class of each, as ``labels``.
        image_codes: Their codes, or posterior means, (8, L).
        scale: What a difference of codes is measured by: the standard deviation of each dimension over images, or a
            tenth of the largest, and not less than a thousandth of the codes of an autoencoder, (L,).
    """

    codes: Floats
    labels: npt.NDArray[np.int64] | None
    pixels: Floats
    images: npt.NDArray[np.uint8]
    image_labels: npt.NDArray[np.int64] | None
    image_codes: Floats
    scale: Floats


def pixel_places(n_pixels: int, row: int) -> npt.NDArray[np.int64]:
    """Return which of an image's values are compared for one code, up to 1,024: others for other codes."""
    n_compared = min(n_pixels, MAX_PIXELS)
    return (np.arange(n_compared) * N_CODES + row) * n_pixels // (n_compared * N_CODES)


def build_reference(checkpoint: LoadedCheckpoint, images: ImageSet, samples: Floats, codes: Floats) -> Reference:
    """Return what torch makes of codes and images.

    Args:
        checkpoint: The model.
        images: Images of N codes.
        samples: Codes that were drawn, (50, L).
        codes: Codes of the images, (N, L).
    """
    rows = np.linspace(0, len(codes) - 1, N_CODES - len(samples)).astype(np.int64)
    chosen = np.concatenate([codes[rows], samples]).astype(np.float32)
    classes = class_numbers(checkpoint.model, images)
    labels = None if classes is None else classes[np.resize(rows, N_CODES)]
    decoded = decode_codes(checkpoint.model, chosen, labels=labels).reshape(N_CODES, -1)
    pixels = np.stack([row[pixel_places(len(row), number)] for number, row in enumerate(decoded)])
    few = np.unique(np.linspace(0, len(images) - 1, N_IMAGES).astype(np.int64))
    subset = images.subset(few)
    spread = codes.std(axis=0, dtype=np.float64)
    # Dimensions that are nearly the same for all images do not count by their own spread, which is rounding.
    smallest = 0.1 if checkpoint.record.model.has_prior else max(1e-3 * float(np.abs(codes).max()), 1e-6)
    scale = np.maximum(spread, max(0.1 * spread.max(), smallest))
    return Reference(
        chosen,
        labels,
        pixels,
        subset.images,
        None if classes is None else classes[few],
        encode_images(checkpoint.model, subset).mean,
        scale,
    )


def choose_precision(network: Network, reference: Reference) -> Precision:
    """Return how a page stores weights: in 16 bits, unless that changes pixels or codes by half of what is allowed.

    Raises:
        ValueError: With 32 bits they differ as well: the layers are not those of the model.
    """
    for precision in ("float16", "float32"):
        of_pixels, of_codes = differences(network.rounded(precision), reference)
        if of_pixels <= _MARGIN * ALLOWED and of_codes <= _MARGIN * ALLOWED_OF_CODES:
            return precision
    raise ValueError(f"the layers differ from the model by {of_pixels:.2g} in pixels and {of_codes:.2g} in codes")


def differences(network: Network, reference: Reference) -> tuple[float, float]:
    """Return the largest difference of a pixel, in [0, 1], and of a code in standard deviations; NaN on overflow."""
    of_pixels, of_codes = [], []
    with torch.inference_mode():
        for number, code in enumerate(torch.from_numpy(reference.codes)):
            decoded = run_layers(network.decoder, code[None], _label(reference.labels, number)).flatten().numpy()
            there = decoded[pixel_places(len(decoded), number)]
            of_pixels.append(np.abs(there - reference.pixels[number]).max())
        for number, image in enumerate(torch.from_numpy(reference.images)):
            features = run_layers(network.encoder, image[None].float() / 255, _label(reference.image_labels, number))
            found = run_layers(network.mean, features)[0].numpy()
            of_codes.append((np.abs(found - reference.image_codes[number]) / reference.scale).max())
    return float(np.max(of_pixels)), float(np.max(of_codes))


def _label(labels: npt.NDArray[np.int64] | None, number: int) -> int | None:
    return None if labels is None else int(labels[number])
