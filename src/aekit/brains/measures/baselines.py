"""Simple models of the same participants: the floor under any network, and the ceiling set by true volumes."""

from __future__ import annotations

import math
import mmap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import LinearRegression, RidgeCV

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Predict = Callable[[FloatArray], npt.NDArray[np.float64]]  # from features of others, (M, F), to (M,) or (M, T)

# Participants on which a Gaussian process finds its scales: each step of the search costs the cube of their number.
_MAX_SEARCHED = 500
_N_RESTARTS = 3
_HISTOGRAM_PENALTIES = np.logspace(-6, 4, 41)  # for features of mean variance one, per participant
_VOXEL_PENALTIES = np.logspace(-5, 4, 46)  # times the mean squared length of an image
_ROWS = 32  # participants read before their pages are released
_MAX_VALUES = 2**23  # voxels of all participants read at a time: 32 MB as float32


def predict_mean(train_targets: FloatArray, n: int) -> npt.NDArray[np.float64]:
    """Return the mean of the train targets, (N, T) or (N,), for each of ``n`` others: (n, T) or (n,)."""
    mean = np.asarray(train_targets, np.float64).mean(axis=0)
    return np.repeat(mean[None], n, axis=0)


def predict_median(train_targets: FloatArray, n: int) -> npt.NDArray[np.float64]:
    """Return the median of the train targets, the constant with the smallest MAE: (n, T) or (n,) as above."""
    median: npt.NDArray[np.float64] = np.median(np.asarray(train_targets, np.float64), axis=0)
    return np.repeat(median[None], n, axis=0)


def fit_linear(x: FloatArray, y: FloatArray) -> Predict:
    """Return the prediction of least squares with an intercept.

    Args:
        x: Features of the train participants, tissue volumes in mL or proportions, (N, F).
        y: Their targets, (N,) or (N, T).
    """
    scale = _Scale(x)
    model = LinearRegression().fit(scale(x), y)  # scaled, as proportions add up to one: the minimum-norm solution
    return lambda others: np.asarray(model.predict(scale(others)), np.float64)


def fit_gaussian_process(x: FloatArray, y: FloatArray, *, seed: int, max_participants: int = 2000) -> Predict:
    """Return the prediction of a Gaussian process with one length scale per feature and noise, by marginal likelihood.

    On true tissue volumes it is the ceiling: how well age can be predicted from them. It follows curved trends, and its
    noise keeps it from following individual participants.

    Args:
        x: Features of the train participants, such as tissue volumes in mL, (N, F).
        y: Their targets, (N,).
        seed: Seed of the starting points of the search and of random subsets.
        max_participants: Larger cohorts are subsampled to this size; above 500, the kernel is searched on 500 of them.

    Source:
        Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, sections 2.2 and 5.4.1.
    """
    order = np.arange(len(x))
    if len(x) > max_participants:
        order = np.random.default_rng(seed).permutation(len(x))[:max_participants]
    scale, middle, spread = _Scale(x[order]), float(np.mean(y[order])), float(np.std(y[order]))
    inputs, targets = scale(x[order]), (y[order] - middle) / (spread or 1.0)
    lengths = RBF(np.ones(x.shape[1]), (0.05, 1e3))
    kernel = ConstantKernel(1.0, (1e-2, 1e3)) * lengths + WhiteKernel(0.3, (1e-4, 10.0))
    with warnings.catch_warnings():
        # A length scale at its bound means an uninformative feature, or a purely linear one.
        warnings.simplefilter("ignore", ConvergenceWarning)
        searched = np.random.default_rng(seed).permutation(len(order))[:_MAX_SEARCHED]
        model = GaussianProcessRegressor(kernel, alpha=1e-8, n_restarts_optimizer=_N_RESTARTS, random_state=seed)
        model.fit(inputs[searched], targets[searched])
        if len(order) > len(searched):
            model = GaussianProcessRegressor(model.kernel_, alpha=1e-8, optimizer=None).fit(inputs, targets)
    return lambda others: np.asarray(model.predict(scale(others)), np.float64) * spread + middle


