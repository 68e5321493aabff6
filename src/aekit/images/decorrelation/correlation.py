"""How correlated the dimensions of a code are: one value with an interval, and the value for other axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from aekit.core.intervals import Interval
from aekit.images.latent import live_dimensions

FloatArray = npt.NDArray[np.floating]
# From correlation matrices, (..., K, K) with K >= 2, to one value each, (...).
MatrixMeasure = Callable[[FloatArray], FloatArray]

CONFIDENCE = 0.95
MAX_FLOATS = 2**22  # of products or matrices held at a time, 32 MB
NO_VALUE = Interval(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Decorrelation:
    """The correlations of a code's L dimensions, and measures of them.

    Attributes:
        matrix: Pearson correlations, float64 (L, L); rows and columns of dead dimensions are NaN.
        live: Which dimensions change from image to image, bool (L,); the others are left out of all measures.
        values: Each measure of the live dimensions, with its interval of :func:`measure_intervals`.
        rotated: Each measure for random rotations of the same code: the mean over rotations, and the range of the
            middle 95 % of them.
    """

    matrix: FloatArray
    live: npt.NDArray[np.bool_]
    values: dict[str, Interval]
    rotated: dict[str, Interval]


def mean_absolute(matrix: FloatArray) -> FloatArray:
    """Return the mean absolute off-diagonal correlation, in [0, 1], of matrices, (..., K, K)."""
    value: FloatArray = np.abs(_off_diagonal(matrix)).mean(axis=-1)
    return value


def root_mean_square(matrix: FloatArray) -> FloatArray:
    """Return the root mean square of the off-diagonal correlations, in [0, 1], of matrices, (..., K, K)."""
    value: FloatArray = np.sqrt(np.square(_off_diagonal(matrix)).mean(axis=-1))
    return value


def participation_ratio(matrix: FloatArray) -> FloatArray:
    """Return (sum l)^2 / sum l^2 over the eigenvalues l of matrices, (..., K, K): 1 to K, K for uncorrelated ones.

    The sum of squared eigenvalues of a symmetric matrix is that of its squared entries, so for correlation matrices
    it is K / (1 + (K - 1) rms^2) of the root mean square correlation.

    Source:
        Gao, Trautmann, Yu, Santhanam, Ryu, Shenoy & Ganguli 2017, doi:10.1101/214262, on the dimension of a
        population of neurons, where it is that of a covariance matrix; here it is that of correlations.
    """
    trace = np.trace(matrix, axis1=-2, axis2=-1)
    value: FloatArray = np.square(trace) / np.square(matrix).sum(axis=(-2, -1))
    return value


def effective_rank(matrix: FloatArray) -> FloatArray:
    """Return exp(-sum p log p), p = l / sum l, over the eigenvalues l of matrices, (..., K, K): 1 to K.

    Source:
        Roy & Vetterli 2007, The effective rank: a measure of effective dimensionality, 15th European Signal Processing
        Conference, pages 606-610, with singular values; those of a correlation matrix are its eigenvalues.
    """
    eigenvalues = np.maximum(np.linalg.eigvalsh(matrix), np.finfo(float).tiny)  # rounding may make zeros negative
    p = eigenvalues / eigenvalues.sum(axis=-1, keepdims=True)
    value: FloatArray = np.exp(-(p * np.log(p)).sum(axis=-1))
    return value


MEASURES: MappingProxyType[str, MatrixMeasure] = MappingProxyType(
    {
        "mean-abs": mean_absolute,
        "rms": root_mean_square,
        "participation": participation_ratio,
        "effective-rank": effective_rank,
    }
)
# An effective rank has an interval if there are at least this many images per live dimension; see measure_intervals.
IMAGES_PER_DIMENSION = 10


def noise_floor(measure: str, n_images: int) -> float:
    """Return the expected measure of independent dimensions for N images; NaN for measures other than means of r.

    For large N, correlations of independent values are Gaussian around zero with variance 1 / (N - 1), so their mean
    absolute value is sqrt(2 / (pi (N - 1))) and their root mean square 1 / sqrt(N - 1).
    """
    return {"mean-abs": math.sqrt(2 / math.pi), "rms": 1.0}.get(measure, math.nan) / math.sqrt(n_images - 1)


def correlation_matrix(codes: FloatArray) -> FloatArray:
    """Return the Pearson correlations of the dimensions of a code, float64 (L, L); NaN where one of them is dead.

    Args:
        codes: Codes, or posterior means, (N, L), N >= 2.
    """
    live = live_dimensions(codes)
    matrix = np.full((codes.shape[1], codes.shape[1]), np.nan)
    z = _standardised(codes[:, live])
    matrix[np.ix_(live, live)] = np.clip(z.T @ z / len(z), -1.0, 1.0)
    matrix[live, live] = 1.0
    return matrix


def measure_matrix(matrix: FloatArray, keep: npt.NDArray[np.bool_] | None = None) -> dict[str, float]:
    """Return each measure of the live dimensions of a correlation matrix.

    Means of off-diagonal values are NaN below two live dimensions, which make no pair; the others are NaN below one.

    Args:
        matrix: Correlations, (L, L), NaN in rows and columns of dead dimensions.
        keep: Dimensions to use, bool (L,), such as the active units of a VAE; None uses all.
    """
    live = ~np.isnan(np.diag(matrix))
    if keep is not None:
        live &= keep
    n_live = int(live.sum())
    if n_live < 2:
        alone = 1.0 if n_live else np.nan
        return {"mean-abs": np.nan, "rms": np.nan, "participation": alone, "effective-rank": alone}
    return {name: float(measure(matrix[np.ix_(live, live)])) for name, measure in MEASURES.items()}


def measure_codes(codes: FloatArray, *, n_resamples: int = 200, n_rotations: int = 100, seed: int = 0) -> Decorrelation:
    """Return the correlations of the dimensions of a code, and each measure with its interval and for rotated axes.

    Resamples are random weights of the images, w ~ Dirichlet(1, ..., 1): the Bayesian bootstrap. Its spread is that of
    the usual bootstrap, in which weights are integers, but no image ever has zero weight, so that a dimension that
    varies in few images only is never dead in a resample.

    Args:
        codes: Codes, or posterior means, (N, L), N >= 2.
        n_resamples: Number of resamples of the images.
        n_rotations: Number of random rotations of the axes.
        seed: Seed of both. For two codes of the same images, the same seed draws the same weights.

    Source:
        Rubin 1981, The Bayesian bootstrap, Annals of Statistics 9(1), doi:10.1214/aos/1176345338. On the equivalence
        of such weights and the usual bootstrap: Praestgaard & Wellner 1993, doi:10.1214/aop/1176989011.
    """
    matrix = correlation_matrix(codes)
    live = ~np.isnan(np.diag(matrix))
    values = {name: Interval(value, np.nan, np.nan) for name, value in measure_matrix(matrix).items()}
    n_live = int(live.sum())
    if n_live < 2:
        return Decorrelation(matrix, live, values, dict.fromkeys(MEASURES, NO_VALUE))
    resampled = _measure_all(_resampled_matrices(codes[:, live], n_resamples, seed))
    found = {name: interval.value for name, interval in values.items()}
    values = measure_intervals(found, resampled, n_images=len(codes), n_live=n_live)
    rotated = _measure_all(_rotated_matrices(codes[:, live], n_rotations, seed))
    tails = [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2]
    spread = {
        name: Interval(float(drawn.mean()), *np.quantile(drawn, tails).tolist()) for name, drawn in rotated.items()
    }
    return Decorrelation(matrix, live, values, spread)


def measure_intervals(
    values: dict[str, float], resampled: dict[str, FloatArray], *, n_images: int, n_live: int
) -> dict[str, Interval]:
    """Return each measure with its 95 % interval; the effective rank has none with too few images per dimension.

    Sampling noise adds its variance to each correlation, so the bias of mean |r| and of the root mean square is
    subtracted from their squares. The participation ratio is a function of the root mean square and gets its interval
    from that one's, with the ends swapped. The effective rank K exp(-D) gets it from D, to which noise adds; but with
    few images the noise bends the whole spectrum, and with fewer than ten per dimension there is no interval.

    Coverage of the true value (Gaussian codes, 200 repetitions, 200 resamples), the lowest and highest of four kinds
    of codes (independent dimensions, and weak, equal and strong correlations); in brackets that of
    :func:`bootstrap_ends` of the measure itself, and of the effective rank where it has no interval::

        K   N     participation            effective rank
        5   50    .93 - .97  (.89 - .92)   .93 - .97  (.91 - .96)
        5   200   .94 - 1.0  (.93 - 1.0)   .94 - 1.0  (.93 - 1.0)
        5   1000  .92 - 1.0  (.92 - 1.0)   .92 - 1.0  (.92 - 1.0)
        20  50    .95 - .99  (.00 - .90)   none       (.07 - .83; from D .56 - .90)
        20  200   .96 - 1.0  (.82 - .94)   .94 - .99  (.89 - .96)
        20  1000  .94 - 1.0  (.94 - 1.0)   .94 - 1.0  (.94 - 1.0)

    Args:
        values: The measures of all images.
        resampled: The measures of each resample, (B,) each.
        n_images: Number of images.
        n_live: Number of dimensions K, at least two.
    """
    rms = bootstrap_ends(values["rms"], resampled["rms"], power=2)
    ends = {
        "mean-abs": bootstrap_ends(values["mean-abs"], resampled["mean-abs"], power=2),
        "rms": rms,
        "participation": tuple(n_live / (1 + (n_live - 1) * min(end, 1.0) ** 2) for end in rms[::-1]),
        "effective-rank": (np.nan, np.nan),
    }
    if n_images >= IMAGES_PER_DIMENSION * n_live:
        lost = np.log(n_live / resampled["effective-rank"])
        less, more = bootstrap_ends(float(np.log(n_live / values["effective-rank"])), lost)
        ends["effective-rank"] = n_live * np.exp(-more), n_live * np.exp(-less)
    limits = {"mean-abs": (0.0, 1.0), "rms": (0.0, 1.0), "participation": (1, n_live), "effective-rank": (1, n_live)}
    return {
        name: Interval(value, *(float(end) for end in np.clip(ends[name], *limits[name])))
        for name, value in values.items()
    }


def bootstrap_ends(value: float, resampled: FloatArray, *, power: int = 1) -> tuple[float, float]:
    """Return the ends of a 95 % interval of a measure that is biased by sampling noise.

    A percentile interval does not work here. Noise increases |r|, and resampling adds the noise of a second draw to
    that of the first: for ten independent dimensions and 5,000 images the mean |r| is 0.011, that of resamples 0.016,
    and the interval contains neither 0 nor 0.011. Instead, the spread of the resamples around their mean is centred on
    two values, the measured value v and the one without its bias, 2 v - (mean of the resamples), and the interval
    covers both. Where noise adds as a variance (power 2), the bias is that of the squares, so that independent
    dimensions have a value of 0.

    Coverage of the true mean |r|, percentile / this interval (Gaussian codes, 100 repetitions of 5,000 images, 200
    resamples), at 2, 5, 10 and 30 dimensions: independent 0.00 / 0.99 or more; correlated, with a true value of 0.06,
    0.12, 0.13 and 0.09: 0.98 / 0.96, 0.95 / 0.93, 0.89 / 0.97 and 0.52 / 0.95. The measured value is always inside.

    Args:
        value: The measure of all images.
        resampled: The measure of each resample, (B,).
        power: Power of the measure whose bias is subtracted.

    Source:
        Davison & Hinkley 1997, Bootstrap Methods and their Application, chapters 2 and 5, on the bootstrap's bias.
    """
    drawn, measured = resampled**power, value**power
    unbiased = 2 * measured - drawn.mean()
    low, high = np.quantile(drawn, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2]) - drawn.mean()
    ends = min(measured, unbiased) + low, max(measured, unbiased) + high
    return max(float(ends[0]), 0.0) ** (1 / power), float(ends[1]) ** (1 / power)


def _off_diagonal(matrix: FloatArray) -> FloatArray:
    rows, columns = np.triu_indices(matrix.shape[-1], 1)
    pairs: FloatArray = matrix[..., rows, columns]
    return pairs


def _standardised(codes: FloatArray) -> FloatArray:
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    scaled: FloatArray = centred / centred.std(axis=0)
    return scaled


def _measure_all(stacks: Iterator[FloatArray]) -> dict[str, FloatArray]:
    drawn: dict[str, list[FloatArray]] = {name: [] for name in MEASURES}
    for matrices in stacks:
        for name, measure in MEASURES.items():
            drawn[name].append(measure(matrices))
    return {name: np.concatenate(values) for name, values in drawn.items()}


def _as_correlations(covariance: FloatArray) -> FloatArray:
    scale = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    correlations: FloatArray = covariance / (scale[..., :, None] * scale[..., None, :])
    return correlations


def _resampled_matrices(codes: FloatArray, n_resamples: int, seed: int) -> Iterator[FloatArray]:
    """Yield correlation matrices of resamples of the images, in stacks, (b, K, K).

    All pairs of dimensions and all resamples are one matrix product: weights (b, N) times products of pairs (N, P).
    200 resamples of 5,000 images take 0.05 s at 10 dimensions, 0.2 s at 30 and 1.6 s at 100, on one core.
    """
    z = _standardised(codes)
    n_images, n_live = z.shape
    rows, columns = np.triu_indices(n_live)
    generator = np.random.default_rng([seed, 0])
    at_a_time = max(1, MAX_FLOATS // n_live**2)
    block = max(1, MAX_FLOATS // len(rows))
    for start in range(0, n_resamples, at_a_time):
        weights = generator.standard_exponential((min(at_a_time, n_resamples - start), n_images))
        weights /= weights.sum(axis=1, keepdims=True)
        second = np.zeros((len(weights), len(rows)))
        for first in range(0, n_images, block):
            part = z[first : first + block]
            second += weights[:, first : first + block] @ (part[:, rows] * part[:, columns])
        mean = weights @ z
        covariance = np.empty((len(weights), n_live, n_live))
        covariance[:, rows, columns] = covariance[:, columns, rows] = second
        covariance -= mean[:, :, None] * mean[:, None, :]
        yield _as_correlations(covariance)


def random_rotations(n: int, size: int, generator: np.random.Generator) -> FloatArray:
    """Return n rotations and reflections, (n, size, size), uniformly distributed: those of ``scipy.stats.ortho_group``.

    Source:
        Mezzadri 2007, Notices of the AMS 54, arXiv:math-ph/0609050.
    """
    rotations, triangles = np.linalg.qr(generator.normal(size=(n, size, size)))
    diagonals = triangles.diagonal(axis1=-2, axis2=-1)
    return np.asarray(rotations * (diagonals / abs(diagonals))[..., np.newaxis, :], np.float64)


def _rotated_matrices(codes: FloatArray, n_rotations: int, seed: int) -> Iterator[FloatArray]:
    """Yield correlation matrices of the code with randomly rotated axes, in stacks, (b, K, K)."""
    covariance = np.cov(codes.astype(np.float64), rowvar=False)
    n_live = len(covariance)
    generator = np.random.default_rng([seed, 1])
    at_a_time = max(1, MAX_FLOATS // n_live**2)
    for start in range(0, n_rotations, at_a_time):
        size = min(at_a_time, n_rotations - start)
        rotations = random_rotations(size, n_live, generator)
        yield _as_correlations(rotations @ covariance @ rotations.transpose(0, 2, 1))
