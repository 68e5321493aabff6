"""PSNR and SSIM against implementations that share no code with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from aekit.images.measures.quality import psnr, ssim


def _pairs(n: int, shape: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    x = ndimage.gaussian_filter(rng.random((n, *shape)), (0, 0, 1, 1))
    x_hat = np.clip(x + rng.normal(0, 0.05, x.shape) * np.arange(1, n + 1).reshape(-1, 1, 1, 1), 0, 1)
    return torch.from_numpy(x).float(), torch.from_numpy(x_hat).float()


def _slow_ssim(x: np.ndarray, y: np.ndarray, size: int) -> float:
    """Return the SSIM of one channel, window after window, straight from the paper."""
    offsets = np.arange(size) - size // 2
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for top in range(x.shape[0] - size + 1):
        for left in range(x.shape[1] - size + 1):
            a, b = (image[top : top + size, left : left + size].astype(np.float64) for image in (x, y))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            covariance = (window * (a - mean_a) * (b - mean_b)).sum()
            values.append(
                (2 * mean_a * mean_b + 0.01**2)
                * (2 * covariance + 0.03**2)
                / ((mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2))
            )
    return float(np.mean(values))


@pytest.mark.parametrize(("shape", "size"), [((1, 16, 20), 11), ((3, 14, 12), 11), ((1, 8, 8), 7), ((3, 9, 30), 9)])
def test_ssim_is_that_of_the_paper_window_by_window(shape, size):
    x, x_hat = _pairs(3, shape)
    truth = [
        np.mean([_slow_ssim(a, b, size) for a, b in zip(image.numpy(), other.numpy(), strict=True)])
        for image, other in zip(x, x_hat, strict=True)
    ]
    np.testing.assert_allclose(ssim(x, x_hat), truth, rtol=2e-5, atol=2e-5)


def test_ssim_agrees_with_filters_of_scipy():
    x, x_hat = _pairs(1, (1, 40, 33))
    a, b = x[0, 0].double().numpy(), x_hat[0, 0].double().numpy()

    def blur(image):
        return ndimage.gaussian_filter(image, 1.5, truncate=3.5)[5:-5, 5:-5]  # truncated to 11 x 11

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    truth = (luminance * (2 * cov + 9e-4) / (var_a + var_b + 9e-4)).mean()
    assert ssim(x, x_hat).item() == pytest.approx(truth, abs=2e-5)


def test_ssim_of_equal_images_is_one_even_if_they_are_blank():
    blank, white = torch.zeros(1, 1, 28, 28), torch.ones(1, 1, 28, 28)
    x = torch.rand(1, 1, 28, 28)
    for image in (blank, white, x):
        assert ssim(image, image).item() == pytest.approx(1, abs=1e-6)
    assert ssim(blank, white).item() < 0.01


def test_ssim_falls_as_noise_grows():
    values = ssim(*_pairs(4, (1, 28, 28)))
    assert bool((values.diff() < 0).all())


def test_ssim_of_images_of_different_shape_is_a_broken_promise():
    with pytest.raises(ValueError, match="against"):
        ssim(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 9))


def test_psnr_follows_from_the_squared_error():
    x, x_hat = _pairs(3, (3, 8, 10))
    truth = [10 * math.log10(1 / float(((a - b) ** 2).mean())) for a, b in zip(x, x_hat, strict=True)]
    np.testing.assert_allclose(psnr(x, x_hat), truth, rtol=1e-5)


def test_psnr_of_equal_images_is_a_hundred_decibels_and_not_infinite():
    x = torch.rand(2, 1, 8, 8)
    assert psnr(x, x).tolist() == [100.0, 100.0]


@pytest.mark.parametrize("level", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("noise", [0.0, 1e-5, 1e-3, 1e-2])
def test_ssim_of_nearly_constant_images_is_exact_and_never_above_one(level, noise):
    rng = np.random.default_rng(0)
    x, other = (torch.from_numpy(level + noise * rng.standard_normal((40, 1, 16, 16))).float() for _ in range(2))
    near = x + 1e-7 * torch.from_numpy(rng.standard_normal(x.shape)).float()
    assert (ssim(x, x) == 1).all()
    assert ssim(x, near).max() <= 1  # 1.000018 from moments of the images themselves
    truth = _slow_ssim(x[0, 0].double().numpy(), other[0, 0].double().numpy(), 11)
    assert ssim(x[:1], other[:1]).item() == pytest.approx(truth, abs=1e-6)  # off by up to 1e-4
