"""Densities that are fitted to the codes of training images, to draw others from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from aekit.core.later import Later
from aekit.errors import AekitError, count
from aekit.images.config import Density
from aekit.images.data.image_set import ImageSet
from aekit.images.densities import Components, log_prior
from aekit.images.inference import evaluation_mode, mean_and_error
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.prior import read_prior
from aekit.images.second_stage import SecondStage, fit_second_stage
from aekit.images.session import Session

if TYPE_CHECKING:
    from scipy import special
    from sklearn import mixture
else:
    special, mixture = Later("scipy.special"), Later("sklearn.mixture")

Floats = npt.NDArray[np.float64]

_SMALLEST = 1e-6  # variance that is added to each dimension, in units of its own: codes may not vary at all


@dataclass(frozen=True)
class CodeDensity:
    """A mixture of C Gaussians with full covariance.

    Attributes:
        weight: Weights, (C,), which add up to one.
        mean: Means, (C, L).
        covariance: Covariances, (C, L, L).
    """

    weight: Floats
    mean: Floats
    covariance: Floats

    def draw(self, n: int, seed: int) -> Floats:
        """Return n codes, (n, L): a component by its weight, and a point of it."""
        n_components, latent = self.mean.shape
        if n_components == 1:  # as a plain autoencoder's samples have always been drawn
            generator = np.random.default_rng(seed)
            drawn = generator.multivariate_normal(
                self.mean[0], self.covariance[0], n, method="eigh", check_valid="ignore"
            )
            return np.asarray(drawn, np.float64)
        noise = np.random.default_rng(seed).standard_normal((n, latent))
        which = np.random.default_rng([seed, 1]).choice(n_components, n, p=self.weight)
        factors = np.linalg.cholesky(self.covariance)
        return np.asarray(self.mean[which] + np.einsum("nij,nj->ni", factors[which], noise), np.float64)

    def log_density(self, codes: Floats) -> Floats:
        """Return the logarithm of the density of codes, (N, L), in nats, (N,)."""
        latent = codes.shape[1]
        parts = []
        for weight, mean, covariance in zip(self.weight, self.mean, self.covariance, strict=True):
            variance = covariance.diagonal()
            factor = np.linalg.cholesky(covariance + np.diag(_SMALLEST * np.where(variance > 0, variance, 1.0)))
            scaled = np.linalg.solve(factor, (codes - mean).T)
            log_volume = np.log(factor.diagonal()).sum() + 0.5 * latent * np.log(2 * np.pi)
            parts.append(np.log(weight) - 0.5 * np.square(scaled).sum(axis=0) - log_volume)
        total: Floats = special.logsumexp(np.stack(parts), axis=0)
        return total

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return what a file of it holds."""
        return {"weight": self.weight, "mean": self.mean, "covariance": self.covariance}


@dataclass(frozen=True)
class FittedDensity:
    """A density of codes with how well it describes codes that it was not fitted to.

    Attributes:
        name: What titles call it.
        draw: Returns n codes, (n, L), for a number and a seed.
        log_density: Mean log density of the codes of held-out images in nats, with its standard error; a lower bound of
            it for ``two-stage``.
        of_prior: The same of the model's prior; None for a plain autoencoder, which has none.
        n_held_out: Number of these images.
        fitted: The density itself; None is the model's prior.
    """

    name: str
    draw: Callable[[int, int], Floats]
    log_density: tuple[float, float]
    of_prior: tuple[float, float] | None
    n_held_out: int
    fitted: CodeDensity | SecondStage | None

    @property
    def is_bound(self) -> bool:
        """Return whether the log density is a lower bound, by importance samples."""
        return isinstance(self.fitted, SecondStage)


def fit_density(
    session: Session, checkpoint: LoadedCheckpoint, kind: Density, *, n_components: int, seed: int
) -> FittedDensity:
    """Return a density to draw codes from, fitted to training images and judged on test images.

    Codes of a variational autoencoder are drawn from their posteriors, one for each image, as in training; those of an
    autoencoder are what the encoder returns.

    Args:
        session: Reads the images.
        checkpoint: The model.
        kind: ``prior``, ``gaussian``, ``gmm`` or ``two-stage``.
        n_components: Gaussians of ``gmm``.
        seed: Seed of the posteriors' samples, and of the fit.

    Raises:
        AekitError: The prior of an autoencoder is asked for, or there are too few images.
    """
    prior = _log_prior(checkpoint) if checkpoint.record.model.has_prior else None
    test = _codes(checkpoint, session.images(checkpoint, "test", with_labels=False), [seed, 4])
    of_prior = None if prior is None else mean_and_error(prior(test))
    if kind == "prior":
        if of_prior is None:
            raise AekitError(
                f"--density prior: {checkpoint.path} is a plain autoencoder, which has none; use gaussian or gmm"
            )
        return FittedDensity("the prior", read_prior(checkpoint.model).draw, of_prior, of_prior, len(test), None)
    train = _codes(checkpoint, session.images(checkpoint, "train", with_labels=False), [seed, 3])
    n_wanted = n_components if kind == "gmm" else 1
    if len(train) < 2 * n_wanted:
        fix = "use fewer --gaussians" if kind == "gmm" else "use more images"
        raise AekitError(f"--density {kind}: {count(len(train), 'training image')} are too few; {fix}")
    name, density = _fit(kind, train, n_wanted, seed)
    held_out = mean_and_error(density.log_density(test))
    return FittedDensity(f"{name} fitted to the training codes", density.draw, held_out, of_prior, len(test), density)


def _fit(kind: Density, codes: Floats, n_components: int, seed: int) -> tuple[str, CodeDensity | SecondStage]:
    if kind == "two-stage":
        return "a second VAE", fit_second_stage(codes, seed=seed)
    if kind == "gmm":
        return f"a mixture of {count(n_components, 'Gaussian')}", _fit_mixture(codes, n_components, seed)
    return "a Gaussian", _fit_gaussian(codes)


def _codes(checkpoint: LoadedCheckpoint, images: ImageSet, seed: list[int]) -> Floats:
    codes = checkpoint.encode(images)
    if codes.logvar is None:
        return codes.mean.astype(np.float64)
    noise = np.random.default_rng(seed).standard_normal(codes.mean.shape)
    return np.asarray(codes.mean + np.exp(0.5 * codes.logvar.astype(np.float64)) * noise, np.float64)


def _log_prior(checkpoint: LoadedCheckpoint) -> Callable[[Floats], Floats]:
    """Return the log density of codes under the prior of a variational autoencoder."""
    with evaluation_mode(checkpoint.model):
        found = checkpoint.model.prior_components()
    components = None if found is None else Components(*(each.detach().cpu().double() for each in found))

    def log_density(codes: Floats) -> Floats:
        return np.concatenate(
            [log_prior(part, components).numpy() for part in torch.split(torch.from_numpy(codes), 500)]
        )

    return log_density


def _fit_gaussian(codes: Floats) -> CodeDensity:
    covariance = np.atleast_2d(np.cov(codes, rowvar=False))
    return CodeDensity(np.ones(1), codes.mean(axis=0)[None], covariance[None])


def _fit_mixture(codes: Floats, n_components: int, seed: int) -> CodeDensity:
    centre, scale = codes.mean(axis=0), codes.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    found = mixture.GaussianMixture(n_components, reg_covar=_SMALLEST, random_state=seed % 2**32, max_iter=200)
    found.fit((codes - centre) / scale)
    covariance = found.covariances_ * np.outer(scale, scale)
    return CodeDensity(found.weights_, found.means_ * scale + centre, covariance)