def smooth_histogram(histograms: FloatArray, *, sd_bins: float = 2.0) -> npt.NDArray[np.float64]:
    """Return histograms blurred along their bins, (N, F): slightly brighter brains get similar ones.

    The sum of each is kept. With :func:`fit_ridge` on the histograms of :mod:`aekit.brains.volumes.store` for 181
    brains of IXI, in 5 folds and averaged over 10 splits, R^2 of grey matter, white matter and CSF, and MAE of age::

        64 bins of 0.02 as they are           .961 .943 .910  7.6 years
        32 bins                               .967 .939 .909  7.5
        16 bins                               .953 .938 .901  8.0
        64 bins blurred by 1                  .968 .951 .922  7.1
        64 bins blurred by 2                  .970 .951 .921  6.9
        64 bins blurred by 4                  .966 .948 .922  7.1
        64 bins, square root of mL            .954 .927 .891  7.8
        64 bins, log(1 + mL)                  .927 .882 .859  8.1

    Args:
        histograms: mL of brain per bin of scaled intensity, (N, F).
        sd_bins: Standard deviation of the blur in bins.
    """
    blurred = gaussian_filter1d(np.asarray(histograms, np.float64), sd_bins, axis=1, mode="reflect")
    return np.asarray(blurred, np.float64)


@dataclass(frozen=True)
class LinearModel:
    """A linear function of features.

    Attributes:
        weight: Of each target and feature, (T, F), or (F,) for targets without an axis.
        bias: Of each target, (T,) or ().
    """

    weight: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    def __call__(self, x: FloatArray) -> npt.NDArray[np.float64]:
        """Return predictions, (M, T) or (M,), from features, (M, F)."""
        found: npt.NDArray[np.float64] = np.asarray(x, np.float64) @ self.weight.T + self.bias
        return found


def fit_ridge(x: FloatArray, y: FloatArray) -> LinearModel:
    """Return ridge regression on a histogram, with the penalty of each target by leave-one-out.

    Args:
        x: Features of the train participants, such as histograms blurred by :func:`smooth_histogram`, (N, F).
        y: Their targets, (N,) or (N, T).
    """
    if len(x) < 2:  # nobody remains when one is left out
        mean = np.asarray(y, np.float64).mean(axis=0)
        return LinearModel(np.zeros((*mean.shape, x.shape[1])), mean)
    scale = _Scale(x, each=False)
    penalties = _HISTOGRAM_PENALTIES * len(x)
    model = RidgeCV(penalties, alpha_per_target=np.ndim(y) == 2).fit(scale(x), y)
    # scikit-learn drops the axis of a single target.
    weight = np.reshape(model.coef_ / scale.spread, (*np.shape(y)[1:], x.shape[1]))
    bias = np.reshape(model.intercept_, np.shape(y)[1:])
    return LinearModel(weight, bias - weight @ scale.mean)


class _Scale:
    """Moves features to mean zero and divides by the SD of each, or by one number for all.

    One number keeps the few participants in a rare bin of a histogram from weighing as much as all in the others.
    """

    def __init__(self, x: FloatArray, *, each: bool = True) -> None:
        values = np.asarray(x, np.float64)
        self.mean = values.mean(axis=0)
        spread = values.std(axis=0) if each else np.sqrt(values.var(axis=0).mean())
        self.spread = np.where(spread > 0, spread, 1.0)

    def __call__(self, x: FloatArray) -> npt.NDArray[np.float64]:
        scaled: npt.NDArray[np.float64] = (np.asarray(x, np.float64) - self.mean) / self.spread
        return scaled


