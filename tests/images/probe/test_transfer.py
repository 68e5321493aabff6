"""Heads on a frozen encoder, fine-tuning, and training from random weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from aekit.core.adamw import PlainAdamW
from aekit.core.device import ThreadTeam
from aekit.images.data.image_set import ImageSet
from aekit.images.probe import transfer
from aekit.images.probe.classifiers import fit_scale
from aekit.images.probe.transfer import (
    encode_features,
    encode_variants,
    fine_tune,
    fit_heads,
    predict_heads,
    predict_images,
    train_from_scratch,
    warp_images,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bars():
    """Return 300 images with a bar of a random brightness in one of three places, with noise, and their classes."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 3, 300)
    images = generator.integers(0, 60, (300, 1, 12, 12))
    for image, kind in zip(images, targets, strict=True):
        image[0, :, 4 * kind + 1 : 4 * kind + 3] += generator.integers(60, 190)
    return ImageSet(images.astype(np.uint8), "bars", labels=targets)


def _encoder():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(150, 8)).eval()


def _few(bars, n=4):
    return np.concatenate([np.flatnonzero(bars.labels == kind)[:n] for kind in range(3)])


def test_features_are_the_output_of_the_encoder_for_any_number_of_threads(bars, monkeypatch):
    monkeypatch.setattr(transfer, "ENCODE_BATCH", 70)
    encoder = _encoder()
    with torch.no_grad():
        expected = encoder(torch.from_numpy(bars.images).float() / 255).numpy()
    counted = []
    for n_threads in (1, 2, 3):
        with ThreadTeam(n_threads) as team:
            found = encode_features(encoder, bars, team=team, on_images=counted.append)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert sum(counted) == 3 * 300


def test_warped_versions_do_not_depend_on_the_threads_and_differ(bars, monkeypatch):
    monkeypatch.setattr(transfer, "ENCODE_BATCH", 50)
    made = []
    for n_threads in (1, 2):
        with ThreadTeam(n_threads) as team:
            made.append(encode_variants(_encoder(), bars, np.arange(120), seed=(0,), team=team))
    assert made[0].shape == (transfer.N_VARIANTS, 120, 8)
    np.testing.assert_array_equal(made[0], made[1])
    assert np.abs(made[0][0] - made[0][1]).mean() > 1e-3


def test_a_warp_shifts_a_spot_by_at_most_two_pixels_and_keeps_its_mass():
    y, x = np.mgrid[:28, :28]
    spot = torch.from_numpy(np.exp(-((y - 13.5) ** 2 + (x - 13.5) ** 2) / 8)).float().expand(400, 1, 28, 28)
    warped = warp_images(spot, transfer.torch_generator(0)).numpy()[:, 0]
    mass = warped.sum((1, 2))
    assert mass.mean() == pytest.approx(float(spot[0].sum()), rel=0.05)
    centre_x = (warped * x).sum((1, 2)) / mass
    assert np.abs(centre_x - 13.5).max() < 1.6
    assert centre_x.std() == pytest.approx(1 / np.sqrt(3), rel=0.15)  # uniform over a pixel to each side


def test_without_a_warp_the_image_stays_the_same(monkeypatch, bars):
    for name in ("ROTATION", "STRETCH", "SHEAR", "SHIFT"):
        monkeypatch.setattr(transfer, name, 0.0)
    x = torch.from_numpy(bars.images[:5]).float() / 255
    torch.testing.assert_close(warp_images(x, transfer.torch_generator(0)), x)


