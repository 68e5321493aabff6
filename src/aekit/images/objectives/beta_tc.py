"""The beta-TC-VAE: a weight on the total correlation of the code, and none on the rest of the KL divergence."""

from __future__ import annotations

from torch import Tensor

from aekit.images.aggregate import batch_parts
from aekit.images.objectives.base import Codes
from aekit.images.objectives.elbo import ElboObjective, warmed_up


class TotalCorrelationObjective(ElboObjective):
    """reconstruction + mi + beta tc + dimension_kl, three parts of the KL divergence, estimated from the batch.

    They add up to log q(z | x) - log p(z) of the sample, whose expectation is ``kl``; with beta 1 it is the evidence
    lower bound. An estimate of q(z) from a batch has no bias, but its logarithm does: see
    :mod:`aekit.images.batch_bias`.

    Source:
        Chen et al. 2018, arXiv:1802.04942.
    """

    names = ("reconstruction", "kl", "mi", "tc", "dimension_kl", "mse")
    batch_names = ("mi", "tc", "dimension_kl")

    def batch_terms(self, codes: Codes, n_images: int) -> dict[str, Tensor]:
        """Return the three parts for each image, (B,), in nats."""
        return batch_parts(codes.z, codes.mean, codes.logvar, n_images)._asdict()

    def weights(self, epochs_done: float) -> dict[str, float]:
        """Return ``beta`` or what it has warmed up to for the total correlation, and 1 for the others."""
        tc = warmed_up(self._train_config, epochs_done)
        return {"reconstruction": 1.0, "mi": 1.0, "tc": tc, "dimension_kl": 1.0}
