"""The DIP-VAE: the covariance of the codes is drawn to the identity."""

from __future__ import annotations

import torch
from torch import Tensor

from aekit.images.objectives.base import Codes
from aekit.images.objectives.elbo import ElboObjective, warmed_up

DIAGONAL_OF_MEANS = 10.0  # lambda_d / lambda_od of DIP-VAE-I


class MeanCovarianceObjective(ElboObjective):
    """DIP-VAE-I: reconstruction + kl + beta dip, where dip = sum_{i != j} C_ij^2 + 10 sum_i (C_ii - 1)^2.

    C is the covariance of the posterior means over the batch, divided by its size, so that it is defined for a last
    batch of one image too. Beta is lambda_od, and lambda_d ten times that.

    Source:
        Kumar et al. 2018, arXiv:1711.00848; the ratio of the two weights is that of disentanglement_lib.
    """

    names = ("reconstruction", "kl", "dip", "mse")
    batch_names = ("dip",)
    shared_names = ("dip",)
    diagonal = DIAGONAL_OF_MEANS

    def batch_terms(self, codes: Codes, n_images: int) -> dict[str, Tensor]:
        """Return the penalty of the batch, ()."""
        squares = (self.covariance(codes) - torch.eye(codes.mean.shape[1]).to(codes.mean)).square()
        return {"dip": squares.sum() + (self.diagonal - 1) * squares.diagonal().sum()}

    def covariance(self, codes: Codes) -> Tensor:
        """Return the covariance that is penalised, (L, L)."""
        centred = codes.mean - codes.mean.mean(0)
        return centred.t() @ centred / len(centred)

    def weights(self, epochs_done: float) -> dict[str, float]:
        """Return 1 for the bound, and ``beta`` or what it has warmed up to for the penalty."""
        return {"reconstruction": 1.0, "kl": 1.0, "dip": warmed_up(self._train_config, epochs_done)}


class CodeCovarianceObjective(MeanCovarianceObjective):
    """DIP-VAE-II: the same with the covariance of the codes, and lambda_d = lambda_od = beta.

    It is the covariance of the means plus the mean variance of the posteriors.
    """

    diagonal = 1.0

    def covariance(self, codes: Codes) -> Tensor:
        """Return the covariance that is penalised, (L, L)."""
        return super().covariance(codes) + torch.diag(codes.logvar.exp().mean(0))
