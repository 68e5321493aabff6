"""The accuracy of samples by an independent classifier: near one for real images, chance for shuffled classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from aekit.images.data.image_set import ImageSet
from aekit.images.evaluation.class_accuracy import fit_judge, fraction_interval, judge_samples, mean_accuracies

NAMES = [str(number) for number in range(10)]


@pytest.fixture(scope="module")
def digits():
    pixels, labels = load_digits(return_X_y=True)
    images = ImageSet(np.clip(pixels.reshape(-1, 1, 8, 8) * 16, 0, 255).astype(np.uint8), "digits")
    order = np.random.default_rng(0).permutation(len(labels))
    train, test = order[:800], order[800:]
    return (images.subset(train), labels[train]), (images.subset(test), labels[test])


@pytest.mark.slow
def test_samples_that_are_images_of_their_class_are_right_and_of_another_class_by_chance(digits):
    (train, labels), real = digits
    judge = fit_judge(train, labels, seed=0)
    rng = np.random.default_rng(1)
    asked = np.repeat(np.arange(10), 100)
    of_class = np.array([rng.choice(np.flatnonzero(labels == number)) for number in asked])
    samples = train.take(of_class) / np.float32(255)
    table = judge_samples(judge, NAMES, samples, asked, real, seed=0)
    right, real_right = mean_accuracies(table)
    assert right > 0.99
    assert real_right > 0.95
    assert table["class"].tolist() == NAMES
    assert table["n"].tolist() == [100] * 10
    assert table["n_real"].sum() == len(real[1])
    shuffled = judge_samples(judge, NAMES, samples[rng.permutation(1000)], asked, real, seed=0)
    assert 0.06 < mean_accuracies(shuffled)[0] < 0.14
    assert mean_accuracies(shuffled)[1] == real_right


def test_only_the_classes_that_were_asked_for_are_judged(digits):
    (train, labels), real = digits
    judge = fit_judge(train, labels, seed=0)
    table = judge_samples(judge, NAMES, train.take(np.arange(4)) / 255, np.array([3, 3, 8, 3]), real, seed=0)
    assert table["class"].tolist() == ["3", "8"]
    assert table["n"].tolist() == [3, 1]


def test_the_interval_of_a_fraction_is_wilsons():
    p, n, z = 8 / 10, 10, 1.959964
    scale = 1 + z**2 / n
    middle, half = (p + z**2 / (2 * n)) / scale, z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / scale
    np.testing.assert_allclose(fraction_interval(8, 10), (middle - half, middle + half), rtol=1e-5)
    assert fraction_interval(10, 10)[1] == pytest.approx(1)
