"""Principal components are those of scikit-learn, and their errors those of restoring every image by hand."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from aekit.errors import AekitError
from aekit.images import principal_components as module
from aekit.images.data.image_set import ImageSet
from aekit.images.principal_components import as_rows, fit_pca, max_components, reconstruction_errors


def _images(n: int, shape: tuple[int, ...] = (1, 9, 7), *, seed: int = 0) -> np.ndarray:
    """Return uint8 images of falling variance in all directions, dark like digits."""
    generator = np.random.default_rng(seed)
    n_values = int(np.prod(shape))
    basis = np.random.default_rng(99).standard_normal((n_values, n_values))
    scores = generator.standard_normal((n, n_values)) * 60 / (1 + np.arange(n_values))
    return np.clip(scores @ basis / 2 + 40, 0, 255).astype(np.uint8).reshape(n, *shape)


def _same_components(found: np.ndarray, expected: np.ndarray, **tolerance: float) -> None:
    signs = np.sign((found * expected).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, signs * expected, **tolerance)


@pytest.mark.parametrize("n", [40, 64, 3000])  # fewer images than values, hardly more, and more than a block
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_components_are_those_of_scikit_learn(n, kind):
    images = _images(n)
    if kind == np.float32:
        images = images.astype(np.float32) / 255
    pca = fit_pca(images, 12)
    rows = as_rows(images)
    expected = PCA(12, svd_solver="full").fit(rows)
    np.testing.assert_allclose(pca.mean, rows.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(pca.variance, expected.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(pca.total_variance, rows.var(axis=0, ddof=1).sum(), rtol=1e-9)
    _same_components(pca.components, expected.components_, atol=1e-7)
    _same_components(pca.encode(images, 12).T, expected.transform(rows).T, atol=1e-6)


def test_float32_products_of_a_block_are_exact():
    worst = np.zeros((2 * module.BLOCK + 1, 1, 2, 2), np.uint8)  # 0 and 255 alone make the largest sums
    worst[::2, :, 0] = 255
    worst[::3, :, :, 1] = 255
    covariance = np.cov(worst.reshape(len(worst), -1).astype(np.float64), rowvar=False) / 255**2
    values = np.linalg.eigvalsh(covariance)[::-1]
    np.testing.assert_allclose(fit_pca(worst, 4).variance, np.maximum(values, 0), rtol=1e-12, atol=1e-14)


def test_many_values_take_another_method_with_the_same_result(monkeypatch):
    images = _images(500)
    expected = fit_pca(images, 4)
    monkeypatch.setattr(module, "_MANY_VALUES", 40)
    found = fit_pca(images, 4)
    np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-11)
    np.testing.assert_allclose(found.components, expected.components, atol=1e-9)
    assert np.array_equal(found.components, fit_pca(images, 4).components)


def test_an_image_set_is_read_once_and_in_blocks(tmp_path):
    images = _images(2500)
    np.save(tmp_path / "x.npy", images)
    rows = np.arange(2500)[::2].astype(np.int64)
    subset = ImageSet(np.load(tmp_path / "x.npy", mmap_mode="r"), "x", rows=rows)
    taken: list[int] = []
    found = fit_pca(subset, 5, on_block=taken.append)
    assert sum(taken) == 1250
    assert max(taken) <= module.BLOCK
    expected = fit_pca(images[::2], 5)
    assert np.array_equal(found.components, expected.components)
    errors, wanted = (reconstruction_errors(expected, x, [2, 5]) for x in (subset, images[::2]))
    assert np.array_equal(errors.clipped_mse, wanted.clipped_mse)


def _peak_bytes(images: ImageSet) -> int:
    """Return the most memory that fitting components and their errors held, without that of the images' pages."""
    tracemalloc.start()
    try:
        reconstruction_errors(fit_pca(images, 6), images, [2, 6])
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    peaks = []
    for n in (8_000, 32_000):
        file = np.lib.format.open_memmap(tmp_path / f"{n}.npy", "w+", np.uint8, (n, 1, 16, 16))
        file[:] = np.random.default_rng(0).integers(0, 256, (n, 1, 16, 16), np.uint8)
        file.flush()
        subset = ImageSet(np.load(file.filename, mmap_mode="r"), "x", rows=np.arange(1, n))
        peaks.append(_peak_bytes(subset))
    small, large = peaks
    assert large < 12e6  # some blocks of 2 MB as float64; as a whole they would be 65 MB, and as bytes 8 MB
    assert large == pytest.approx(small, rel=0.05)


