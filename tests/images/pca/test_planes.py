"""Planes of two dimensions cover the prior or the range of the codes; dead dimensions are reported."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.decomposition import PCA

from aekit.core.progress import Silent
from aekit.images.data.image_set import ImageSet
from aekit.images.inference import decode_codes
from aekit.images.pca.planes import GRID, model_plane, pca_plane
from aekit.images.principal_components import fit_pca
from aekit.images.session import open_session


class Notes(Silent):
    """Progress that keeps its notices."""

    def __init__(self):
        self.notices = []

    def notice(self, text):
        self.notices.append(text)


def test_the_plane_of_a_vae_covers_quantiles_of_its_prior_and_a_dead_dimension_is_reported(vae_checkpoint):
    session = open_session([vae_checkpoint], device="cpu")
    (checkpoint,) = session.checkpoints()
    notes = Notes()
    codes = np.random.default_rng(0).standard_normal((50, 2)) * [1, 0]
    plane = model_plane(checkpoint, "vae conv", codes, notes)
    np.testing.assert_allclose(norm.cdf(plane.z0), (np.arange(GRID) + 0.5) / GRID)
    expected = decode_codes(checkpoint.model, np.array([[plane.z0[3], plane.z1[5]]]))
    np.testing.assert_allclose(plane.images[5, 3], expected[0], atol=1e-6)
    assert (plane.label, plane.over) == ("vae conv, seed 0", "quantiles of the prior")
    assert notes.notices == [f"{vae_checkpoint}: dimension 1 of its code is dead, the same for all images"]


@pytest.mark.parametrize("n", [2, 40])
def test_the_plane_of_pca_covers_its_codes_if_there_are_two_components(n):
    images = np.random.default_rng(0).integers(0, 256, (n, 1, 8, 8), dtype=np.uint8)
    planes = pca_plane(fit_pca(images, min(2, n - 1)), ImageSet(images, "noise"))
    assert len(planes) == (n > 2)
    for plane in planes:
        codes = PCA(2).fit_transform(images.reshape(n, -1) / 255)
        np.testing.assert_allclose(np.abs(plane.codes), np.abs(codes), atol=1e-6)
        assert plane.z0[0] == np.quantile(plane.codes[:, 0], 0.01)
        assert plane.images.shape == (GRID, GRID, 1, 8, 8)
