"""Priors of the code that are learned: mixtures of Gaussians, free or tied to the encoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from aekit.images.config import ModelConfig
from aekit.images.densities import Components

Posterior = Callable[[Tensor], tuple[Tensor, Tensor]]  # of images: means and log-variances, (C, L)


class MixturePrior(nn.Module):
    """C Gaussians with means, variances and weights of their own; a single one begins as N(0, I).

    Source:
        Dilokthanakul et al. 2016, arXiv:1611.02648; as a baseline ("MoG") in Tomczak & Welling 2018, arXiv:1705.07120.
    """

    def __init__(self, n_components: int, latent: int) -> None:
        super().__init__()
        # One begins as the standard normal. Several that began alike would stay alike.
        apart = torch.zeros(1, latent) if n_components == 1 else 0.5 * torch.randn(n_components, latent)
        self.mean = nn.Parameter(apart)
        self.logvar = nn.Parameter(torch.zeros(n_components, latent))
        self.weight_logits = nn.Parameter(torch.zeros(n_components))

    def components(self, posterior: Posterior) -> Components:
        """Return the mixture, which does not depend on the encoder."""
        return Components(self.mean, self.logvar, torch.log_softmax(self.weight_logits, 0))


class VampPrior(nn.Module):
    """The posteriors of C learned pseudo-inputs, equally weighted: an approximation of the aggregate posterior.

    Source:
        Tomczak & Welling 2018, arXiv:1705.07120.
    """

    def __init__(self, n_components: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.image_logits = nn.Parameter(torch.zeros(n_components, *image_shape))

    def components(self, posterior: Posterior) -> Components:
        """Return the posteriors of the pseudo-inputs."""
        n_components = len(self.image_logits)
        x = torch.sigmoid(self.image_logits).contiguous(memory_format=torch.channels_last)
        mean, logvar = posterior(x)
        log_weight = mean.new_zeros(n_components, dtype=torch.float32) - torch.tensor(float(n_components)).log()
        return Components(mean.float(), logvar.float(), log_weight)

    def start_from(self, images: Tensor) -> None:
        """Begin with images of the training, whose posteriors are where codes are."""
        with torch.no_grad():
            self.image_logits.copy_(torch.logit(images.clamp(0.05, 0.95)))


def build_prior(config: ModelConfig, image_shape: tuple[int, int, int]) -> MixturePrior | VampPrior | None:
    """Return the prior of a network with fresh parameters, or None for the standard normal, which has none."""
    if config.prior == "mixture":
        return MixturePrior(config.n_components, config.latent)
    return VampPrior(config.n_components, image_shape) if config.prior == "vamp" else None
