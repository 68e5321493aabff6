"""Scores against independent answers: distances, code lengths, and the loss that complexity explains."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from aekit.images.data.image_set import ImageSet
from aekit.images.outliers.code_length import code_lengths
from aekit.images.outliers.request import OF_PRIOR, SCORES
from aekit.images.outliers.scores import DESCRIPTIONS, fit_reference, score_images
from aekit.images.session import open_session


@pytest.fixture(scope="module")
def opened(vae_checkpoint):
    session = open_session(vae_checkpoint)
    checkpoint = next(session.checkpoints())
    return checkpoint, session.images(checkpoint, "train"), session.images(checkpoint, "test")


def test_every_score_has_a_definition():
    assert set(DESCRIPTIONS) == set(SCORES)


def test_code_lengths_grow_with_complexity_and_are_those_of_png_files():
    flat = np.full((1, 16, 16), 77, np.uint8)
    steps = np.repeat(np.arange(0, 256, 16, dtype=np.uint8), 16).reshape(1, 16, 16)
    noise = np.random.default_rng(0).integers(0, 256, (1, 16, 16), dtype=np.uint8)
    lengths = code_lengths(ImageSet(np.stack([flat, steps, noise]), "three"))
    assert (np.diff(lengths) > 0).all()
    file = io.BytesIO()
    Image.fromarray(noise[0]).save(file, "PNG", optimize=True)
    assert 0 <= 8 * len(file.getvalue()) - lengths[2] < 8 * 80  # of signature, header and end
    assert lengths[2] > 8 * 256  # noise cannot be compressed


def test_a_code_that_looks_back_finds_repetitions_that_differ_from_their_neighbours():
    noise = np.random.default_rng(0).integers(0, 256, (1, 4, 64), dtype=np.uint8)
    repeated, other = np.tile(noise, (1, 4, 1)), np.random.default_rng(1).integers(0, 256, (1, 16, 64), dtype=np.uint8)
    lengths = code_lengths(ImageSet(np.stack([np.zeros_like(other), repeated, other]), "three"), code="lz")
    assert (np.diff(lengths) > 0).all()
    assert 8 * 256 < lengths[1] < 8 * 320  # the four rows, and where they are repeated
    assert 8 * 1024 < lengths[2] < 8 * 1064  # noise cannot be compressed


def test_code_lengths_do_not_depend_on_threads_and_take_colour():
    images = ImageSet(np.random.default_rng(0).integers(0, 256, (1203, 3, 8, 8), dtype=np.uint8), "noise")
    assert (code_lengths(images, threads=1) == code_lengths(images, threads=4)).all()


def test_distances_of_codes_are_those_of_scipy(opened):
    checkpoint, train, test = opened
    scored = score_images(checkpoint, fit_reference(checkpoint, train), test, k=4)
    codes, own = checkpoint.encode(train).mean, checkpoint.encode(test).mean
    assert scored.scores["knn"] == pytest.approx(np.sort(cdist(own, codes), axis=1)[:, 3], rel=1e-4)
    exact = cdist(own, [codes.mean(axis=0)], "mahalanobis", VI=np.linalg.inv(np.cov(codes.T)))[:, 0]
    assert scored.scores["mahalanobis"] == pytest.approx(exact, rel=0.05)  # shrinkage is small for so many images


def test_what_principal_components_leave_is_that_of_scikit_learn(opened):
    checkpoint, train, test = opened
    scored = score_images(checkpoint, fit_reference(checkpoint, train), test, k=4)
    rows, own = (images.images.reshape(len(images), -1) / 255 for images in (train, test))
    pca = PCA(checkpoint.record.model.latent).fit(rows)
    errors = np.square(own - pca.inverse_transform(pca.transform(own))).mean(axis=1)
    assert scored.scores["pca-mse"] == pytest.approx(errors)


def test_the_loss_beyond_that_of_equal_code_length_does_not_grow_with_it_in_training(opened):
    checkpoint, train, _ = opened
    reference = fit_reference(checkpoint, train)
    scored = score_images(checkpoint, reference, train, k=4, own_rows=np.arange(len(train)))
    lengths, loss = scored.scores["code-length"], scored.scores["elbo"]
    assert scored.scores["complexity"].mean() == pytest.approx(0, abs=0.5)
    assert abs(np.corrcoef(lengths, scored.scores["complexity"])[0, 1]) < 0.05
    assert np.corrcoef(lengths, loss)[0, 1] > 0.1  # which it does before


def test_a_training_image_is_not_its_own_neighbour(opened):
    checkpoint, train, _ = opened
    reference = fit_reference(checkpoint, train)
    scored = score_images(checkpoint, reference, train, k=1, own_rows=np.arange(len(train)))
    codes = checkpoint.encode(train).mean.astype(np.float64)
    distances = cdist(codes, codes) + np.diag(np.full(len(codes), np.inf))
    assert scored.scores["knn"] == pytest.approx(distances.min(axis=1), abs=1e-5)


def test_an_autoencoder_has_all_scores_but_those_of_a_likelihood(ae_checkpoint):
    session = open_session(ae_checkpoint)
    checkpoint = next(session.checkpoints())
    test = session.images(checkpoint, "test")
    scored = score_images(checkpoint, fit_reference(checkpoint, session.images(checkpoint, "train")), test, k=4)
    assert set(scored.scores) == set(SCORES) - set(OF_PRIOR)
    assert all(np.isfinite(values).all() for values in scored.scores.values())