@pytest.mark.parametrize("offset", [1e6, -3e4])
def test_values_far_from_zero_lose_no_digits(offset):
    # Sums of squares minus the square of the sum would keep four digits of a variance of 1 next to 10^12.
    rows = np.random.default_rng(3).standard_normal((5000, 8)) * np.arange(1, 9) + offset
    found = fit_pca(rows, 8)
    expected = np.linalg.eigvalsh(np.cov(rows - offset, rowvar=False))[::-1]
    np.testing.assert_allclose(found.variance, expected, rtol=1e-9)
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-12)


def test_codes_of_an_image_set_are_those_of_its_images():
    images = _images(2100)
    pca = fit_pca(images, 4)
    found = pca.encode_all(ImageSet(images, "x", rows=np.arange(2100)[::-1].astype(np.int64)), 3)
    expected = PCA(4, svd_solver="full").fit(as_rows(images)).transform(as_rows(images[::-1]))[:, :3]
    _same_components(found.T, expected.T, atol=1e-6)


@pytest.mark.parametrize("n", [30, 1200])
def test_errors_are_those_of_restored_images(n):
    train, test = _images(n), _images(1100, seed=1)
    pca = fit_pca(train, 20)
    errors = reconstruction_errors(pca, test, [7, 1, 20, 7])
    assert errors.n_components.tolist() == [1, 7, 20]
    x = as_rows(test)
    for number, k in enumerate(errors.n_components):
        x_hat = pca.decode(pca.encode(test, k))
        np.testing.assert_allclose(errors.mse[number], np.mean((x - x_hat) ** 2), rtol=1e-10)
        clipped = np.mean((x - x_hat.clip(0, 1)) ** 2)
        np.testing.assert_allclose(errors.clipped_mse[number], clipped, rtol=1e-10)
        assert clipped < errors.mse[number]
    np.testing.assert_allclose(errors.mean_image_mse, np.mean((x - pca.mean) ** 2), rtol=1e-12)


def test_all_components_restore_the_training_images():
    images = _images(20)
    pca = fit_pca(images, max_components(images))
    errors = reconstruction_errors(pca, images, range(1, 20))
    assert errors.mse[-1] < 1e-12
    # What is left on train is the variance of the other components.
    expected = (pca.total_variance - pca.variance.cumsum()) * 19 / 20 / 63
    np.testing.assert_allclose(errors.mse, expected, atol=1e-12)


def test_equal_images_have_components_of_no_variance():
    for n in (5, 100):
        pca = fit_pca(np.full((n, 1, 4, 4), 7, np.uint8), 3)
        np.testing.assert_allclose(pca.variance, 0, atol=1e-12)
        np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(3), atol=1e-12)


def test_more_components_than_there_are_is_an_error_in_one_line():
    with pytest.raises(AekitError, match="give at most 4 components, not 5; use more images"):
        fit_pca(_images(5), 5)
    with pytest.raises(ValueError, match="3 components"):
        reconstruction_errors(fit_pca(_images(5), 3), _images(5), [4])


@pytest.mark.real_data
def test_mnist_has_the_published_errors():
    from aekit.images.config import DataConfig
    from aekit.images.data import read_images

    train, test = (
        read_images(DataConfig(), split, data_root=Path(os.environ["AEKIT_DATA"])) for split in ("train", "test")
    )
    pca = fit_pca(train, 100)
    errors = reconstruction_errors(pca, test, [1, 2, 5, 8, 10, 14, 20, 30, 50, 100])
    wanted = [0.0607, 0.0557, 0.0445, 0.0374, 0.0341, 0.0290, 0.0235, 0.0177, 0.0115, 0.0056]
    np.testing.assert_allclose(errors.mse, wanted, atol=6e-5)
    np.testing.assert_allclose(errors.mean_image_mse, 0.0675, atol=6e-5)
    expected = PCA(100, svd_solver="covariance_eigh").fit(as_rows(train.images))
    np.testing.assert_allclose(pca.variance, expected.explained_variance_, rtol=1e-9)
    _same_components(pca.components[:30], expected.components_[:30], atol=1e-8)
