"""The importance-weighted bound: of log p(x), or of what training maximises where that is not a log density."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aekit.core.progress import SILENT, Progress
from aekit.errors import count
from aekit.images.conditioning import build_loader
from aekit.images.config import Loss
from aekit.images.data.image_set import ImageSet
from aekit.images.inference import check_finite, evaluation_mode
from aekit.images.models.base import Autoencoder
from aekit.images.objectives.iwae import log_ratio, row_losses

# Samples that are decoded at a time, over all images of a batch, and fewer if the images are large: 2,048 images of
# 28 x 28 fill the cache of a CPU, and 2^24 pixels are 64 MB per tensor.
MAX_ROWS = 2048
MAX_PIXELS = 2**24


@dataclass(frozen=True)
class ImportanceBound:
    """The importance-weighted bound of N images from K samples each.

    Attributes:
        log_p: The bound in nats, (N,).
        effective_samples: How many equally weighted samples the weights are worth, in [1, K], (N,): the square of their
            sum over the sum of their squares. Where it is near 1, one sample decides, and more of them would raise the
            bound.
    """

    log_p: npt.NDArray[np.float64]
    effective_samples: npt.NDArray[np.float64]


def importance_bound(
    model: Autoencoder, image_set: ImageSet, *, n_samples: int, seed: int = 0, progress: Progress = SILENT
) -> ImportanceBound:
    """Return the importance-weighted lower bound on log p(x) of each image in nats, and how many samples count.

    With the cross-entropy of grey pixels p(x | z) does not integrate to one, and the bound is one of the unnormalised
    objective: it compares models with the same loss and images, and with nothing else; see :func:`is_normalised`.

    It is log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x) with z_k drawn from q(z | x): for K = 1 the evidence lower bound,
    and its expectation rises towards log p(x) with K. Each image has its own noise, drawn in one call, so that the
    same seed gives the same numbers however images and samples are batched.

    Args:
        model: A variational autoencoder for images of this shape.
        image_set: N images.
        n_samples: Samples per image, K.
        seed: Seed of the samples.
        progress: Receives the number of images that are done.

    Raises:
        AekitError: Some of them are not finite.

    Source:
        Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, section 3; effective samples: Kish 1965, Survey Sampling.
    """
    max_rows = max(1, min(MAX_ROWS, MAX_PIXELS // math.prod(image_set.image_shape)))
    bounds: list[Tensor] = []
    effective: list[Tensor] = []
    n_done = 0
    with evaluation_mode(model) as device:
        generator = torch.Generator(device).manual_seed(seed)
        loader = build_loader(model, image_set, device)
        for x, label in loader.in_order_with_classes(max(1, max_rows // n_samples)):
            draws = [torch.randn(n_samples, model.n_noise, generator=generator, device=device) for _ in x]
            log_weights = _log_weights(model, x, torch.stack(draws), label, max_rows)
            log_sum = torch.logsumexp(log_weights, dim=1)
            bounds.append(log_sum - math.log(n_samples))
            effective.append(torch.exp(2 * log_sum - torch.logsumexp(2 * log_weights, dim=1)))
            n_done += len(x)
            progress.update(f"drawing {count(n_samples, 'sample')} per image", n_done, len(image_set))
    bound: npt.NDArray[np.float64] = torch.cat(bounds).numpy()
    check_finite(model, "bounds", bound)
    return ImportanceBound(bound, torch.cat(effective).numpy())


def is_normalised(loss: Loss, image_set: ImageSet) -> bool:
    """Return whether p(x | z) is a probability or a density, so that the bound is one on log p(x).

    A Bernoulli's p^x (1 - p)^(1 - x) is a probability if each pixel is 0 or 1; of grey pixels it is not a density, as
    its integral over x in [0, 1] is less than one (Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845).

    Args:
        loss: The likelihood of the pixels.
        image_set: The images.
    """
    if loss != "bernoulli":
        return loss != "mse"
    n_each = max(1, MAX_PIXELS // math.prod(image_set.image_shape))
    starts = range(0, len(image_set), n_each)
    parts = (image_set.take(np.arange(start, min(start + n_each, len(image_set)))) for start in starts)
    return all(bool(((part == 0) | (part == 255)).all()) for part in parts)


def _log_weights(model: Autoencoder, x: Tensor, noise: Tensor, label: Tensor | None, max_rows: int) -> Tensor:
    """Return log p(x | z_k) + log p(z_k) - log q(z_k | x), float64 (B, K) on the CPU, for noise (B, K, N)."""
    parts = []
    for own_noise in torch.split(noise, max(1, max_rows // len(x)), dim=1):
        output = model(x, own_noise, label)
        # Summed on the CPU in float64, which Apple's GPUs do not have.
        log_likelihood = -row_losses(model, x, output).cpu().double()
        parts.append((log_likelihood + log_ratio(output).cpu().double()).view(len(x), -1))
    return torch.cat(parts, dim=1)
