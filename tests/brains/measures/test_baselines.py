"""Simple models are those of scikit-learn on what was computed by hand, and use train participants only."""

from __future__ import annotations

import csv
import gzip
import os
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV

from aekit.brains.measures import baselines
from aekit.brains.measures.baselines import (
    fit_gaussian_process,
    fit_linear,
    fit_ridge,
    gram_matrix,
    predict_mean,
    predict_median,
    predict_ridge_voxels,
    smooth_histogram,
)


def _images(n: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return images of (n, 6, 5, 4) float16, and two targets of which the second is noise."""
    generator = np.random.default_rng(seed)
    signal = generator.normal(size=n)
    pattern = generator.normal(size=(6, 5, 4))
    images = 0.8 + 0.1 * signal[:, None, None, None] * pattern + generator.normal(0, 0.05, (n, 6, 5, 4))
    return images.astype(np.float16), np.stack([50 + 9 * signal, generator.normal(500, 50, n)], axis=1)


def test_mean_and_median_are_those_of_train_for_everyone():
    targets = np.array([[1.0, 10.0], [2.0, 20.0], [9.0, 60.0]])
    assert predict_mean(targets, 2).tolist() == [[4, 30], [4, 30]]
    assert predict_median(targets, 2).tolist() == [[2, 20], [2, 20]]
    assert predict_mean(targets[:, 0], 3).tolist() == [4, 4, 4]
    assert predict_median(targets[:, 0], 0).shape == (0,)


def test_linear_regression_is_least_squares_with_an_intercept():
    generator = np.random.default_rng(1)
    x, others = generator.normal(500, 60, (40, 3)), generator.normal(500, 60, (7, 3))
    y = 100 - x @ np.array([0.1, 0.02, -0.2]) + generator.normal(size=40)
    assert fit_linear(x, y)(others) == pytest.approx(LinearRegression().fit(x, y).predict(others))
    both = np.stack([y, 2 * y], axis=1)
    assert fit_linear(x, both)(others) == pytest.approx(LinearRegression().fit(x, both).predict(others))


def test_proportions_which_add_up_to_one_have_a_linear_prediction_too():
    generator = np.random.default_rng(2)
    share = generator.dirichlet([9, 8, 3], 40)
    y = 30 + 80 * share[:, 2]
    assert fit_linear(share, y)(share) == pytest.approx(y)
    assert np.isfinite(fit_gaussian_process(share, y, seed=0)(share)).all()


def test_the_gaussian_process_is_the_textbook_mean_at_its_own_kernel(monkeypatch):
    generator = np.random.default_rng(3)
    x, others = generator.normal(500, 60, (40, 2)), generator.normal(500, 60, (9, 2))
    y = 40 + 0.1 * (x[:, 0] - 500) + generator.normal(0, 2, 40)
    kept = []

    class Kept(baselines.GaussianProcessRegressor):
        def fit(self, inputs, targets):
            kept.append(self)
            return super().fit(inputs, targets)

    monkeypatch.setattr(baselines, "GaussianProcessRegressor", Kept)
    found = fit_gaussian_process(x, y, seed=0)(others)
    process, noise = kept[-1].kernel_.k1, kept[-1].kernel_.k2.noise_level
    z, z_others = ((each - x.mean(axis=0)) / x.std(axis=0) for each in (x, others))
    weights = cho_solve(cho_factor(process(z) + noise * np.eye(40)), (y - y.mean()) / y.std())
    assert found == pytest.approx(y.mean() + y.std() * process(z_others, z) @ weights, rel=1e-4)


def test_the_gaussian_process_bends_where_a_line_cannot_and_ignores_noise():
    generator = np.random.default_rng(4)
    x = np.stack([generator.uniform(400, 700, 150), generator.normal(size=150), np.full(150, 3.0)], axis=1)
    truth = 20 + 60 * ((x[:, 0] - 550) / 150) ** 2
    y = truth + generator.normal(0, 4, 150)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicted = fit_gaussian_process(x[:100], y[:100], seed=0)(x[100:])
    line = fit_linear(x[:100], y[:100])(x[100:])
    assert np.abs(predicted - truth[100:]).mean() < 2 < 5 < np.abs(line - truth[100:]).mean()


def test_the_gaussian_process_subsamples_large_cohorts(monkeypatch):
    generator = np.random.default_rng(5)
    x = generator.normal(500, 60, (400, 1))
    y = np.sin(x[:, 0] / 40) * 20 + 50 + generator.normal(0, 2, 400)
    sizes = []

    class Counted(baselines.GaussianProcessRegressor):
        def fit(self, inputs, targets):
            sizes.append(len(inputs))
            return super().fit(inputs, targets)

    monkeypatch.setattr(baselines, "GaussianProcessRegressor", Counted)
    monkeypatch.setattr(baselines, "_MAX_SEARCHED", 80)
    predictions = [fit_gaussian_process(x, y, seed=seed, max_participants=120)(x) for seed in (0, 0, 1)]
    assert sizes == [80, 120] * 3
    assert np.array_equal(predictions[0], predictions[1])
    assert not np.array_equal(predictions[0], predictions[2])
    assert np.abs(predictions[0] - y).mean() < 3


def test_constant_targets_are_predicted_exactly():
    x = np.random.default_rng(6).normal(size=(20, 3))
    for fit in (fit_linear, fit_ridge, lambda x, y: fit_gaussian_process(x, y, seed=0)):
        assert fit(x, np.full(20, 33.0))(x) == pytest.approx(np.full(20, 33.0))


def test_one_or_two_participants_are_enough_for_every_model():
    generator = np.random.default_rng(10)
    for n in (1, 2):
        x, y = generator.normal(500, 60, (n, 3)), generator.normal(40, 9, n)
        gram = gram_matrix(generator.random((n + 1, 3, 3, 3)))
        for predicted in (
            *(fit(x, y)(x) for fit in (fit_linear, fit_ridge, lambda x, y: fit_gaussian_process(x, y, seed=0))),
            predict_ridge_voxels(gram, np.append(y, np.nan)[:, None], np.arange(n), np.array([n])),
        ):
            assert (predicted >= y.min() - 1e-6).all()
            assert (predicted <= y.max() + 1e-6).all()


def test_ridge_on_a_histogram_chooses_a_penalty_per_target_by_leave_one_out():
    generator = np.random.default_rng(7)
    x, others = generator.gamma(20, 2, (50, 12)) * 10, generator.gamma(20, 2, (8, 12)) * 10
    y = np.stack([x[:, :4].sum(axis=1), generator.normal(size=50)], axis=1)
    found = fit_ridge(x, y)(others)
    spread = np.sqrt(x.var(axis=0).mean())
    for target in range(2):
        reference = RidgeCV(np.logspace(-6, 4, 41) * 50).fit(x / spread, y[:, target])
        assert found[:, target] == pytest.approx(reference.predict(others / spread), rel=1e-6, abs=1e-6)
        assert fit_ridge(x, y[:, target])(others) == pytest.approx(found[:, target])
    assert np.abs(found[:, 0] - others[:, :4].sum(axis=1)).mean() < 1
    assert np.ptp(found[:, 1]) < np.ptp(y[:, 1]) / 3  # noise is left alone


def test_bins_that_are_empty_in_train_are_ignored():
    generator = np.random.default_rng(8)
    x = np.hstack([generator.gamma(20, 2, (30, 5)), np.zeros((30, 2))])
    others = x + np.array([0, 0, 0, 0, 0, 99, -99])
    predict = fit_ridge(x, x[:, 0])
    assert predict(others) == pytest.approx(predict(x))


def test_a_blurred_histogram_keeps_its_millilitres():
    histograms = np.random.default_rng(9).gamma(2, 10, (4, 64)).astype(np.float32)
    blurred = smooth_histogram(histograms)
    assert blurred.sum(axis=1) == pytest.approx(histograms.sum(axis=1), rel=1e-6)
    peak = smooth_histogram(np.eye(64)[[32]], sd_bins=2.0)[0]
    bins = np.arange(64)
    assert np.sqrt(peak @ np.square(bins - peak @ bins)) == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("block", [None, 1, 7, 1000])
def test_the_gram_matrix_is_that_of_voxels_minus_the_mean_image(block):
    images, _ = _images()
    flat = images.reshape(30, -1).astype(np.float64)
    flat = flat - flat.mean(axis=0)
    assert gram_matrix(images, block=block) == pytest.approx(flat @ flat.T, rel=1e-4, abs=1e-4)
    mask = np.random.default_rng(0).random((6, 5, 4)) < 0.5
    inside = flat[:, mask.reshape(-1)]
    assert gram_matrix(images, mask, block=block) == pytest.approx(inside @ inside.T, rel=1e-4, abs=1e-4)


def test_a_mask_of_another_shape_and_a_voxel_that_is_not_a_number_are_refused():
    images, _ = _images()
    with pytest.raises(ValueError, match="mask of shape"):
        gram_matrix(images, np.ones((6, 5, 3), bool))
    images[3, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        gram_matrix(images)


def test_a_file_larger_than_the_blocks_is_read_with_bounded_memory(tmp_path):
    shape = (20, 64, 64, 64)  # 10 MB
    images = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float16, shape=shape)
    images[:] = np.random.default_rng(0).random(shape[1:])[None] + np.arange(20)[:, None, None, None] / 20
    images.flush()
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    tracemalloc.start()
    found = gram_matrix(mapped, block=2**13)
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()
    assert found == pytest.approx(gram_matrix(np.array(mapped)), rel=1e-3, abs=1)


@pytest.mark.slow
def test_ridge_on_voxels_is_scikit_learns_at_the_penalty_with_the_smallest_left_out_error():
    images, targets = _images()
    train, others = np.arange(22), np.arange(22, 30)
    flat = images.reshape(30, -1).astype(np.float64)
    found = predict_ridge_voxels(gram_matrix(images), targets, train, others)
    centred = flat[train] - flat[train].mean(axis=0)
    penalties = np.logspace(-5, 4, 46) * np.square(centred).sum(axis=1).mean()
    for target in range(2):
        y = targets[:, target]
        errors = [np.mean(_left_out(flat[train], y[train], penalty)) for penalty in penalties]
        model = Ridge(penalties[int(np.argmin(errors))]).fit(flat[train], y[train])
        assert found[:, target] == pytest.approx(model.predict(flat[others]), rel=1e-4)
    assert np.corrcoef(found[:, 0], targets[others, 0])[0, 1] > 0.95


def _left_out(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    # Without a formula: each participant is left out, and the model refitted. In the space that they span.
    basis = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2]
    x = x @ basis.T
    errors = []
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        errors.append(y[i] - Ridge(penalty).fit(x[rest], y[rest]).predict(x[[i]])[0])
    return np.square(errors)


def test_targets_of_predicted_participants_are_not_used():
    images, targets = _images()
    gram, train, others = gram_matrix(images), np.arange(20), np.arange(20, 30)
    hidden = targets.copy()
    hidden[20:] = np.nan
    expected = predict_ridge_voxels(gram, targets, train, others)
    assert np.array_equal(predict_ridge_voxels(gram, hidden, train, others), expected)


def test_the_images_of_others_do_not_change_a_prediction():
    images, targets = _images()
    alone = predict_ridge_voxels(gram_matrix(images[:21]), targets[:21], np.arange(20), np.array([20]))
    images[21:] *= 5
    among = predict_ridge_voxels(gram_matrix(images), targets, np.arange(20), np.array([20]))
    assert among == pytest.approx(alone, rel=1e-4)


def test_the_same_image_for_all_predicts_the_mean():
    images = np.ones((10, 4, 4, 4), np.float16)
    targets = np.arange(10.0)[:, None]
    found = predict_ridge_voxels(gram_matrix(images), targets, np.arange(6), np.arange(6, 10))
    assert found[:, 0].tolist() == [2.5] * 4


@pytest.mark.real_data
def test_ixi_gives_the_known_errors():
    nibabel = pytest.importorskip("nibabel")
    folder = Path(os.environ["AEKIT_DATA"]) / "brain"
    with (folder / "tables" / "ixi_hh_participants.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    targets = np.array([[float(row[name]) for name in ("age", "gmv", "wmv", "csfv")] for row in rows])
    images, histograms = [], []
    for row in rows:
        data = nibabel.Nifti1Image.from_bytes(gzip.decompress((folder / row["file"]).read_bytes()))
        volume = data.get_fdata(dtype=np.float32)
        scaled = volume / np.percentile(volume[volume > 0], 99)
        counts, _ = np.histogram(np.minimum(scaled[volume > 0], 1.279), 64, (0, 1.28))
        histograms.append(counts * 0.008)
        images.append(scaled.reshape(40, 2, 48, 2, 40, 2).mean(axis=(1, 3, 5)).astype(np.float16))
    gram, features = gram_matrix(np.array(images)), smooth_histogram(np.array(histograms))
    fold = np.random.default_rng(0).permutation(len(rows)) % 5
    found = {name: np.empty((len(rows), 4)) for name in ("median", "linear", "gp", "voxels", "histogram")}
    for each in range(5):
        train, others = np.flatnonzero(fold != each), np.flatnonzero(fold == each)
        volumes, ages = targets[:, 1:], targets[:, 0]
        found["median"][others] = predict_median(targets[train], len(others))
        found["linear"][others, 0] = fit_linear(volumes[train], ages[train])(volumes[others])
        found["gp"][others, 0] = fit_gaussian_process(volumes[train], ages[train], seed=0)(volumes[others])
        found["voxels"][others] = predict_ridge_voxels(gram, targets, train, others)
        found["histogram"][others] = fit_ridge(features[train], targets[train])(features[others])
    mae = {name: np.abs(values[:, 0] - targets[:, 0]).mean() for name, values in found.items()}
    expected = {"median": 15.0, "linear": 6.4, "gp": 5.8, "voxels": 8.3, "histogram": 6.6}
    assert mae == pytest.approx(expected, abs=0.4)
    errors = np.square(found["histogram"] - targets)[:, 1:].sum(axis=0)
    r2 = 1 - errors / np.square(targets - targets.mean(axis=0))[:, 1:].sum(axis=0)
    assert r2 == pytest.approx([0.979, 0.959, 0.944], abs=0.01)
