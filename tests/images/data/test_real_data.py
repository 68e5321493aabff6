"""Known statistics of the real data sets, under AEKIT_DATA."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from aekit.images.config import DataConfig
from aekit.images.data import read_images

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def root():
    return Path(os.environ["AEKIT_DATA"])


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [("mnist", 0.1307, 0.3081), ("fashion-mnist", 0.2860, 0.3530)],  # the usual constants for normalisation
)
def test_counts_and_moments_are_the_published_ones(root, name, mean, std):
    train, test = (read_images(DataConfig(name), split, data_root=root) for split in ("train", "test"))
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.images.mean() / 255 == pytest.approx(mean, abs=5e-5)
    assert train.images.std() / 255 == pytest.approx(std, abs=5e-5)
    assert (np.bincount(test.labels) == 1000).all() or name == "mnist"


def test_the_mean_image_of_mnist_is_as_far_from_the_digits_as_known(root):
    train, test = (read_images(DataConfig("mnist"), split, data_root=root).images / 255 for split in ("train", "test"))
    assert ((test - train.mean(axis=0)) ** 2).mean() == pytest.approx(0.0675, abs=1e-3)


def test_celeba_is_read_twice_the_second_time_at_once(root, tmp_path, monkeypatch):
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path))
    config = DataConfig("celeba", image_size=(64, 64))
    starts = [time.perf_counter()]
    first = [read_images(config, split, data_root=root) for split in ("train", "test")]
    starts.append(time.perf_counter())
    second = [read_images(config, split, data_root=root) for split in ("train", "test")]
    starts.append(time.perf_counter())
    took = np.diff(starts)
    assert took[1] < 0.5 * took[0], took  # a sixth where the pixels are decoded by two cores
    assert [images.fingerprint for images in first] == [images.fingerprint for images in second]
    assert [len(images) for images in first] == [8000, 2000]
    attributes = np.concatenate([images.attributes for images in first]).mean(axis=0)
    share = dict(zip(first[0].attribute_names, attributes, strict=True))
    assert share["Male"] == pytest.approx(0.42, abs=0.005)
    assert share["Smiling"] == pytest.approx(0.48, abs=0.005)