def test_heads_trained_in_parallel_are_those_trained_alone(monkeypatch):
    monkeypatch.setattr(transfer, "HEAD_STEPS", 50)
    generator = np.random.default_rng(0)
    table = generator.normal(size=(2, 30, 5)).astype(np.float32)
    rows, targets = generator.integers(0, 30, (3, 8)), generator.integers(0, 4, (3, 8))
    together = fit_heads(table, rows, targets, n_classes=4, seed=(1,), device=CPU)
    (alone,) = fit_heads(table, rows[:1], targets[:1], n_classes=4, seed=(1,), device=CPU)
    for parameter, same in zip(together[0].parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(parameter, same, atol=1e-4, rtol=1e-4)
    assert len(together) == 3


def test_a_head_learns_what_a_linear_classifier_cannot():
    generator = np.random.default_rng(0)
    features = generator.uniform(-1.5, 1.5, (600, 2)).astype(np.float32)
    targets = (features.prod(axis=1) > 0).astype(np.int64)  # exclusive or
    heads = fit_heads(features[None], np.arange(200)[None], targets[None, :200], n_classes=2, seed=(0,), device=CPU)
    assert np.mean(predict_heads(heads, features[200:])[0] == targets[200:]) > 0.85


@pytest.mark.slow
def test_fine_tuning_learns_and_leaves_the_encoder_and_its_batch_statistics_alone(bars):
    encoder = _encoder()
    before = copy.deepcopy(encoder.state_dict())
    with ThreadTeam(1) as team:
        features = encode_features(encoder, bars, team=team)
    scale, rows = fit_scale(features), _few(bars)
    targets = bars.labels[rows][None]
    (head,) = fit_heads(scale.apply(features)[None], rows[None], targets, n_classes=3, seed=(0,), device=CPU)
    tuned = fine_tune(encoder, scale, head, bars.take(rows), bars.labels[rows], augment=False, seed=(0,))
    for name, values in encoder.state_dict().items():
        torch.testing.assert_close(values, before[name], rtol=0, atol=0)
    torch.testing.assert_close(tuned.encoder[1].running_mean, before["1.running_mean"], rtol=0, atol=0)
    assert not torch.equal(tuned.encoder[0].weight, before["0.weight"])
    frozen = np.mean(predict_heads([head], scale.apply(features))[0] == bars.labels)
    assert np.mean(predict_images(tuned, bars) == bars.labels) >= frozen - 0.02
    assert frozen > 0.8


@pytest.mark.slow
def test_training_from_random_weights_learns_and_repeats(bars):
    rows = _few(bars, 10)
    found = []
    for _ in range(2):
        classifier = train_from_scratch(
            _encoder(), bars.take(rows), bars.labels[rows], n_classes=3, augment=True, seed=(5,)
        )
        assert not classifier.training
        found.append(predict_images(classifier, bars))
    np.testing.assert_array_equal(*found)
    assert np.mean(found[0] == bars.labels) > 0.9


def test_what_is_drawn_depends_on_every_part_of_a_seed():
    draws = [torch.rand(1, generator=transfer.torch_generator(*seed)).item() for seed in ((0, 1), (1, 0), (0, 1))]
    assert draws[0] == draws[2] != draws[1]


@pytest.mark.slow
def test_all_networks_take_the_same_number_of_steps_for_their_labels(bars, monkeypatch):
    # "Pre-training helps" is only a statement about pre-training if random weights are trained for as long.
    rows = _few(bars)
    images, targets = bars.take(rows), bars.labels[rows]
    steps = []
    step = PlainAdamW.step

    def watched(self, lr):
        steps.append(1)
        step(self, lr)

    monkeypatch.setattr(PlainAdamW, "step", watched)

    def small_encoder():
        return nn.Sequential(nn.Flatten(), nn.Linear(144, 4))

    def count(train):
        steps.clear()
        trained = train()
        return len(steps), trained

    encoder = small_encoder()
    features = encoder(torch.from_numpy(images).float() / 255).detach().numpy()
    scale = fit_scale(features)
    places = np.arange(len(rows))[None]
    n_head, heads = count(
        lambda: fit_heads(scale.apply(features)[None], places, targets[None], n_classes=3, seed=(0, 1), device=CPU)
    )
    n_both, _ = count(lambda: fine_tune(encoder, scale, heads[0], images, targets, augment=False, seed=(0,)))
    n_scratch, _ = count(
        lambda: train_from_scratch(small_encoder(), images, targets, n_classes=3, augment=False, seed=(0,))
    )
    assert n_head + n_both == n_scratch
    assert n_both > 0
