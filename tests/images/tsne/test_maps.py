"""The map of one checkpoint's codes."""

from __future__ import annotations

import numpy as np
import pytest
from recorded import Recorded
from safetensors.torch import load_file

from aekit.core.checkpoint import read_header
from aekit.core.weights import write_checkpoint
from aekit.errors import AekitError
from aekit.images.session import open_session
from aekit.images.tsne.maps import N_WORST, map_codes
from aekit.images.tsne.request import MapRequest


def _loaded(path):
    session = open_session([path], device="cpu", threads=1)
    (loaded,) = session.checkpoints()
    return loaded, session.images(loaded, "test")


def test_a_map_has_a_place_and_a_score_for_each_image_and_reports_its_steps(ae_checkpoint):
    loaded, images = _loaded(ae_checkpoint)
    progress = Recorded()
    found = map_codes(loaded, images, MapRequest(perplexity=10), progress=progress)
    assert found.points.shape == (300, 2)
    assert np.isfinite(found.points).all()
    assert not found.placed.any()
    assert len(found.worst) == N_WORST
    assert found.outlier[found.worst].min() >= np.sort(found.outlier)[-N_WORST]
    assert progress.updates[-1] == ("ae.safetensors: t-SNE", 750, 750)


def test_the_axes_of_pca_name_their_fraction_of_the_variance(ae_checkpoint):
    loaded, images = _loaded(ae_checkpoint)
    codes = loaded.encode(images).mean
    variance = np.linalg.eigvalsh(np.cov(codes, rowvar=False))[::-1]
    names = map_codes(loaded, images, MapRequest(method="pca")).axis_names
    expected = np.round(100 * variance / variance.sum())
    assert names == (f"PC 1 ({expected[0]:.0f} % of variance)", f"PC 2 ({expected[1]:.0f} %)")


def test_codes_that_are_all_the_same_are_refused(ae_checkpoint, tmp_path):
    tensors = {name: tensor * 0 for name, tensor in load_file(ae_checkpoint).items()}
    loaded, images = _loaded(write_checkpoint(tmp_path / "dead.safetensors", tensors, read_header(ae_checkpoint)))
    with pytest.raises(AekitError, match="the codes of all images are the same, so there is nothing to map"):
        map_codes(loaded, images, MapRequest())
