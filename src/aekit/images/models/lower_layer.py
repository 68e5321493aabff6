"""A second layer of latent variables, between the image and the code."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from aekit.images.densities import log_normal


class LowerCodes(NamedTuple):
    """A sample of the lower layer, with the two distributions that it is compared under.

    Attributes:
        z: The sample, (R, M).
        mean: Means of q(lower | x), (R, M).
        logvar: Log-variances of q(lower | x), (R, M).
        prior_mean: Means of p(lower | code), (R, M).
        prior_logvar: Log-variances of p(lower | code), (R, M).
    """

    z: Tensor
    mean: Tensor
    logvar: Tensor
    prior_mean: Tensor
    prior_logvar: Tensor

    def log_ratio(self) -> Tensor:
        """Return log p(lower | code) - log q(lower | x) of the samples in nats, (R,)."""
        z, mean, logvar, prior_mean, prior_logvar = (value.float() for value in self)
        return (log_normal(z, prior_mean, prior_logvar) - log_normal(z, mean, logvar)).sum(1)


class LowerLayer(nn.Module):
    """M latent variables between the image and the code: x -> lower -> code, and back.

    The posterior goes bottom-up, q(lower | x) q(code | lower), and the model top-down, p(code) p(lower | code)
    p(x | lower). Two layers of M units with tanh stand between code and lower layer, each way.

    Args:
        n_features: Features that the encoder makes of an image.
        n_lower: M.
        latent: Dimensions of the code.

    Source:
        Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, section 5: 100 lower variables, a code of 50, and 100
        units in the layers between.
    """

    def __init__(self, n_features: int, n_lower: int, latent: int) -> None:
        super().__init__()
        self.mean_head = nn.Linear(n_features, n_lower)
        self.logvar_head = nn.Linear(n_features, n_lower)
        self.up = _tanh_layers(n_lower, n_lower)
        self.down = _tanh_layers(latent, n_lower)
        self.prior_mean_head = nn.Linear(n_lower, n_lower)
        self.prior_logvar_head = nn.Linear(n_lower, n_lower)

    def posterior(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(lower | x), (B, M), for features of images, (B, F)."""
        return self.mean_head(features), self.logvar_head(features)

    def prior(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of p(lower | code), (B, M), for codes, (B, L)."""
        features = self.down(code)
        return self.prior_mean_head(features), self.prior_logvar_head(features)


def _tanh_layers(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, n_out), nn.Tanh(), nn.Linear(n_out, n_out), nn.Tanh())


def draw(mean: Tensor, logvar: Tensor, noise: Tensor | None) -> Tensor:
    """Return samples mean + exp(logvar / 2) * noise, (R, L), or the mean for None."""
    return mean if noise is None else mean + torch.exp(0.5 * logvar) * noise