def gram_matrix(
    images: npt.NDArray[np.floating], mask: BoolArray | None = None, *, block: int | None = None
) -> npt.NDArray[np.float64]:
    """Return all inner products of images less their mean image, float64 (N, N).

    Ridge regression needs nothing else of the voxels, so they are read once for all folds. That the mean includes
    held-out participants makes no difference: :func:`predict_ridge_voxels` subtracts the mean of the train ones, and
    the first subtraction cancels. It keeps products of float32 exact to six digits of the differences.

    Args:
        images: Volumes on a common grid, (N, X, Y, Z), which may be memory-mapped. Voxels are not scaled
            individually: that amplifies those at the edge of the brain and ruins the prediction.
        mask: Which voxels count, (X, Y, Z); all of them by default.
        block: Voxels to read at a time; by default as many as take 32 MB.

    Raises:
        ValueError: The mask has another shape than an image, or a product is not finite.
    """
    if mask is not None and mask.shape != images.shape[1:]:
        raise ValueError(f"images of shape {images.shape[1:]}, and a mask of shape {mask.shape}")
    n = len(images)
    step = block or max(1, _MAX_VALUES // max(n, 1))
    n_voxels = math.prod(images.shape[1:])
    gram = np.zeros((n, n))
    for start in range(0, n_voxels, step):
        voxels = _read_voxels(images, mask, slice(start, min(start + step, n_voxels)))
        voxels -= voxels.mean(axis=0, dtype=np.float64).astype(np.float32)
        gram += voxels @ voxels.T
    if not np.isfinite(gram).all():
        raise ValueError("an image has a voxel that is not finite")
    return gram


def _read_voxels(images: npt.NDArray[np.floating], mask: BoolArray | None, which: slice) -> npt.NDArray[np.float32]:
    flat = images.reshape(len(images), -1)
    kept = slice(None) if mask is None else mask.reshape(-1)[which]
    n_kept = which.stop - which.start if isinstance(kept, slice) else int(kept.sum())
    voxels = np.empty((len(images), n_kept), np.float32)
    for start in range(0, len(images), _ROWS):
        rows = slice(start, start + _ROWS)
        voxels[rows] = flat[rows, which][:, kept]
        _forget(images)
    return voxels


def _forget(images: npt.NDArray[np.floating]) -> None:
    # Pages that were read stay in this process's memory, and a few voxels of an image bring in their neighbours: 825 MB
    # were held for 466 images, and now 110. Not for a writable map, which may hold changes that the file does not.
    mapped: object = images.base
    is_read_only = isinstance(images, np.memmap) and images.mode == "r"
    if is_read_only and isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def fit_ridge_voxels(gram: FloatArray, targets: FloatArray, train: IntArray) -> npt.NDArray[np.float64]:
    """Return the weight of each train participant's image in ridge regression on voxels, (n, T); their sum is 0.

    The weights of voxels are the sum of the train images times these. Arguments as of :func:`predict_ridge_voxels`.
    """
    inner = gram[np.ix_(train, train)]
    means = inner.mean(axis=0)
    centred = inner - means - means[:, None] + means.mean()
    values, vectors = np.linalg.eigh(centred)
    values = np.maximum(values, 0.0)
    rotated = vectors.T @ (targets[train] - targets[train].mean(axis=0))  # (n, T)
    least = np.full(rotated.shape[1], np.inf)
    dual = np.zeros(rotated.shape)
    for shrunken in _penalised(values):
        left_out = _left_out_errors(vectors, shrunken, rotated)
        better = left_out < least
        least[better] = left_out[better]
        dual[:, better] = vectors @ (shrunken[:, None] * rotated[:, better])
    return dual


def predict_ridge_voxels(
    gram: FloatArray, targets: FloatArray, train: IntArray, others: IntArray
) -> npt.NDArray[np.float64]:
    """Return the prediction of ridge regression on voxels, with an intercept, from inner products alone: (M, T).

    The penalty of each target is the one with the smallest squared leave-one-out error among the train participants,
    which has a closed form.

    Args:
        gram: Inner products of :func:`gram_matrix`, (N, N).
        targets: Targets of all participants, (N, T); only those of train participants are used.
        train: Rows of the train participants, at least two.
        others: Rows of the M participants to predict.

    Source:
        Saunders, Gammerman & Vovk 1998, Ridge regression learning algorithm in dual variables; leave-one-out of a
        linear smoother: Hastie, Tibshirani & Friedman 2009, The Elements of Statistical Learning, section 7.10.1.
    """
    means = gram[np.ix_(train, train)].mean(axis=0)
    across = gram[np.ix_(others, train)]
    across = across - across.mean(axis=1, keepdims=True) - means + means.mean()
    predicted: npt.NDArray[np.float64] = targets[train].mean(axis=0) + across @ fit_ridge_voxels(gram, targets, train)
    return predicted


def _penalised(values: FloatArray) -> Iterator[npt.NDArray[np.float64]]:
    # The inverse of K + penalty, for every penalty, as a factor for each eigenvector of K.
    unit = float(values.mean())
    if unit == 0:  # the same image for everyone: no voxel is informative
        return
    for penalty in _VOXEL_PENALTIES * unit:
        yield 1 / (values + penalty)


def _left_out_errors(vectors: FloatArray, shrunken: FloatArray, rotated: FloatArray) -> npt.NDArray[np.float64]:
    # With H the hat matrix, 1 - H = penalty (K + penalty)^-1 - 1/n: the penalty cancels between numerator and
    # denominator, and the fitted mean contributes 1/n.
    n = len(vectors)
    largest = shrunken.max()  # 1 / penalty, as centring leaves an eigenvalue of zero
    residuals = vectors @ (shrunken[:, None] / largest * rotated)
    kept = np.square(vectors) @ (shrunken / largest) - 1 / n
    errors: npt.NDArray[np.float64] = np.square(residuals / np.maximum(kept, 1e-12)[:, None]).mean(axis=0)
    return errors
