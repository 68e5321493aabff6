"""Samples are those of the prior, or of a Gaussian fitted to the training codes, and repeat with their seed."""

from __future__ import annotations

import numpy as np

from aekit.core.progress import Silent
from aekit.images.prior import sample_codes
from aekit.images.session import open_session


class Notes(Silent):
    """Progress that keeps its notices."""

    def __init__(self):
        self.notices = []

    def notice(self, text):
        self.notices.append(text)


def test_samples_of_a_vae_are_those_of_its_prior_and_need_no_images(vae_checkpoint, tmp_path):
    session = open_session([vae_checkpoint], data=str(tmp_path / "nowhere"), device="cpu")
    (checkpoint,) = session.checkpoints()
    z = sample_codes(session, checkpoint, 4, seed=7)
    np.testing.assert_array_equal(z, np.random.default_rng(7).standard_normal((4, 2)))


def test_samples_of_an_autoencoder_have_the_moments_of_its_codes_and_that_is_reported(ae_checkpoint):
    notes = Notes()
    session = open_session([ae_checkpoint], device="cpu", progress=notes)
    (checkpoint,) = session.checkpoints()
    z = sample_codes(session, checkpoint, 50_000, seed=0)
    codes = checkpoint.encode(session.images(checkpoint, "train")).mean
    scale = codes.std(axis=0)
    np.testing.assert_allclose(z.mean(axis=0) / scale, codes.mean(axis=0) / scale, atol=0.02)
    np.testing.assert_allclose(
        np.cov(z.T) / np.outer(scale, scale), np.cov(codes.T) / np.outer(scale, scale), atol=0.03
    )
    assert notes.notices == [
        f"{ae_checkpoint}: a plain autoencoder has no prior; samples come from a Gaussian fitted to the training codes"
    ]
