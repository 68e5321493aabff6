"""Densities of codes: Gaussians, mixtures of them, and divergences between the two. Logarithms are natural."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


class Components(NamedTuple):
    """A mixture of C Gaussians with diagonal covariance.

    Attributes:
        mean: Means, (C, L).
        logvar: Log-variances, (C, L).
        log_weight: Logarithms of the weights, (C,), which add up to one.
    """

    mean: Tensor
    logvar: Tensor
    log_weight: Tensor


def log_normal(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """Return log N(z; mean, exp(logvar)) elementwise, in nats; the arguments are broadcast."""
    return -0.5 * (LOG_2PI + logvar + (z - mean).square() * torch.exp(-logvar))


def log_prior(z: Tensor, components: Components | None) -> Tensor:
    """Return log p(z), (R,), in nats, for codes z, (R, L), under a mixture, or N(0, I) for None."""
    if components is None:
        return (-0.5 * (LOG_2PI + z.square())).sum(1)
    mean, logvar, log_weight = components
    if len(mean) == 1:  # the same numbers as above, to the last bit, for a standard normal one
        return log_normal(z, mean, logvar).sum(1)
    # Written out as matrix products, so that no tensor has R x C x L values.
    precision = torch.exp(-logvar)
    distance = z.square() @ precision.t() - 2 * (z @ (mean * precision).t()) + (mean.square() * precision).sum(1)
    log_p = -0.5 * (distance + (LOG_2PI + logvar).sum(1)) + log_weight
    return torch.logsumexp(log_p, dim=1)


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


def kl_from_one(mean: Tensor, logvar: Tensor, components: Components) -> Tensor:
    """Return KL(N(mean, diag exp(logvar)) || the one component) in nats, (B,), each >= 0.

    For a standard normal component these are the numbers of :func:`kl_divergence`, to the last bit.

    Args:
        mean: Posterior means, (B, L).
        logvar: Posterior log-variances, (B, L).
        components: A mixture of one.
    """
    prior_mean, prior_logvar = components.mean[0], components.logvar[0]
    ratio = logvar - prior_logvar
    return (0.5 * ((mean - prior_mean).square() * torch.exp(-prior_logvar) + ratio.exp() - 1 - ratio)).sum(1)
