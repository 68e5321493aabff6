"""Groups of checkpoints, and PCA next to their values."""

from __future__ import annotations

import numpy as np
import pandas as pd
from recorded import Recorded

from aekit.core.checkpoint import Header
from aekit.images.data.image_set import ImageSet
from aekit.images.decorrelation.tables import add_pca, group_names
from aekit.images.record import read_record


def _groups(*runs):
    """Return the groups of runs, each given as its model, training and data."""
    headers = [
        Header({"kind": "ae", "arch": "conv", "latent": 2, **model}, {"name": "digits", **data}, train)
        for model, train, data in runs
    ]
    return group_names(headers, [read_record(header, "x") for header in headers])


def test_groups_leave_out_dimensions_and_seed():
    runs = [({"latent": latent}, {"seed": seed}, {}) for latent, seed in ((2, 0), (6, 0), (6, 1))]
    assert _groups(*runs) == ["ae conv"] * 3


def test_a_vae_names_its_beta_and_an_autoencoder_never_does():
    runs = [({"kind": "vae"}, {"beta": 0.5}, {}), ({}, {"beta": 1.0}, {}), ({}, {"beta": 2.0}, {})]
    assert _groups(*runs) == ["vae conv, beta 0.5", "ae conv", "ae conv"]


def test_settings_are_named_where_they_differ_within_an_architecture():
    dense = {"arch": "dense", "width": 32}
    runs = [(dense, {}, {}), ({**dense, "layers": 1}, {}, {}), ({**dense, "layers": 2}, {}, {}), ({}, {}, {"limit": 9})]
    assert _groups(*runs) == ["ae dense", "ae dense, 1 layer", "ae dense, 2 layers", "ae conv"]
    assert _groups(({}, {}, {"image_size": [64, 48]}), ({}, {}, {})) == ["ae conv, image size 64x48", "ae conv"]


def test_a_table_of_labels_does_not_part_seeds_as_it_changes_no_weights():
    labels = {"labels": "kinds.csv", "labels_fingerprint": "0" * 64}
    assert _groups(({}, {"seed": 0}, {}), ({}, {"seed": 1}, labels)) == ["ae conv"] * 2


def test_there_is_no_pca_of_more_components_than_the_images_have():
    images = ImageSet(np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), np.uint8), "x")
    progress = Recorded()
    table = add_pca(pd.DataFrame({"latent": [3, 11, 20]}), images, progress=progress)
    assert table["mean_abs_pca"].notna().tolist() == [True, True, False]
    assert progress.notices == ["pca: these images have at most 11 components; there is no comparison above that"]
    np.testing.assert_allclose(table["participation_pca"][:2], [3, 11])
