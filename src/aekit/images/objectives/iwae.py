"""The importance-weighted bound of several samples per image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aekit.images.config import TrainConfig
from aekit.images.densities import log_normal, log_prior
from aekit.images.likelihoods import pixel_mean, reconstruction_loss
from aekit.images.objectives.base import Objective
from aekit.images.objectives.elbo import divergence

if TYPE_CHECKING:
    from aekit.images.models.base import Autoencoder, Output


class ImportanceWeightedObjective(Objective):
    """-log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x), called ``bound``, which is what is minimised.

    ``reconstruction`` and ``kl`` are means over the samples, as a VAE has them, and tell how the bound is reached;
    ``mse`` is that of the first sample.

    Doubly reparameterised gradients have the same expectation for the encoder and less noise: the weights are squared
    there, and the density of the posterior is not differentiated by its parameters. With one sample they are path
    gradients of the evidence lower bound, whose noise vanishes as the posterior becomes exact.

    Source:
        Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519; Tucker et al. 2019, arXiv:1810.04152 (doubly
        reparameterised gradients); Roeder, Wu & Duvenaud 2017, arXiv:1703.09194 (one sample).
    """

    names = ("bound", "reconstruction", "kl", "mse")

    def __init__(self, model: Autoencoder, train_config: TrainConfig) -> None:
        super().__init__(model, train_config)
        self.n_samples = train_config.n_samples
        self._is_doubly = train_config.dreg

    def terms(self, x: Tensor, output: Output) -> dict[str, Tensor]:
        """Return the bound and means over the samples, (B,)."""
        log_likelihood = -row_losses(self._model, x, output)
        ratio = self._log_ratio_of_fixed_posterior(output) if self._is_doubly else log_ratio(output)
        log_weights = (log_likelihood + ratio).view(-1, self.n_samples)
        bound = math.log(self.n_samples) - torch.logsumexp(log_weights, dim=1)
        if self._is_doubly and output.z.requires_grad and torch.is_grad_enabled():
            normalised = torch.softmax(log_weights.detach(), dim=1).view(-1, 1)
            # The samples get each weight once more than the decoder does: d bound / d log w is the first.
            for samples in (output.z,) if output.lower is None else (output.z, output.lower.z):
                samples.register_hook(  # type: ignore[no-untyped-call]
                    lambda gradient: gradient * normalised.to(gradient.dtype)
                )
        with torch.no_grad():
            kl = divergence(output)
            if output.lower is not None:
                kl = kl - output.lower.log_ratio()
            first = pixel_mean(output.x_hat_logits[:: self.n_samples].float(), self._loss)
            mse = (first - x).square().flatten(1).mean(1)
            reconstruction, kl = (value.view(-1, self.n_samples).mean(1) for value in (-log_likelihood, kl))
        return {"bound": bound, "reconstruction": reconstruction, "kl": kl, "mse": mse}

    def _log_ratio_of_fixed_posterior(self, output: Output) -> Tensor:
        """Return :func:`log_ratio`, whose gradient stops at the parameters of the posterior, not at its samples."""
        assert output.logvar is not None
        if output.lower is None:
            return log_ratio(output._replace(mean=output.mean.detach(), logvar=output.logvar.detach()))
        mean, logvar = self._model.fixed_posterior_of_code(output.lower.z)
        lower = output.lower._replace(mean=output.lower.mean.detach(), logvar=output.lower.logvar.detach())
        return log_ratio(output._replace(mean=mean, logvar=logvar, lower=lower))

    def weights(self, epochs_done: float) -> dict[str, float]:
        """Return 1 for the bound."""
        return {"bound": 1.0}


def row_losses(model: Autoencoder, x: Tensor, output: Output) -> Tensor:
    """Return -log p(x | z) of each row in nats, (R,), for images (B, C, H, W) of which each has R / B rows."""
    return reconstruction_loss(output.x_hat_logits, x, model.config.loss, model.log_sigma)


def log_ratio(output: Output) -> Tensor:
    """Return log p(z) - log q(z | x) of each row in nats, (R,), over all layers of latent variables."""
    if output.logvar is None:
        raise ValueError("a plain autoencoder has no p(x)")
    mean, logvar, z = output.mean.float(), output.logvar.float(), output.z.float()
    ratio = log_prior(z, output.prior) - log_normal(z, mean, logvar).sum(1)
    return ratio if output.lower is None else ratio + output.lower.log_ratio()
