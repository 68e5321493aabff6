import numpy as np
import pytest

from aekit.brains.measures.baselines import gram_matrix, predict_ridge_voxels
from aekit.brains.voxel_model import fit_voxel_model, predict_voxel_model


def test_one_image_of_weights_predicts_as_the_mean_of_the_folds():
    random = np.random.default_rng(0)
    images = random.random((50, 3, 4, 5))
    ages = 40 + 30 * images[:, 1, 2, 3] + random.normal(0, 1, 50)
    trains, new = [np.arange(0, 30), np.arange(10, 40)], np.arange(40, 50)
    gram = gram_matrix(images)
    weight, bias = fit_voxel_model(images, gram, ages, trains)
    expected = np.mean([predict_ridge_voxels(gram, ages[:, None], train, new)[:, 0] for train in trains], axis=0)
    np.testing.assert_allclose(predict_voxel_model(weight, bias, images, new), expected, rtol=1e-5)
    assert np.abs(expected - ages[new]).mean() < np.abs(ages[new] - 55).mean()
    assert weight.shape == (3, 4, 5)
    assert bias == pytest.approx(float(np.mean(expected - np.tensordot(images[new], weight.numpy(), 3))), rel=1e-4)
