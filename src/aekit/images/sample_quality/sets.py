"""The images that are compared with held-out ones: samples, reconstructions, training images, draws of a Gaussian."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aekit.images.code_density import fit_density
from aekit.images.conditioning import class_numbers
from aekit.images.config import Density
from aekit.images.data.image_set import ImageSet
from aekit.images.inference import BATCH_SIZE, FloatArray, decode_codes, reconstruct_images
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.principal_components import Pca
from aekit.images.prior import lower_noise
from aekit.images.sample_quality.features import FeatureSpace
from aekit.images.sample_quality.request import SampleQualityRequest
from aekit.images.session import Session

Floats = npt.NDArray[np.float64]
Blocks = Iterator[FloatArray]  # images, (B, C, H, W) in [0, 1]

N_SHOWN = 16


class Mapped(NamedTuple):
    """Images in each feature space.

    Attributes:
        features: One array per space, (N, D).
        shown: Some of the images, evenly spaced, (16, C, H, W).
    """

    features: list[Floats]
    shown: FloatArray


def map_blocks(blocks: Blocks, n: int, spaces: Sequence[FeatureSpace]) -> Mapped:
    """Return the features of n images that come block by block, so that no more of them are in memory at once."""
    parts: list[list[Floats]] = [[] for _ in spaces]
    shown: list[FloatArray] = []
    wanted = np.linspace(0, n - 1, min(N_SHOWN, n)).round().astype(np.int64)  # sets may be sorted
    start = 0
    for block in blocks:
        for own, space in zip(parts, spaces, strict=True):
            own.append(space.extract(block))
        shown.append(block[wanted[(wanted >= start) & (wanted < start + len(block))] - start])
        start += len(block)
    return Mapped([np.concatenate(own) for own in parts], np.concatenate(shown))


def image_blocks(images: ImageSet) -> Blocks:
    """Yield images as they are."""
    for rows in _batches(len(images)):
        yield images.take(rows).astype(np.float32) / np.float32(255)


def reconstructed_blocks(checkpoint: LoadedCheckpoint, images: ImageSet) -> Blocks:
    """Yield the reconstructions of images."""
    for rows in _batches(len(images)):
        yield reconstruct_images(checkpoint.model, images.subset(rows))


def sampled_blocks(
    session: Session, checkpoint: LoadedCheckpoint, density: Density, n: int, request: SampleQualityRequest
) -> Blocks:
    """Yield the mean images of n samples; those of a model that is told the class are of the training's classes."""
    fitted = fit_density(session, checkpoint, density, n_components=request.gaussians, seed=request.seed)
    z = fitted.draw(n, request.seed)
    noise = lower_noise(checkpoint.record.model, n, seed=request.seed)
    labels = None
    if checkpoint.model.classes is not None:
        known = class_numbers(checkpoint.model, session.images(checkpoint, "train"))
        assert known is not None
        labels = known[np.random.default_rng([request.seed, 7]).integers(len(known), size=n)]
    for rows in _batches(n):
        own = None if noise is None else noise[rows]
        yield decode_codes(checkpoint.model, z[rows], own, None if labels is None else labels[rows])


def gaussian_blocks(pca: Pca, shape: tuple[int, int, int], n: int, *, seed: int) -> Blocks:
    """Yield images drawn from a Gaussian with the mean and the principal components of training images."""
    generator = np.random.default_rng([seed, 8])
    deviations = np.sqrt(np.maximum(pca.variance, 0.0))
    for rows in _batches(n):
        codes = generator.standard_normal((len(rows), len(deviations))) * deviations
        yield np.clip(pca.decode(codes), 0.0, 1.0).astype(np.float32).reshape(len(rows), *shape)


def _batches(n: int) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, n, BATCH_SIZE):
        yield np.arange(start, min(start + BATCH_SIZE, n))
