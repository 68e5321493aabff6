"""Run a trained model over an image set: in batches, without gradients, in 32-bit floats, on the model's device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aekit.core.torch_settings import exact_products
from aekit.errors import AekitError, count
from aekit.images.conditioning import build_loader
from aekit.images.data.image_set import ImageSet
from aekit.images.densities import code_divergence
from aekit.images.likelihoods import pixel_mean
from aekit.images.models.base import Autoencoder

FloatArray = npt.NDArray[np.float32]

BATCH_SIZE = 500  # images, or codes, per batch
_LARGE_CODE = 1e6  # no training makes such codes; where a decoder overflows below, its weights are to blame


@dataclass(frozen=True)
class Codes:
    """The codes of an image set.

    Attributes:
        mean: Codes, or posterior means, (N, L).
        logvar: Posterior log-variances, (N, L); None for a plain autoencoder.
    """

    mean: FloatArray
    logvar: FloatArray | None


def encode_images(model: Autoencoder, image_set: ImageSet) -> Codes:
    """Return the codes of all images, in their order.

    Raises:
        AekitError: Some of them are not finite, which happens if the training diverged.
    """
    means, logvars = [], []
    with evaluation_mode(model) as device:
        for x, label in build_loader(model, image_set, device).in_order_with_classes(BATCH_SIZE):
            mean, logvar = model.posterior(x, label)
            means.append(to_numpy(mean))
            if logvar is not None:
                logvars.append(to_numpy(logvar))
    codes = Codes(np.concatenate(means), np.concatenate(logvars) if logvars else None)
    check_finite(model, "codes", codes.mean, codes.logvar)
    return codes


def decode_codes(
    model: Autoencoder,
    z: npt.NDArray[np.floating],
    noise: npt.NDArray[np.floating] | None = None,
    labels: npt.NDArray[np.int64] | None = None,
) -> FloatArray:
    """Return the mean images, float32 (N, C, H, W) in [0, 1], of codes z, (N, L).

    Args:
        model: The network.
        z: Codes.
        noise: Standard normal draws for a second layer of latent variables, (N, M); None takes its mean.
        labels: Number of the class of each, (N,), for a network that is told it.

    Raises:
        AekitError: Some of them are not finite, as codes are very large or the training diverged.
    """
    with evaluation_mode(model) as device:
        rows = _batches(z, device)
        noises = [None] * len(rows) if noise is None else _batches(noise, device)
        known = [None] * len(rows) if labels is None else torch.split(torch.from_numpy(labels).to(device), BATCH_SIZE)
        batches = zip(rows, noises, known, strict=True)
        images = np.concatenate([_pixels(model, model.decode_logits(*each)) for each in batches])
    bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
    if len(bad) and (largest := float(np.abs(z[bad[0]]).max())) > _LARGE_CODE:
        what = f"the code in row {bad[0]} (from 0), as large as {largest:g}, overflows it"
        raise AekitError(f"{model.name}: {what}; give codes like those of encode")
    check_finite(model, "decoded images", images)
    return images


def mean_divergence(model: Autoencoder, codes: Codes) -> FloatArray:
    """Return the KL divergence of each latent dimension from the prior's marginal in nats, a mean over images, (L,)."""
    assert codes.logvar is not None
    with evaluation_mode(model) as device:
        components = model.prior_components()
        rows = zip(_batches(codes.mean, device), _batches(codes.logvar, device), strict=True)
        kl = np.concatenate([to_numpy(code_divergence(*each, components)) for each in rows])
    mean: FloatArray = kl.mean(axis=0)
    return mean


def _batches(rows: npt.NDArray[np.floating], device: torch.device) -> list[Tensor]:
    split = torch.split(torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32)), BATCH_SIZE)
    return [batch.to(device) for batch in split]


def reconstruct_images(model: Autoencoder, image_set: ImageSet) -> FloatArray:
    """Return x_hat of all images from their codes or posterior means, float32 (N, C, H, W) in [0, 1].

    With two layers of latent variables it is decoded from the posterior mean of the lower one, next to the image.

    Raises:
        AekitError: Some of them are not finite, which happens if the training diverged.
    """
    with evaluation_mode(model) as device:
        loader = build_loader(model, image_set, device)
        outputs = (model(x, None, y) for x, y in loader.in_order_with_classes(BATCH_SIZE))
        images = np.concatenate([_pixels(model, each.x_hat_logits) for each in outputs])
    check_finite(model, "reconstructions", images)
    return images


def _pixels(model: Autoencoder, logits: Tensor) -> FloatArray:
    """Return mean images, NaN where a network overflows: an infinite logit would become a pixel that is just white."""
    images = pixel_mean(logits, model.config.loss)
    return to_numpy(images.masked_fill(~logits.isfinite(), math.nan))


def mean_and_error(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Return the mean of one value per image, (N,), and its standard error sd / sqrt(N), NaN for a single image."""
    exact = values.astype(np.float64)
    error = float(exact.std(ddof=1)) / math.sqrt(len(exact)) if len(exact) > 1 else math.nan
    return float(exact.mean()), error


@contextmanager
def evaluation_mode(model: Autoencoder) -> Iterator[torch.device]:
    """Yield the model's device, with the model in evaluation mode, no gradients, no autocast and exact products."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with exact_products(), torch.inference_mode(), torch.autocast(device.type, enabled=False):
            yield device
    finally:
        if was_training:  # else it was and stays in evaluation mode, with all its parts
            model.train()


def check_finite(model: Autoencoder, what: str, *arrays: npt.NDArray[np.floating] | None) -> None:
    """Raise an AekitError if a network overflows, which happens if the training diverged.

    Args:
        model: The network.
        what: What was computed, for the message.
        arrays: One or several values per image, (N, ...); None passes.
    """
    for array in arrays:
        if array is not None and not np.isfinite(array).all():
            n_bad = int((~np.isfinite(array)).reshape(len(array), -1).any(axis=1).sum())
            raise AekitError(
                f"{model.name}: its {what} are not finite for {n_bad:,} of {count(len(array), 'image')}; train it "
                "again with a lower --lr"
            )


def to_numpy(tensor: Tensor) -> FloatArray:
    """Return a tensor as a float32 array on the CPU."""
    array: FloatArray = tensor.float().cpu().numpy()
    return array
