"""Paths of a model: their ends, how far they lie from codes, and directions of attributes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from aekit.errors import AekitError
from aekit.images.inference import reconstruct_images
from aekit.images.interpolation.groups import choose_groups
from aekit.images.interpolation.latent_paths import PathBuilder, build_cloud, find_direction, path_alphas
from aekit.images.interpolation.request import PathRequest
from aekit.images.session import open_session


def _builder(path, request, samples=None):
    session = open_session([path], device="cpu")
    (checkpoint,) = session.checkpoints()
    image_set = session.images(checkpoint, request.split)
    cloud = build_cloud(session, checkpoint, image_set, seed=0)
    direction = find_direction(session, checkpoint, request, cloud, image_set)
    builder = PathBuilder(checkpoint, cloud, image_set, request, direction, samples)
    return builder, choose_groups(request, image_set)


@pytest.mark.parametrize("kind", ["linear", "slerp"])
@pytest.mark.parametrize("fixture", ["vae_checkpoint", "ae_checkpoint"])
def test_the_ends_of_a_path_are_the_reconstructions_of_its_images(fixture, kind, request):
    builder, (group,) = _builder(request.getfixturevalue(fixture), PathRequest(pairs="#12-#55", path=kind, steps=5))
    path = builder.latent_path(group, 0)
    pair = builder.image_set.subset(np.array([12, 55]))
    np.testing.assert_allclose(path.images[[0, -1]], reconstruct_images(builder.checkpoint.model, pair), atol=1e-6)
    assert np.abs(path.images[2] - path.images[0]).max() > 0.05
    assert path.left_out.tolist() == [12, 55]


def test_a_path_through_pixels_blends_the_images_and_has_no_error(vae_checkpoint):
    builder, (group,) = _builder(vae_checkpoint, PathRequest(pairs="#12-#55", space="pixels", steps=3))
    path = builder.pixel_path(group, 0)
    first, second = builder.image_set.images[[12, 55]] / 255
    np.testing.assert_allclose(path.images, [first, (first + second) / 2, second], atol=1e-6)
    assert (path.z, path.errors) == (None, (0.0, 0.0))


def test_a_path_between_samples_starts_at_the_sample(vae_checkpoint):
    samples = np.random.default_rng(0).standard_normal((4, 2))
    builder, (group,) = _builder(vae_checkpoint, PathRequest(n_prior=2, n_draws=1, steps=3), samples)
    path = builder.latent_path(group, 1)
    np.testing.assert_allclose(path.z[[0, -1]], samples[2:])
    assert np.isnan(path.errors).all()
    np.testing.assert_allclose(builder.end_images(group, 1), path.images[[0, -1]], atol=1e-6)


def test_a_direction_is_the_difference_of_means_of_the_training_codes(ae_checkpoint):
    request = PathRequest(attribute="0", space="both", steps=3)
    builder, groups = _builder(ae_checkpoint, request)
    session = open_session([ae_checkpoint], device="cpu")
    (checkpoint,) = session.checkpoints()
    train, test = (session.images(checkpoint, split) for split in ("train", "test"))
    codes, has = checkpoint.encode(train).mean, train.labels == 0
    np.testing.assert_allclose(builder.direction.z, codes[has].mean(0) - codes[~has].mean(0), rtol=1e-4, atol=1e-6)
    x = train.images / 255
    np.testing.assert_allclose(builder.direction.x, x[has].mean(0) - x[~has].mean(0), atol=1e-6)
    expected = roc_auc_score(test.labels == 0, checkpoint.encode(test).mean @ builder.direction.z)
    auc, low, high = builder.direction.auc
    assert auc == pytest.approx(expected)
    assert low < auc < high
    path = builder.latent_path(groups[0], 0)
    np.testing.assert_allclose(np.diff(path.z, axis=0), np.tile(2 * builder.direction.z, (2, 1)), rtol=1e-5)


def test_an_attribute_that_all_training_images_have_is_refused(vae_checkpoint, tmp_path):
    labels = np.zeros(50, np.int64)
    np.savez(tmp_path / "same.npz", images=np.zeros((50, 8, 8), np.uint8), labels=labels)
    session = open_session([vae_checkpoint], data=str(tmp_path / "same.npz"), device="cpu")
    (checkpoint,) = session.checkpoints()
    image_set = session.images(checkpoint, "test")
    cloud = build_cloud(session, checkpoint, image_set, seed=0)
    with pytest.raises(AekitError, match="--attribute 0: all training images have it"):
        find_direction(session, checkpoint, PathRequest(attribute="0"), cloud, image_set)


def test_zero_and_one_are_met_exactly():
    alphas = path_alphas(PathRequest(limits=(-0.3, 1.2), steps=16)).tolist()
    assert {0.0, 1.0} < set(alphas)
    assert str(alphas[3]) == "0.0"
