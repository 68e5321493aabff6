"""Run a trained model over an image set: in batches, without gradients, in 32-bit floats, on the model's device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aekit.errors import AekitError
from aekit.images.data.batches import ImageLoader
from aekit.images.data.image_set import ImageSet
from aekit.images.latent import active_units
from aekit.images.models.base import Autoencoder
from aekit.images.objectives import kl_per_dimension, pixel_mean, reconstruction_loss
from aekit.images.quality import psnr, ssim

FloatArray = npt.NDArray[np.float32]
OnBatch = Callable[[int], object]

BATCH_SIZE = 500
# Noise is drawn for so many images at a time, whatever the batch size: as training does for its held-out images, so
# that an evaluation with the seed of a run repeats the numbers that the run ended with.
NOISE_BLOCK = 500
# Decoder rows at a time for the importance-weighted bound, fewer if the images are large: 2,048 images of 28 x 28
# fill the cache of a CPU, and 2^24 pixels are 64 MB a tensor.
MAX_ROWS = 2048
MAX_PIXELS = 2**24


@dataclass(frozen=True)
class Codes:
    """What an encoder makes of an image set.

    Attributes:
        mean: Codes, or posterior means, (N, L).
        logvar: Posterior log-variances, (N, L); None for a plain autoencoder.
    """

    mean: FloatArray
    logvar: FloatArray | None


@dataclass(frozen=True)
class Evaluation:
    """How well a model does on each image of a set, and what each latent dimension carries.

    ``reconstruction``, ``kl`` and ``total`` make up the training loss: with a ``seed`` the reconstruction is that of
    one sample z of the posterior, an unbiased estimate of its expectation. ``mse``, ``psnr`` and ``ssim`` compare the
    image with the decoded posterior mean, the reconstruction that one would look at; noise in z would only blur them.

    Attributes:
        reconstruction: -log p(x | z) in nats, or the loss of an autoencoder, (N,).
        kl: KL divergence of the posterior from the prior in nats, (N,); None for a plain autoencoder.
        total: reconstruction + beta * kl, (N,).
        mse: Mean squared error over pixels and channels, (N,).
        psnr: Peak signal-to-noise ratio in dB, (N,).
        ssim: Structural similarity, (N,).
        kl_per_dimension: KL divergence of each latent dimension in nats, averaged over images, (L,); None likewise.
        variance: Variance over the images of each dimension's mean code, (L,).
        active: Which dimensions are active units, bool (L,).
    """

    reconstruction: FloatArray
    kl: FloatArray | None
    total: FloatArray
    mse: FloatArray
    psnr: FloatArray
    ssim: FloatArray
    kl_per_dimension: FloatArray | None
    variance: FloatArray
    active: npt.NDArray[np.bool_]


def encode_images(
    model: Autoencoder, image_set: ImageSet, *, batch_size: int = BATCH_SIZE, on_batch: OnBatch | None = None
) -> Codes:
    """Return the codes of all images, in their order.

    Args:
        model: A network for images of this shape.
        image_set: N images.
        batch_size: Images at a time.
        on_batch: Called after each batch with the number of images in it.

    Raises:
        AekitError: Some of them are not finite, as those of a model whose training diverged.
    """
    means, logvars = [], []
    with _inference(model) as device:
        for x in ImageLoader(image_set, device).in_order(batch_size):
            mean, logvar = model.posterior(x)
            means.append(_to_numpy(mean))
            if logvar is not None:
                logvars.append(_to_numpy(logvar))
            if on_batch is not None:
                on_batch(len(x))
    codes = Codes(np.concatenate(means), np.concatenate(logvars) if logvars else None)
    _refuse_infinite(model, "codes", codes.mean, codes.logvar)
    return codes


def decode_codes(model: Autoencoder, z: npt.NDArray[np.floating], *, batch_size: int = BATCH_SIZE) -> FloatArray:
    """Return the mean images, float32 (N, C, H, W) in [0, 1], of codes z, (N, L).

    Args:
        model: A network with L latent dimensions.
        z: Codes.
        batch_size: Codes at a time.

    Raises:
        AekitError: Some of them are not finite, as those of a model whose training diverged.
    """
    with _inference(model) as device:
        rows = torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32))
        batches = torch.split(rows, batch_size)
        images = np.concatenate([_to_numpy(model.decode(batch.to(device))) for batch in batches])
    _refuse_infinite(model, "decoded images", images)
    return images


def reconstruct_images(
    model: Autoencoder, image_set: ImageSet, *, batch_size: int = BATCH_SIZE, on_batch: OnBatch | None = None
) -> FloatArray:
    """Return x_hat of all images from their codes or posterior means, float32 (N, C, H, W) in [0, 1].

    Args:
        model: A network for images of this shape.
        image_set: N images.
        batch_size: Images at a time.
        on_batch: Called after each batch with the number of images in it.

    Raises:
        AekitError: Some of them are not finite, as those of a model whose training diverged.
    """
    x_hat = []
    with _inference(model) as device:
        for x in ImageLoader(image_set, device).in_order(batch_size):
            x_hat.append(_to_numpy(model.decode(model.encode(x))))
            if on_batch is not None:
                on_batch(len(x))
    images = np.concatenate(x_hat)
    _refuse_infinite(model, "reconstructions", images)
    return images


def evaluate_images(
    model: Autoencoder,
    image_set: ImageSet,
    *,
    beta: float = 1.0,
    seed: int | None = 0,
    batch_size: int = BATCH_SIZE,
    on_batch: OnBatch | None = None,
) -> Evaluation:
    """Return losses and image quality of each image; the same seed gives the same numbers at any batch size.

    Args:
        model: A network for images of this shape.
        image_set: N images.
        beta: Weight of the KL divergence in the total.
        seed: Seed of the one sample of the posterior that ``reconstruction`` is measured at; None takes the posterior
            mean there as well.
        batch_size: Images at a time.
        on_batch: Called after each batch with the number of images in it.

    Raises:
        AekitError: Some of them are not finite, as those of a model whose training diverged.
    """
    columns: dict[str, list[FloatArray]] = {name: [] for name in ("reconstruction", "mse", "psnr", "ssim", "mean")}
    kl_rows: list[FloatArray] = []
    with _inference(model) as device:
        noise = None if seed is None else _noise(device, seed, len(image_set), model.config.latent)
        start = 0
        for x in ImageLoader(image_set, device).in_order(batch_size):
            measures, kl = _evaluate_batch(model, x, None if noise is None else noise[start : start + len(x)])
            for name, values in measures.items():
                columns[name].append(_to_numpy(values))
            if kl is not None:
                kl_rows.append(_to_numpy(kl))
            start += len(x)
            if on_batch is not None:
                on_batch(len(x))
    measured = {name: np.concatenate(values) for name, values in columns.items()}
    for name, column in measured.items():
        _refuse_infinite(model, "codes" if name == "mean" else f"{name} values", column)
    _refuse_infinite(model, "KL divergences", *kl_rows)
    return _evaluation(measured, kl_rows, beta)


def _evaluate_batch(model: Autoencoder, x: Tensor, noise: Tensor | None) -> tuple[dict[str, Tensor], Tensor | None]:
    mean, logvar = model.posterior(x)
    logits = model.decode_logits(mean)
    x_hat = pixel_mean(logits, model.config.loss)
    if logvar is not None and noise is not None:
        logits = model.decode_logits(mean + torch.exp(0.5 * logvar) * noise)
    measures = {
        "reconstruction": reconstruction_loss(logits, x, model.config.loss, model.log_sigma),
        "mse": (x - x_hat).square().flatten(1).mean(1),
        "psnr": psnr(x, x_hat),
        "ssim": ssim(x, x_hat),
        "mean": mean,
    }
    return measures, None if logvar is None else kl_per_dimension(mean, logvar)


def _evaluation(columns: dict[str, FloatArray], kl_rows: list[FloatArray], beta: float) -> Evaluation:
    means = columns.pop("mean")
    kl = np.concatenate(kl_rows) if kl_rows else None  # (N, L)
    kl_per_image = None if kl is None else kl.sum(axis=1)
    total = columns["reconstruction"] if kl_per_image is None else columns["reconstruction"] + beta * kl_per_image
    return Evaluation(
        **columns,
        kl=kl_per_image,
        total=total.astype(np.float32),
        kl_per_dimension=None if kl is None else kl.mean(axis=0, dtype=np.float64).astype(np.float32),
        variance=means.var(axis=0, dtype=np.float64).astype(np.float32),
        active=active_units(means),
    )


def mean_and_error(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Return the mean of one value an image, (N,), and its standard error sd / sqrt(N), NaN for a single image."""
    exact = values.astype(np.float64)
    error = float(exact.std(ddof=1)) / math.sqrt(len(exact)) if len(exact) > 1 else math.nan
    return float(exact.mean()), error


