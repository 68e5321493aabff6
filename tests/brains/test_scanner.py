import numpy as np
import pytest
import torch

from aekit.brains.networks import BrainBatch
from aekit.brains.scanner import ScannerEffects, bias_field, contrast_curve, remap_histogram
from aekit.brains.training import Augmenter
from aekit.brains.volumes.gridding import N_BINS, TOP


@pytest.fixture
def brain():
    """Return two images of 10 voxels a side with background, and their exact cumulative histograms, 1 mL a voxel."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 1, 10, 10, 10, generator=generator) * 0.9 + 0.15
    images[:, :, :2] = 0
    return images, histogram(images)


def histogram(images):
    found = [np.histogram(image[image > 0].numpy(), N_BINS, (0, TOP))[0].cumsum() for image in images]
    return torch.from_numpy(np.array(found, np.float32))


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def test_nothing_changes_at_strength_zero(brain):
    images, cumulative = brain
    found, histograms = ScannerEffects(0.0)(images, cumulative, draw())
    torch.testing.assert_close(found, images, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(histograms, cumulative, rtol=1e-3, atol=0.05)


def test_histograms_keep_their_ml_and_background_stays_background(brain):
    images, cumulative = brain
    found, histograms = ScannerEffects()(images, cumulative, draw())
    assert (histograms[:, -1] == cumulative[:, -1]).all()
    assert (histograms.diff(dim=1) >= 0).all()
    assert ((found > 0) == (images > 0)).all()
    assert found.max() <= TOP
    assert not torch.allclose(found, images, atol=0.01)


def test_histograms_become_those_of_the_augmented_images(brain):
    images, cumulative = brain
    found, histograms = ScannerEffects()(images, cumulative, draw(3))
    moved = (histogram(found) - cumulative).abs().mean()
    assert (histogram(found) - histograms).abs().mean() < 0.2 * moved


def test_contrast_curves_keep_order_and_both_ends():
    x = torch.linspace(0, TOP, 200)
    for gamma, slopes in ((0.7, [1.0, 0.5, 2.0]), (1.4, [0.2, 3.0, 1.0, 1.0])):
        found = contrast_curve(x, gamma, torch.tensor(slopes))
        assert (found.diff() > 0).all()
        assert found[0] == 0
        assert found[-1] == pytest.approx(TOP, abs=1e-4)
    torch.testing.assert_close(contrast_curve(x, 1.0, torch.ones(5)), x, atol=1e-5, rtol=0)


def test_bias_fields_are_smooth_and_one_without_coefficients():
    assert (bias_field(torch.zeros(9), (4, 5, 6)) == 1).all()
    slope = bias_field(torch.tensor([0.1] + [0.0] * 8), (5, 5, 5)).log()[0, :, 2, 2]
    torch.testing.assert_close(slope, torch.linspace(-0.1, 0.1, 5))


def test_a_histogram_moves_with_its_intensities():
    cumulative = np.linspace(1, N_BINS, N_BINS)  # flat
    knots = np.linspace(0.1, 0.6, 6)
    np.testing.assert_allclose(remap_histogram(cumulative, knots, knots), cumulative)
    darker = remap_histogram(cumulative, knots, knots / 2)
    np.testing.assert_allclose(darker[: N_BINS // 2], 2 * cumulative[: N_BINS // 2])
    assert darker[-1] == N_BINS


def test_the_same_seed_draws_the_same_and_no_other_kind_touches_histograms(brain):
    images, cumulative = brain
    batch = BrainBatch(images, cumulative, torch.empty(2, 0), torch.zeros(2))
    first, again, other = (Augmenter(("scanner",), 4.0).augment(batch, draw(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.cumulative_ml, again.cumulative_ml)
    assert not torch.equal(first.cumulative_ml, other.cumulative_ml)
    plain = Augmenter(("flip", "shift", "gain", "noise"), 4.0).augment(batch, draw(1))
    assert plain.cumulative_ml is cumulative


def test_an_image_without_a_brain_is_left_alone():
    images, cumulative = torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, N_BINS)
    found, histograms = ScannerEffects()(images, cumulative, draw())
    assert torch.equal(found, images)
    assert torch.equal(histograms, cumulative)
