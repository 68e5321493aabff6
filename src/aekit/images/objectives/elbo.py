"""The evidence lower bound, with a weight on the KL divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from aekit.images.config import TrainConfig
from aekit.images.densities import kl_divergence, kl_from_one, log_normal, log_prior
from aekit.images.objectives.base import Objective

if TYPE_CHECKING:
    from aekit.images.models.base import Autoencoder, Output


class ElboObjective(Objective):
    """The evidence lower bound with a weight on the KL divergence: reconstruction + beta KL(q(z | x) || p(z)).

    With two layers of latent variables ``kl`` is that of both, and ``kl_top`` that of the code alone.

    Source:
        Kingma & Welling 2014, arXiv:1312.6114; Higgins et al. 2017 (beta-VAE).
    """

    names: tuple[str, ...] = ("reconstruction", "kl", "mse")

    def __init__(self, model: Autoencoder, train_config: TrainConfig) -> None:
        super().__init__(model, train_config)
        if model.lower is not None:
            self.names = ("reconstruction", "kl", "kl_top", "mse")

    def terms(self, x: Tensor, output: Output) -> dict[str, Tensor]:
        """Return reconstruction, KL divergence and squared error of each image, (B,)."""
        kl = divergence(output)
        terms = {**super().terms(x, output), "kl": kl}
        if output.lower is not None:
            terms |= {"kl": kl - output.lower.log_ratio(), "kl_top": kl}
        return terms

    def weights(self, epochs_done: float) -> dict[str, float]:
        """Return 1 for the reconstruction, and ``beta`` or what it has warmed up to for the KL divergence."""
        return {"reconstruction": 1.0, "kl": warmed_up(self._train_config, epochs_done)}


def warmed_up(train_config: TrainConfig, epochs_done: float) -> float:
    """Return ``beta``, or what it has risen to after ``epochs_done`` epochs."""
    fraction = min(1.0, epochs_done / train_config.beta_warmup) if train_config.beta_warmup else 1.0
    return train_config.beta * fraction


def divergence(output: Output) -> Tensor:
    """Return the KL divergence of the code's posterior from its prior in nats, (R,).

    Against a single Gaussian it is exact; a mixture has no such formula, and log q(z | x) - log p(z) of the sample is
    an unbiased estimate, which may be negative.
    """
    if output.logvar is None:
        raise ValueError("a model without a prior has no KL divergence")
    mean, logvar, z = output.mean.float(), output.logvar.float(), output.z.float()
    if output.prior is None:
        return kl_divergence(mean, logvar)
    if len(output.prior.mean) == 1:
        return kl_from_one(mean, logvar, output.prior)
    return log_normal(z, mean, logvar).sum(1) - log_prior(z, output.prior)
