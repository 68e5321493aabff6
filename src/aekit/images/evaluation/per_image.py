"""Losses and image quality of a model on each image of a set, and the use of its latent dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aekit.images.data.batches import ImageLoader
from aekit.images.data.image_set import ImageSet
from aekit.images.evaluation.metrics import METRICS
from aekit.images.inference import BATCH_SIZE, FloatArray, check_finite, evaluation_mode, to_numpy
from aekit.images.latent import active_units
from aekit.images.models.base import Autoencoder
from aekit.images.objectives import kl_per_dimension, pixel_mean, reconstruction_loss

# Noise is drawn for this many images at a time, whatever the batch size. Training does the same for its held-out
# images, so an evaluation with the seed of a run repeats the numbers that the run ended with.
NOISE_BLOCK = 500


@dataclass(frozen=True)
class Evaluation:
    """How well a model does on each image of a set, and what each latent dimension carries.

    ``reconstruction``, ``kl`` and ``total`` are the training loss: with a ``seed`` the reconstruction is that of
    one sample z of the posterior, an unbiased estimate of its expectation. The metrics compare the image with the
    decoded posterior mean, the reconstruction that is shown; noise in z would only blur them.

    Attributes:
        reconstruction: -log p(x | z) in nats, or the loss of an autoencoder, (N,).
        kl: KL divergence of the posterior from the prior in nats, (N,); None for a plain autoencoder.
        total: reconstruction + beta * kl, (N,).
        metrics: Each of :data:`aekit.images.evaluation.metrics.METRICS` by its name, (N,).
        kl_per_dimension: KL divergence of each latent dimension in nats, averaged over images, (L,); None for a plain
            autoencoder.
        variance: Variance over the images of each dimension's mean code, (L,).
        active: Which dimensions are active units, bool (L,).
    """

    reconstruction: FloatArray
    kl: FloatArray | None
    total: FloatArray
    metrics: dict[str, FloatArray]
    kl_per_dimension: FloatArray | None
    variance: FloatArray
    active: npt.NDArray[np.bool_]

    @property
    def per_image(self) -> dict[str, FloatArray]:
        """Return what has one value per image, (N,), by the names of result files."""
        losses = {"total": self.total, "reconstruction": self.reconstruction, "kl": self.kl}
        return {name: values for name, values in losses.items() if values is not None} | self.metrics


def evaluate_images(model: Autoencoder, image_set: ImageSet, *, beta: float = 1.0, seed: int | None = 0) -> Evaluation:
    """Return losses and metrics of each image; the same seed gives the same numbers at any batch size.

    Args:
        model: A network for images of this shape.
        image_set: N images.
        beta: Weight of the KL divergence in the total.
        seed: Seed of the one sample of the posterior that ``reconstruction`` is measured at; None uses the posterior
            mean there as well.

    Raises:
        AekitError: Some of them are not finite, which happens if the training diverged.
    """
    columns: dict[str, list[FloatArray]] = {name: [] for name in ("reconstruction", *METRICS, "mean")}
    kl_rows: list[FloatArray] = []
    with evaluation_mode(model) as device:
        noise = None if seed is None else _noise(device, seed, len(image_set), model.config.latent)
        start = 0
        for x in ImageLoader(image_set, device).in_order(BATCH_SIZE):
            measures, kl = _evaluate_batch(model, x, None if noise is None else noise[start : start + len(x)])
            for name, values in measures.items():
                columns[name].append(to_numpy(values))
            if kl is not None:
                kl_rows.append(to_numpy(kl))
            start += len(x)
    measured = {name: np.concatenate(values) for name, values in columns.items()}
    for name, column in measured.items():
        check_finite(model, "codes" if name == "mean" else f"{name} values", column)
    check_finite(model, "KL divergences", *kl_rows)
    return _evaluation(measured, kl_rows, beta)


def _evaluate_batch(model: Autoencoder, x: Tensor, noise: Tensor | None) -> tuple[dict[str, Tensor], Tensor | None]:
    mean, logvar = model.posterior(x)
    logits = model.decode_logits(mean)
    x_hat = pixel_mean(logits, model.config.loss)
    if logvar is not None and noise is not None:
        logits = model.decode_logits(mean + torch.exp(0.5 * logvar) * noise)
    measures = {
        "reconstruction": reconstruction_loss(logits, x, model.config.loss, model.log_sigma),
        **{name: metric.function(x, x_hat) for name, metric in METRICS.items()},
        "mean": mean,
    }
    return measures, None if logvar is None else kl_per_dimension(mean, logvar)


def _evaluation(columns: dict[str, FloatArray], kl_rows: list[FloatArray], beta: float) -> Evaluation:
    means, reconstruction = columns.pop("mean"), columns.pop("reconstruction")
    kl = np.concatenate(kl_rows) if kl_rows else None  # (N, L)
    kl_per_image = None if kl is None else kl.sum(axis=1)
    total = reconstruction if kl_per_image is None else reconstruction + beta * kl_per_image
    return Evaluation(
        reconstruction=reconstruction,
        kl=kl_per_image,
        total=total.astype(np.float32),
        metrics=columns,
        kl_per_dimension=None if kl is None else kl.mean(axis=0, dtype=np.float64).astype(np.float32),
        variance=means.var(axis=0, dtype=np.float64).astype(np.float32),
        active=active_units(means),
    )


def _noise(device: torch.device, seed: int, n_images: int, latent: int) -> Tensor:
    generator = torch.Generator(device).manual_seed(seed)
    sizes = [min(NOISE_BLOCK, n_images - start) for start in range(0, n_images, NOISE_BLOCK)]
    return torch.cat([torch.randn(size, latent, generator=generator, device=device) for size in sizes])
