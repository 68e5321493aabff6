"""Precision, recall, density and coverage: cases that are known, and slow loops over the definitions."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.images.sample_quality.manifolds import overlap, radii


def _overlap(samples, images, k=3):
    return overlap(samples, images, radii(images, k), k)


def test_it_is_what_the_definitions_say():
    generator = np.random.default_rng(0)
    k, samples, images = 4, generator.normal(0.5, 1, (60, 3)), generator.normal(0, 1.3, (80, 3))

    def reach(points):
        return [sorted(np.linalg.norm(point - points, axis=1))[k] for point in points]

    between = np.array([[np.linalg.norm(sample - image) for image in images] for sample in samples])
    inside, of_samples = between <= np.array(reach(images)), between <= np.array(reach(samples))[:, None]
    found = _overlap(samples, images, k)
    assert found.precision == pytest.approx(np.mean([any(row) for row in inside]))
    assert found.recall == pytest.approx(np.mean([any(column) for column in of_samples.T]))
    assert found.density == pytest.approx(inside.sum() / (k * len(samples)))
    assert found.coverage == pytest.approx(np.mean([any(column) for column in inside.T]))


def test_copies_of_images_are_perfect_and_far_samples_are_not():
    images = np.random.default_rng(0).normal(size=(100, 5))
    assert _overlap(images, images)[:2] == (1.0, 1.0)
    assert _overlap(images, images).coverage == 1.0
    assert _overlap(images + 100, images) == (0.0, 0.0, 0.0, 0.0)


def test_a_single_mode_is_precise_and_recalls_its_half():
    generator = np.random.default_rng(0)
    images = np.concatenate([generator.normal(0, 1, (500, 2)), generator.normal(50, 1, (500, 2))])
    found = _overlap(generator.normal(0, 1, (1000, 2)), images)
    assert found.precision > 0.95
    assert found.recall == pytest.approx(0.5, abs=0.03)
    assert found.coverage == pytest.approx(0.5, abs=0.03)


def test_density_of_equal_distributions_is_one_on_average():
    generator = np.random.default_rng(0)
    found = [_overlap(*generator.normal(size=(2, 300, 2)), k=5).density for _ in range(20)]
    assert np.mean(found) == pytest.approx(1.0, abs=0.03)
