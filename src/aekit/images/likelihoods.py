"""What the decoder's logits mean: the likelihood of pixels, and their mean.

Losses take tensors and return one value per image or row, in nats unless the name says otherwise.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from aekit.images.bernoulli import cross_entropy
from aekit.images.config import Loss

# Pixels are multiples of 1/255, so a Gaussian narrower than one such step would gain likelihood from rounding alone.
MIN_LOG_SIGMA = -math.log(255)
# All but 1e-6 of a logistic distribution of this scale lie within one step of 1/255; no narrower one is needed.
MIN_LOG_SCALE = -math.log(255 * 14)


def reconstruction_loss(x_hat_logits: Tensor, x: Tensor, loss: Loss, log_sigma: Tensor | None = None) -> Tensor:
    """Return the reconstruction loss: -log p(x | z) in nats, summed over pixels, or for ``mse`` a mean over pixels.

    Args:
        x_hat_logits: Decoder output in any precision, (R, C, H, W): R / B rows for each image, image by image.
        x: Images in [0, 1], (B, C, H, W).
        loss: ``bernoulli``: cross-entropy with grey pixels as probabilities. ``continuous-bernoulli``: the same with
            the density's normaliser. ``gaussian``: mean sigmoid(logits), one standard deviation for all pixels.
            ``logistic``: probability of each of the 256 values under a logistic distribution about sigmoid(logits),
            cut into steps of 1/255, with all that lies beyond at the ends, and one scale for all pixels.
            ``mse``: squared error of sigmoid(logits), averaged over pixels and channels.
        log_sigma: Log of the standard deviation, a scalar; needed for ``gaussian`` and bounded below by 1/255. Log of
            the scale for ``logistic``.

    Returns:
        One value per row, (R,).

    Source:
        Continuous Bernoulli: Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845. One learned standard deviation:
        Rybkin et al. 2021, arXiv:2006.13202. Discretised logistic: Kingma et al. 2016, arXiv:1606.04934.
    """
    if loss == "bernoulli":
        return cross_entropy(x_hat_logits, x)
    # Under bf16 autocast the logits come in eight bits of precision; the sums over pixels need all of fp32.
    x_hat_logits = x_hat_logits.to(torch.promote_types(x_hat_logits.dtype, torch.float32))
    if loss == "continuous-bernoulli":
        return cross_entropy(x_hat_logits, x) - continuous_bernoulli_log_normaliser(x_hat_logits).flatten(1).sum(1)
    x = x.repeat_interleave(len(x_hat_logits) // len(x), 0) if len(x_hat_logits) != len(x) else x
    squared_error = (torch.sigmoid(x_hat_logits) - x).square().flatten(1)
    if loss == "mse":
        return squared_error.mean(1)
    if log_sigma is None:
        raise ValueError(f"the {loss} likelihood needs log_sigma")
    if loss == "logistic":
        return -discretised_logistic(torch.sigmoid(x_hat_logits), x, log_sigma).flatten(1).sum(1)
    log_sigma = log_sigma.clamp(min=MIN_LOG_SIGMA)
    constant = squared_error.shape[1] * (log_sigma + 0.5 * math.log(2 * math.pi))
    return 0.5 * squared_error.sum(1) * torch.exp(-2 * log_sigma) + constant


def discretised_logistic(mean: Tensor, x: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log probability of values x, multiples of 1/255 in [0, 1], in nats, elementwise.

    The probabilities of the 256 values add up to one: 0 has all below it, 1 all above.

    Args:
        mean: Centres of the logistic distributions, in [0, 1], of the shape of x.
        x: Values.
        log_scale: Log of the scale, a scalar.

    Source:
        Kingma et al. 2016, arXiv:1606.04934, section 5.2.
    """
    scale = torch.exp(log_scale.clamp(min=MIN_LOG_SCALE))
    half = 0.5 / 255
    upper, lower = (x + half - mean) / scale, (x - half - mean) / scale
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), of which no term is rounded to 0
    inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-2 * half / scale))
    at_ends = torch.where(x < half, F.logsigmoid(upper), F.logsigmoid(-lower))
    return torch.where((x < half) | (x > 1 - half), at_ends, inside)


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
