"""Densities of codes: Gaussians, mixtures of them, and divergences between the two. Logarithms are natural."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)
_NODES = 8  # of the quadrature
_MAX_VALUES = 2**20  # at a time, which fit into a cache


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
    # Written out as matrix products, so that no tensor has R x C x L values. The three parts are large and their sum is
    # not where a component is narrow and far from zero: in 32 bits, log p(z) of 50 dimensions would be wrong by nats.
    exact = torch.float32 if z.device.type == "mps" else torch.float64  # Apple's GPUs have no more
    z, mean, precision = z.to(exact), mean.to(exact), torch.exp(-logvar.to(exact))
    distance = z.square() @ precision.t() - 2 * (z @ (mean * precision).t()) + (mean.square() * precision).sum(1)
    distance = distance.to(logvar.dtype)
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


def code_divergence(mean: Tensor, logvar: Tensor, components: Components | None) -> Tensor:
    """Return the KL divergence of each latent dimension from the prior's marginal in nats, (B, L).

    Args:
        mean: Posterior means, (B, L).
        logvar: Posterior log-variances, (B, L).
        components: A learned prior; None is N(0, I).
    """
    if components is None:
        return kl_per_dimension(mean, logvar)
    return kl_from_marginals(mean, logvar, components)


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """Return KL(N(mean, diag exp(logvar)) || N(0, I)) in nats, summed over the latent dimensions, (B,), each >= 0.

    Args:
        mean: Posterior means, (B, L).
        logvar: Posterior log-variances, (B, L).

    Source:
        Kingma & Welling 2014, arXiv:1312.6114, appendix B.
    """
    return kl_per_dimension(mean, logvar).sum(1)


def kl_from_marginals(mean: Tensor, logvar: Tensor, components: Components) -> Tensor:
    """Return KL(N(mean, exp(logvar)) || marginal of the mixture) in nats for each latent dimension, (B, L).

    For one component, and for a mixture whose dimensions are independent, they add up to the KL divergence of the
    code; otherwise their sum is something else, as a mixture knows how dimensions go together. Integrated by
    Gauss-Hermite quadrature at 8 points.

    Args:
        mean: Posterior means, (B, L).
        logvar: Posterior log-variances, (B, L).
        components: The prior.
    """
    if len(components.mean) == 1:
        return _kl_from_one_per_dimension(mean, logvar, components)
    nodes, weights = (torch.from_numpy(each).to(mean) for each in np.polynomial.hermite_e.hermegauss(_NODES))
    sd = torch.exp(0.5 * logvar)
    log_p = torch.zeros_like(mean)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        log_p = log_p + weight * log_marginals(mean + node * sd, components)
    return -0.5 * (LOG_2PI + 1 + logvar) - log_p


def log_marginals(z: Tensor, components: Components) -> Tensor:
    """Return the log density of each dimension's marginal under a mixture, (B, L), for codes z, (B, L)."""
    mean, logvar, log_weight = components
    n_rows = max(1, _MAX_VALUES // mean.numel())
    parts = [
        torch.logsumexp(log_weight[:, None] + log_normal(part[:, None], mean, logvar), dim=1)
        for part in torch.split(z, n_rows)
    ]
    return torch.cat(parts)


def kl_from_one(mean: Tensor, logvar: Tensor, components: Components) -> Tensor:
    """Return KL(N(mean, diag exp(logvar)) || the one component) in nats, (B,), each >= 0.

    For a standard normal component these are the numbers of :func:`kl_divergence`, to the last bit.

    Args:
        mean: Posterior means, (B, L).
        logvar: Posterior log-variances, (B, L).
        components: A mixture of one.
    """
    return _kl_from_one_per_dimension(mean, logvar, components).sum(1)


def _kl_from_one_per_dimension(mean: Tensor, logvar: Tensor, components: Components) -> Tensor:
    prior_mean, prior_logvar = components.mean[0], components.logvar[0]
    ratio = logvar - prior_logvar
    return 0.5 * ((mean - prior_mean).square() * torch.exp(-prior_logvar) + ratio.exp() - 1 - ratio)
