"""The distribution that codes are drawn from: a model's prior, or a Gaussian fitted to its training codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from aekit.errors import count
from aekit.images.config import ModelConfig
from aekit.images.inference import evaluation_mode
from aekit.images.latent import prior_quantiles
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.models.base import Autoencoder
from aekit.images.session import Session

Floats = npt.NDArray[np.float64]

FITTED = "a Gaussian fitted to the training codes"


@dataclass(frozen=True)
class CodePrior:
    """The prior of a model's code as numbers: a mixture of C Gaussians with diagonal covariance, or N(0, I) as one.

    Attributes:
        weight: Weights, (C,), which add up to one.
        mean: Means, (C, L).
        sd: Standard deviations, (C, L).
    """

    weight: Floats
    mean: Floats
    sd: Floats

    @property
    def centre(self) -> Floats:
        """Return the mean of the whole prior, (L,)."""
        return np.asarray(self.weight @ self.mean, np.float64)

    @property
    def spread(self) -> Floats:
        """Return the standard deviation of each dimension, (L,)."""
        return np.asarray(np.sqrt(self.weight @ (np.square(self.sd) + np.square(self.mean - self.centre))), np.float64)

    def draw(self, n: int, seed: int) -> Floats:
        """Return n codes, (n, L): a component by its weight, and a point of it; more of them begin with the same."""
        # NumPy's generators, so that the same seed draws the same codes on every device; one of its own for the
        # components, so that a single standard one gives the numbers of N(0, I).
        noise = np.random.default_rng(seed).standard_normal((n, self.mean.shape[1]))
        n_components = len(self.weight)
        which = np.zeros(n, np.int64)
        if n_components > 1:
            which = np.random.default_rng([seed, 1]).choice(n_components, n, p=self.weight)
        return np.asarray(self.mean[which] + self.sd[which] * noise, np.float64)

    def quantiles(self, dimension: int, n: int) -> Floats:
        """Return values of one dimension at equal steps of probability under its marginal, ascending, (n,)."""
        standard = prior_quantiles(n)
        mean, sd = self.mean[:, dimension], self.sd[:, dimension]
        of_each = mean + standard[:, None] * sd  # (n, C)
        # The quantile of a mixture lies between those of its components: halve until no number is left in between.
        low, high = of_each.min(1), of_each.max(1)
        probability = (np.arange(n) + 0.5) / n
        while True:
            middle = 0.5 * (low + high)
            if ((middle <= low) | (middle >= high)).all():
                return np.asarray(high, np.float64)
            scores = torch.from_numpy((middle[:, None] - mean) / sd)
            is_above = torch.special.ndtr(scores).numpy() @ self.weight >= probability
            low, high = np.where(is_above, low, middle), np.where(is_above, middle, high)


def read_prior(model: Autoencoder) -> CodePrior:
    """Return the prior of a variational autoencoder: N(0, I), or the mixture that it has learned."""
    with evaluation_mode(model):
        components = model.prior_components()
    if components is None:
        latent = model.config.latent
        return CodePrior(np.ones(1), np.zeros((1, latent)), np.ones((1, latent)))
    mean, logvar, log_weight = (each.detach().cpu().double().numpy() for each in components)
    weight = np.exp(log_weight - log_weight.max())
    return CodePrior(weight / weight.sum(), mean, np.exp(0.5 * logvar))


def sample_codes(session: Session, checkpoint: LoadedCheckpoint, n: int, *, seed: int) -> npt.NDArray[np.floating]:
    """Return n codes drawn from the prior, (n, L); for a plain autoencoder, from a Gaussian fitted to its codes.

    Raises:
        AekitError: The training images that a plain autoencoder needs cannot be read.
    """
    if checkpoint.record.model.has_prior:
        return read_prior(checkpoint.model).draw(n, seed)
    generator = np.random.default_rng(seed)
    session.progress.notice(f"{checkpoint.path}: a plain autoencoder has no prior; samples come from {FITTED}")
    codes = checkpoint.encode(session.images(checkpoint, "train", with_labels=False)).mean
    covariance = np.atleast_2d(np.cov(codes, rowvar=False))
    return generator.multivariate_normal(codes.mean(axis=0), covariance, n, method="eigh", check_valid="ignore")


def lower_noise(model: ModelConfig, n: int, *, seed: int) -> Floats | None:
    """Return standard normal draws for the second layer of latent variables, (n, M); None without one."""
    return np.random.default_rng([seed, 2]).standard_normal((n, model.n_lower)) if model.n_lower else None


def name_prior(model: ModelConfig) -> str:
    """Return what titles call the prior of a model, or what stands for it."""
    return FITTED if not model.has_prior else "the prior" if model.prior == "normal" else "the learned prior"


def describe_prior(model: ModelConfig) -> dict[str, str]:
    """Return the entry of a result that says which prior a model has learned; none for the standard normal."""
    if model.prior == "mixture":
        return {"prior": f"mixture of {count(model.n_components, 'Gaussian')}"}
    return {"prior": f"posteriors of {count(model.n_components, 'pseudo-input')}"} if model.prior == "vamp" else {}
