"""The aggregate posterior q(z), the mean of the posteriors of a set of images, and what the KL divergence is made of.

log q(z | x) - log p(z) of a code z is the sum of three parts: what it says of its image, log q(z | x) / q(z), of which
the mean is the mutual information; how far the dimensions depend on each other, log q(z) / prod_j q(z_j), of which the
mean is the total correlation; and how far each is from the prior, sum_j log q(z_j) / p(z_j).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from aekit.images.densities import log_normal, log_prior

MIXTURE_IMAGES = 10_000  # at most, whose posteriors are the mixture
MIXTURE_CODES = 1_000  # at most, whose density is computed
_CHUNK = 2**19  # values at once, which a cache holds


class KlParts(NamedTuple):
    """The parts of log q(z | x) - log p(z), in nats, of each code, (Z,); they add up to it.

    Attributes:
        mi: log q(z | x) / q(z).
        tc: log q(z) / prod_j q(z_j).
        dimension_kl: sum_j log q(z_j) / p(z_j), for the standard normal p.
    """

    mi: Tensor
    tc: Tensor
    dimension_kl: Tensor


def kl_parts(z: Tensor, mean: Tensor, logvar: Tensor, joint: Tensor, marginal: Tensor) -> KlParts:
    """Return the parts for codes whose densities are known.

    Args:
        z: Samples of posteriors, (Z, L).
        mean: Means of these posteriors, (Z, L).
        logvar: Their log-variances, (Z, L).
        joint: log q(z), (Z,).
        marginal: log q(z_j), (Z, L).
    """
    product = marginal.sum(1)
    return KlParts(log_normal(z, mean, logvar).sum(1) - joint, joint - product, product - log_prior(z, None))


def batch_parts(z: Tensor, mean: Tensor, logvar: Tensor, n_images: int) -> KlParts:
    """Return the parts of the codes of a batch, with the other images of the batch for all others of the set.

    The image that a code is from has the weight 1 / N, as in q(z), and the others share what remains. That is minibatch
    stratified sampling, averaged over which of the others gets the weight that makes the sum one: of the same
    expectation, with less noise, and whatever the order of the batch. The densities have no bias; their logarithms do.
    With all images in the batch they are q(z) itself. A single image has no others: it stands for all of them.

    Args:
        z: A sample of the posterior of each image, (B, L).
        mean: Means of the posteriors, (B, L).
        logvar: Their log-variances, (B, L).
        n_images: N, the size of the set.

    Source:
        Chen et al. 2018, arXiv:1802.04942, appendix C.2.
    """
    n = len(z)
    own = 1.0 if n == 1 else 1.0 / n_images
    log_weight = z.new_full((n, n), (1.0 - own) / max(n - 1, 1)).fill_diagonal_(own).log()
    each = log_normal(z[:, None], mean[None], logvar[None])  # (B, B, L)
    joint = torch.logsumexp(each.sum(2) + log_weight, 1)
    marginal = torch.logsumexp(each + log_weight[:, :, None], 1)
    return kl_parts(z, mean, logvar, joint, marginal)


class Aggregate(NamedTuple):
    """The parts of some codes under the mixture of the posteriors of a set of images.

    Attributes:
        parts: Parts of each code.
        rows: The images that the codes are of.
        n_images: Posteriors of the mixture.
    """

    parts: KlParts
    rows: Tensor
    n_images: int


def aggregate_parts(z: Tensor, mean: Tensor, logvar: Tensor, *, cost: float = 1e8, least: int = 2) -> Aggregate:
    """Return the parts of codes under the mixture of all posteriors, without the bias of a batch.

    Of more than 10,000 images, as many evenly spaced ones are the set; of these, evenly spaced codes are taken.

    Args:
        z: A sample of the posterior of each image, (N, L).
        mean: Means of the posteriors, (N, L).
        logvar: Their log-variances, (N, L).
        cost: Densities of a number that may be computed, 1e8 in about a second, which limits the codes.
        least: Codes that are taken in any case, if there are as many.
    """
    n_images = min(len(z), MIXTURE_IMAGES)
    chosen = _spaced(len(z), n_images)
    n_codes = max(least, min(MIXTURE_CODES, int(cost / (n_images * z.shape[1]))))
    rows = chosen[_spaced(n_images, min(n_codes, n_images))]
    z, own_mean, own_logvar = (value[rows].double() for value in (z, mean, logvar))
    joint, marginal = _log_mixture(z, mean[chosen], logvar[chosen])
    return Aggregate(kl_parts(z, own_mean, own_logvar, joint, marginal), rows, n_images)


def _spaced(n: int, n_taken: int) -> Tensor:
    """Return evenly spaced numbers below n."""
    return torch.linspace(0, n - 1, n_taken, dtype=torch.float64).round().long()


def _log_mixture(z: Tensor, mean: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
    """Return log q(z), (Z,), and log q(z_j), (Z, L), for the mean of N posteriors of equal weight."""
    constant = log_normal(mean, mean, logvar).t().contiguous()  # at the mean, (L, N)
    half_precision = (-0.5 * torch.exp(-logvar)).t().contiguous()
    centre, log_n = mean.t().contiguous(), math.log(len(mean))
    joint, marginal = [], []
    for part in torch.split(z.to(mean.dtype), max(1, _CHUNK // mean.numel())):
        each = (part[:, :, None] - centre).square_().mul_(half_precision).add_(constant)  # (C, L, N)
        joint.append(torch.logsumexp(each.sum(1), 1).double() - log_n)
        marginal.append(torch.logsumexp(each, 2).double() - log_n)
    return torch.cat(joint), torch.cat(marginal)