def importance_bound(
    model: Autoencoder,
    image_set: ImageSet,
    *,
    n_samples: int,
    seed: int = 0,
    max_rows: int = MAX_ROWS,
    on_batch: OnBatch | None = None,
) -> npt.NDArray[np.float64]:
    """Return the importance-weighted lower bound on log p(x) of each image in nats, (N,).

    It is log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x) with z_k drawn from q(z | x): for K = 1 the evidence lower bound,
    and its expectation rises towards log p(x) with K. Each image has noise of its own, drawn at one go, so that the
    same seed gives the same numbers however images and samples are batched.

    Args:
        model: A variational autoencoder for images of this shape.
        image_set: N images.
        n_samples: Samples an image, K.
        seed: Seed of the samples.
        max_rows: Samples that are decoded at a time, over all images of a batch.
        on_batch: Called after each batch with the number of images in it.

    Raises:
        AekitError: Some of them are not finite.

    Source:
        Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, section 3.
    """
    max_rows = max(1, min(max_rows, MAX_PIXELS // math.prod(image_set.image_shape)))
    bounds = []
    with _inference(model) as device:
        generator = torch.Generator(device).manual_seed(seed)
        for x in ImageLoader(image_set, device).in_order(max(1, max_rows // n_samples)):
            draws = [torch.randn(n_samples, model.config.latent, generator=generator, device=device) for _ in x]
            log_weights = _log_weights(model, x, torch.stack(draws), max_rows)
            bounds.append(torch.logsumexp(log_weights, dim=1) - math.log(n_samples))
            if on_batch is not None:
                on_batch(len(x))
    bound: npt.NDArray[np.float64] = torch.cat(bounds).numpy()
    _refuse_infinite(model, "bounds", bound)
    return bound


def _log_weights(model: Autoencoder, x: Tensor, noise: Tensor, max_rows: int) -> Tensor:
    """Return log p(x | z_k) + log p(z_k) - log q(z_k | x), float64 (B, K) on the CPU, for noise (B, K, L)."""
    mean, logvar = model.posterior(x)
    if logvar is None:
        raise ValueError("a plain autoencoder has no p(x)")
    z = mean[:, None] + torch.exp(0.5 * logvar)[:, None] * noise  # (B, K, L)
    # The terms log 2 pi of prior and posterior cancel.
    log_ratio = 0.5 * (noise.square() + logvar[:, None] - z.square()).sum(2)
    image_of_row = torch.arange(len(x), device=x.device).repeat_interleave(noise.shape[1])
    log_likelihood = [
        -reconstruction_loss(model.decode_logits(rows), x[images], model.config.loss, model.log_sigma)
        for rows, images in zip(
            torch.split(z.flatten(0, 1), max_rows), torch.split(image_of_row, max_rows), strict=True
        )
    ]
    # Added up on the CPU in float64, which Apple's GPUs do not have.
    return torch.cat(log_likelihood).cpu().double().view(log_ratio.shape) + log_ratio.cpu().double()


@contextmanager
def _inference(model: Autoencoder) -> Iterator[torch.device]:
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            yield device
    finally:
        model.train(was_training)


def _noise(device: torch.device, seed: int, n_images: int, latent: int) -> Tensor:
    generator = torch.Generator(device).manual_seed(seed)
    sizes = [min(NOISE_BLOCK, n_images - start) for start in range(0, n_images, NOISE_BLOCK)]
    return torch.cat([torch.randn(size, latent, generator=generator, device=device) for size in sizes])


def _refuse_infinite(model: Autoencoder, what: str, *arrays: npt.NDArray[np.floating] | None) -> None:
    """Refuse results, one or several values an image, of a network that overflows: a training that went wrong.

    Raises:
        AekitError: Says of how many images they are not finite.
    """
    for array in arrays:
        if array is not None and not np.isfinite(array).all():
            n_bad = int((~np.isfinite(array)).reshape(len(array), -1).any(axis=1).sum())
            raise AekitError(
                f"{model.name}: its {what} are not finite for {n_bad:,} of {len(array):,} images; train it again, with "
                "a lower --lr"
            )


def _to_numpy(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.float().cpu().numpy()
    return array
