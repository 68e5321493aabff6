"""Losses: tensors in, one value per example (B,) out, in nats unless the name says otherwise; no state."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from aekit.images.config import Loss


class Terms(NamedTuple):
    """What an image costs, one value per example (B,): see :func:`loss_terms`."""

    reconstruction: Tensor
    kl: Tensor
    mse: Tensor


# Pixels are multiples of 1/255, so a Gaussian narrower than one such step would earn likelihood by rounding alone.
MIN_LOG_SIGMA = -math.log(255)


def loss_terms(
    x: Tensor,
    x_hat_logits: Tensor,
    mean: Tensor,
    logvar: Tensor | None,
    *,
    loss: Loss,
    log_sigma: Tensor | None = None,
) -> Terms:
    """Return reconstruction and KL in nats (the reconstruction as a mean square for ``mse``) and the squared error.

    Args:
        x: Images in [0, 1], (B, C, H, W).
        x_hat_logits: Decoder output, (B, C, H, W).
        mean: Codes or posterior means, (B, L).
        logvar: Posterior log-variances, (B, L); None for a plain autoencoder, whose KL is zero here.
        loss: How logits are read.
        log_sigma: Log of the pixel noise, for ``gaussian``.

    Returns:
        Three tensors (B,); ``mse`` is the mean over pixels and channels of the squared error of the mean image, and
        carries no gradient.
    """
    # Under bf16 autocast the logits come in eight bits of precision; the sums over pixels need all of fp32.
    x_hat_logits, mean = x_hat_logits.float(), mean.float()
    kl = mean.new_zeros(len(mean)) if logvar is None else kl_divergence(mean, logvar.float())
    reconstruction = reconstruction_loss(x_hat_logits, x, loss, log_sigma)
    with torch.no_grad():
        mse = (pixel_mean(x_hat_logits, loss) - x).square().flatten(1).mean(1)
    return Terms(reconstruction, kl, mse)


def reconstruction_loss(x_hat_logits: Tensor, x: Tensor, loss: Loss, log_sigma: Tensor | None = None) -> Tensor:
    """Return how badly the logits explain the images: -log p(x | z) in nats summed over pixels, or for ``mse`` a mean.

    Args:
        x_hat_logits: Decoder output, (B, C, H, W).
        x: Images in [0, 1], (B, C, H, W).
        loss: ``bernoulli``: cross-entropy with grey pixels as probabilities. ``continuous-bernoulli``: the same with
            the density's normaliser. ``gaussian``: mean sigmoid(logits), one standard deviation for all pixels.
            ``mse``: squared error of sigmoid(logits), averaged over pixels and channels.
        log_sigma: Log of the standard deviation, a scalar; needed for ``gaussian`` and bounded below by 1/255.

    Returns:
        One value per example, (B,).

    Source:
        Continuous Bernoulli: Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845. One learned standard deviation:
        Rybkin et al. 2021, arXiv:2006.13202.
    """
    if loss == "bernoulli":
        return _bernoulli(x_hat_logits, x)
    if loss == "continuous-bernoulli":
        return _bernoulli(x_hat_logits, x) - continuous_bernoulli_log_normaliser(x_hat_logits).flatten(1).sum(1)
    squared_error = (torch.sigmoid(x_hat_logits) - x).square().flatten(1)
    if loss == "mse":
        return squared_error.mean(1)
    if log_sigma is None:
        raise ValueError("the gaussian likelihood needs log_sigma")
    log_sigma = log_sigma.clamp(min=MIN_LOG_SIGMA)
    constant = squared_error.shape[1] * (log_sigma + 0.5 * math.log(2 * math.pi))
    return 0.5 * squared_error.sum(1) * torch.exp(-2 * log_sigma) + constant


def _bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def continuous_bernoulli_log_normaliser(logits: Tensor) -> Tensor:
    """Return log C of the continuous Bernoulli density C p^x (1 - p)^(1 - x) with p = sigmoid(logits), elementwise.

    With t the logit, C = t / tanh(t / 2), and C(0) = 2.

    Source:
        Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845, equation 6, rewritten with 2 artanh(1 - 2p) = -t.
    """
    small = logits.abs() < 0.1
    t = torch.where(small, torch.ones_like(logits), logits)  # keeps 0 / 0 out of the gradient of the branch not taken
    exact = torch.log(t / torch.tanh(0.5 * t))
    series = math.log(2.0) + logits.square() / 12 - logits.pow(4) * (7 / 1440)
    return torch.where(small, series, exact)


def pixel_mean(logits: Tensor, loss: Loss) -> Tensor:
    """Return the mean pixel values in [0, 1] of the decoder's distribution, of the shape of ``logits``.

    It is sigmoid(logits), but for the continuous Bernoulli, whose mean is 1 / (1 - exp(-t)) - 1 / t for the logit t.

    Source:
        Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845, equation 8.
    """
    if loss != "continuous-bernoulli":
        return torch.sigmoid(logits)
    small = logits.abs() < 0.1
    t = torch.where(small, torch.ones_like(logits), logits)
    exact = -1 / torch.expm1(-t) - 1 / t
    return torch.where(small, 0.5 + logits / 12 - logits.pow(3) / 720, exact).clamp(0, 1)


def kl_per_dimension(mean: Tensor, logvar: Tensor) -> Tensor:
    """Return KL(N(mean, exp(logvar)) || N(0, 1)) in nats for each latent dimension, (B, L), each >= 0.

    Args:
        mean: Posterior means, (B, L).
        logvar: Posterior log-variances, (B, L).

    Source:
        Kingma & Welling 2014, arXiv:1312.6114, appendix B.
    """
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar)


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """Return KL(N(mean, diag exp(logvar)) || N(0, I)) in nats, summed over the latent dimensions, (B,), each >= 0.

    Args:
        mean: Posterior means, (B, L).
        logvar: Posterior log-variances, (B, L).

    Source:
        Kingma & Welling 2014, arXiv:1312.6114, appendix B.
    """
    return kl_per_dimension(mean, logvar).sum(1)
