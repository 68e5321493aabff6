"""Samples of the codes that a model decodes: from its prior, or from a Gaussian fitted to its training codes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aekit.images.loaded import LoadedCheckpoint
from aekit.images.session import Session

FITTED = "a Gaussian fitted to the training codes"


def sample_codes(session: Session, checkpoint: LoadedCheckpoint, n: int, *, seed: int) -> npt.NDArray[np.floating]:
    """Return n codes drawn from the prior, (n, L); for a plain autoencoder, from a Gaussian fitted to its codes.

    Raises:
        AekitError: The training images that a plain autoencoder needs cannot be read.
    """
    # NumPy's generator, so that the same seed draws the same codes on every device.
    generator = np.random.default_rng(seed)
    if checkpoint.record.model.has_prior:
        return generator.standard_normal((n, checkpoint.record.model.latent))
    session.progress.notice(f"{checkpoint.path}: a plain autoencoder has no prior; samples come from {FITTED}")
    codes = checkpoint.encode(session.images(checkpoint, "train", with_labels=False)).mean
    covariance = np.atleast_2d(np.cov(codes, rowvar=False))
    return generator.multivariate_normal(codes.mean(axis=0), covariance, n, method="eigh", check_valid="ignore")


def origin_of_samples(has_prior: bool) -> str:
    """Return where the samples of a model come from, for titles."""
    return "the prior" if has_prior else FITTED
