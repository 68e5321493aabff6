"""Methods that need no encoder are measured once."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.images.config import DataConfig
from aekit.images.data import read_images
from aekit.images.probe import baselines
from aekit.images.probe.classifiers import balanced_draws
from aekit.images.probe.task import Task


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("none")
    config = DataConfig(name="digits", limit=300)
    train, test = (read_images(config, split, data_root=folder) for split in ("train", "test"))
    return Task(train, train.labels, test, test.labels, balanced_draws(train.labels, [10, 40], 2, seed=0))


def test_baselines_are_measured_once_for_all_checkpoints(task, monkeypatch):
    calls = []
    for name in ("pixel_accuracies", "pca_accuracies"):
        measure = getattr(baselines, name)
        monkeypatch.setattr(baselines, name, lambda *given, m=measure: calls.append(given[1:]) or m(*given))
    shared = baselines.Baselines(task)
    assert shared.pixels is shared.pixels
    assert shared.pca(3) is shared.pca(3)
    assert not np.array_equal(shared.pca(3), shared.pca(12))
    assert calls == [(), (3,), (12,)]


def test_all_principal_components_know_as_much_as_the_pixels(task):
    pixels, pca = baselines.pixel_accuracies(task), baselines.pca_accuracies(task, 10**6)
    assert pixels.shape == pca.shape == (2, 2)
    assert pca == pytest.approx(pixels, abs=0.05)


def test_blocks_do_not_change_the_accuracies(task, monkeypatch):
    whole = baselines.pixel_accuracies(task)
    monkeypatch.setattr(baselines, "BLOCK", 70)
    np.testing.assert_allclose(baselines.pixel_accuracies(task), whole, atol=0.01)
