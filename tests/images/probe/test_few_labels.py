"""All methods on one task: the same draws, and no knowledge of the test labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded import Recorded
from torch import nn

from aekit.core.device import ThreadTeam
from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data import read_images
from aekit.images.probe import transfer
from aekit.images.probe.baselines import pca_accuracies, pixel_accuracies
from aekit.images.probe.classifiers import balanced_draws
from aekit.images.probe.few_labels import Probe
from aekit.images.probe.task import Task

ON_ENCODER = ("frozen", "finetune", "scratch", "logistic", "spread")


def _build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU())


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return _build()


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("none")
    train, test = (read_images(DataConfig(name="digits"), split, data_root=folder) for split in ("train", "test"))
    return Task(train, train.labels, test, test.labels, balanced_draws(train.labels, [10, 100], 2, seed=0))


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr(transfer, "STEPS", 25)
    monkeypatch.setattr(transfer, "SCRATCH_STEPS", 25)
    monkeypatch.setattr(transfer, "HEAD_STEPS", 100)
    monkeypatch.setattr(transfer, "N_VARIANTS", 3)


def _measure(task, encoder, methods=ON_ENCODER, n_threads=1, **options):
    with ThreadTeam(n_threads) as team:
        probe = Probe(task, encoder, _build, team=team, **options)
        return {method: getattr(probe, method)() for method in methods}


def test_every_method_learns_and_more_labels_help(task, encoder):
    found = _measure(task, encoder) | {"pixels": pixel_accuracies(task), "pca": pca_accuracies(task, 20)}
    for method, accuracies in found.items():
        assert accuracies.shape == (2, 2)
        assert accuracies[1].mean() > accuracies[0].mean() > 0.35, method
        assert accuracies[1].mean() > 0.8, method


def test_no_method_knows_the_test_labels(task, encoder):
    shuffled = replace(task, test_labels=np.random.default_rng(0).permutation(task.test_labels))
    found = _measure(shuffled, encoder) | {"pixels": pixel_accuracies(shuffled), "pca": pca_accuracies(shuffled, 20)}
    for method, accuracies in found.items():
        assert accuracies.mean() == pytest.approx(0.1, abs=0.04), method


@pytest.mark.slow
def test_no_method_knows_labels_outside_its_draw(task, encoder):
    hidden = np.setdiff1d(np.arange(len(task.train)), task.labelled)
    wrong = task.train_labels.copy()
    wrong[hidden] = (wrong[hidden] + 1) % 10
    right, changed = (_measure(each, encoder) for each in (task, replace(task, train_labels=wrong)))
    for method in ON_ENCODER:
        np.testing.assert_array_equal(right[method], changed[method])


@pytest.mark.slow
def test_two_threads_find_what_one_finds(task, encoder):
    one, two = (_measure(task, encoder, ("finetune", "scratch"), n_threads=n) for n in (1, 2))
    for method, accuracies in one.items():
        np.testing.assert_array_equal(accuracies, two[method])


@pytest.mark.slow
def test_features_are_computed_once(task, encoder, monkeypatch):
    calls = []
    encode = transfer.encode_features
    monkeypatch.setattr(
        "aekit.images.probe.few_labels.encode_features", lambda *args, **more: calls.append(1) or encode(*args, **more)
    )
    _measure(task, encoder, augment=False)
    assert len(calls) == 2  # train and test


@pytest.mark.slow
def test_progress_ends_at_its_total(task, encoder):
    progress = Recorded()
    _measure(task, encoder, progress=progress, name="x")
    last = {what: (done, total) for what, done, total in progress.updates}
    assert {"x: fine-tuning", "x: training from random weights", "x: spreading labels"} <= set(last)
    assert all(done == total for done, total in last.values())


def test_the_graph_has_all_labelled_images_and_others_up_to_the_minimum(task, encoder):
    with ThreadTeam(1) as team:
        for asked, expected in ((0, len(task.labelled)), (500, 500), (10**6, len(task.train))):
            nodes = Probe(task, encoder, _build, team=team, n_unlabelled=asked)._nodes()
            assert len(nodes) == expected
            assert set(task.labelled) <= set(nodes)


def test_codes_without_information_are_an_error(task):
    for fill, message in ((0.0, "the same for all images"), (torch.nan, "not finite")):
        dead = _build()
        nn.init.constant_(dead[1].weight, fill)
        with pytest.raises(AekitError, match=message):
            _measure(task, dead, ("logistic",))


def test_an_error_in_one_thread_ends_them_all(task, encoder, monkeypatch):
    def fail(*args, **more):
        raise MemoryError("none left")

    monkeypatch.setattr("aekit.images.probe.few_labels.train_from_scratch", fail)
    with pytest.raises(MemoryError):
        _measure(task, encoder, ("scratch",), n_threads=2)
