import numpy as np
import pytest

from aekit.brains.tissue_model import fit_tissue_model, predict_by_tissues, tissue_features, tissue_maps
from aekit.brains.volumes.tissue_peaks import REFERENCE

FLUID, GREY, WHITE = REFERENCE


def test_each_voxel_is_a_mixture_of_two_tissues_by_its_intensity():
    image = np.zeros((1, 6, 1, 1), np.float32)
    image[0, :, 0, 0] = (0, FLUID / 2, FLUID, GREY, (GREY + WHITE) / 2, 1.2)
    maps = tissue_maps(image, 8.0)[0, :, :, 0, 0]
    expected = [(0, 0, 0), (1, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0.5, 0.5), (0, 0, 1)]
    np.testing.assert_allclose(maps.T, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("spacing", "sides", "cells"),
    [(4.0, (5, 4, 8), (3, 2, 4)), (2.0, (9, 8, 1), (3, 2, 1)), (12.0, (5, 4, 3), (5, 4, 3))],
)
def test_cells_are_of_about_8_mm_and_keep_the_amount_of_each_tissue(spacing, sides, cells):
    random = np.random.default_rng(0)
    images = random.choice([0, FLUID, GREY, WHITE], (20, *sides)).astype(np.float16).astype(np.float32)
    maps = tissue_maps(images, spacing)
    assert maps.shape == (20, 3, *cells)
    n_voxels = max(1, round(8 / spacing)) ** 3
    for number, value in enumerate(np.float16(REFERENCE)):
        count = (np.float16(images) == value).sum((1, 2, 3))
        np.testing.assert_allclose(maps[:, number].sum((1, 2, 3)) * n_voxels, count, atol=0.05 * images[0].size)


@pytest.fixture(scope="module")
def cohort():
    """Return images, histograms and ages of 60 people who lose grey matter on one side as they get older."""
    random = np.random.default_rng(0)
    ages = random.uniform(20, 90, 60)
    images = np.where(random.random((60, 6, 6, 6)) < 0.5, GREY, WHITE)
    lost = random.random((60, 6, 6, 3)) < (ages[:, None, None, None] - 20) / 100
    images[:, :, :, :3][lost] = FLUID
    histograms = np.stack([np.histogram(image, 16, (0, 1.28))[0] for image in images]).astype(np.float32)
    return images, histograms, ages


TRAIN, OTHERS = np.arange(0, 45), np.arange(45, 60)


def test_it_learns_where_tissue_is_lost(cohort):
    images, histograms, ages = cohort
    blind = np.repeat(histograms.mean(0, keepdims=True), 60, axis=0)  # only the maps know anything
    features = tissue_features(images, blind, 8.0)
    found = predict_by_tissues(features, ages, TRAIN, OTHERS)
    assert np.abs(found - ages[OTHERS]).mean() < 0.5 * np.abs(ages[OTHERS] - ages[TRAIN].mean()).mean()
    model = fit_tissue_model(features, ages, [TRAIN])
    of_fluid = model.maps[0]
    assert of_fluid[:, :, :3].mean() > 10 * abs(of_fluid[:, :, 3:].mean())


def test_ages_that_have_nothing_to_do_with_the_images_are_not_predicted(cohort):
    images, histograms, ages = cohort
    features = tissue_features(images, histograms, 8.0)
    r = []
    for seed in range(10):
        shuffled = np.random.default_rng(seed).permutation(ages)
        found = predict_by_tissues(features, shuffled, TRAIN, OTHERS)
        r.append(np.corrcoef(found, shuffled[OTHERS])[0, 1] if np.ptp(found) > 1e-6 else 0.0)
    assert abs(np.mean(r)) < 0.2


def test_weights_of_a_checkpoint_predict_as_the_mean_of_the_folds(cohort):
    images, histograms, ages = cohort
    features = tissue_features(images, histograms, 8.0)
    trains = [np.arange(0, 30), np.arange(15, 45)]
    expected = np.mean([predict_by_tissues(features, ages, train, OTHERS) for train in trains], axis=0)
    model = fit_tissue_model(features, ages, trains)
    np.testing.assert_allclose(model(images[OTHERS], histograms[OTHERS], 8.0), expected, rtol=1e-4)


def test_a_brighter_scan_of_more_voxels_has_the_same_shape_of_histogram(cohort):
    images, histograms, _ = cohort
    features, larger = tissue_features(images, histograms, 8.0), tissue_features(images, 3 * histograms, 8.0)
    np.testing.assert_allclose(larger.shapes, features.shapes, rtol=1e-6)
    np.testing.assert_allclose(features.shapes.sum(axis=1), 1)


def test_held_out_people_do_not_change_the_prediction_of_others(cohort):
    images, histograms, ages = cohort
    others = OTHERS[:5]
    expected = predict_by_tissues(tissue_features(images, histograms, 8.0), ages, TRAIN, others)
    changed, new_ages = images.copy(), ages.copy()
    changed[50:] = WHITE
    new_ages[45:] = 5.0
    found = predict_by_tissues(tissue_features(changed, histograms, 8.0), new_ages, TRAIN, others)
    np.testing.assert_allclose(found, expected, atol=0.01)
