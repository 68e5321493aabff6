"""Which latent dimensions a model uses, directions among them, and quantiles of the prior."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


def active_units(means: FloatArray, threshold: float = 0.01) -> npt.NDArray[np.bool_]:
    """Return which latent dimensions are active, bool (L,): those whose mean code varies from image to image.

    A dimension is active if the variance over x of the posterior mean E[z | x] exceeds the threshold. The threshold
    is absolute and assumes a standard normal prior. An autoencoder's codes have no fixed scale, so for them only dead
    dimensions (a variance of zero) are informative.

    Args:
        means: Posterior means, (N, L), of as many images as possible.
        threshold: Variance above which a dimension counts as active.

    Source:
        Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, on the latent space representation.
    """
    active: npt.NDArray[np.bool_] = means.var(axis=0, dtype=np.float64) > threshold
    return active


def live_dimensions(codes: FloatArray) -> npt.NDArray[np.bool_]:
    """Return which dimensions of a code change from image to image, bool (L,); the others are dead.

    A dead dimension has the same value for all images, apart from rounding: its standard deviation is below a millionth
    of that of the widest dimension, or of the size of the values themselves. Correlations with it are not defined.

    Args:
        codes: Codes, or posterior means, (N, L).
    """
    spread = codes.std(axis=0, dtype=np.float64)
    size = np.abs(codes).max(axis=0, initial=0.0)
    live: npt.NDArray[np.bool_] = spread > 1e-6 * np.maximum(size, spread.max(initial=0.0))
    return live


def prior_quantiles(n: int) -> npt.NDArray[np.float64]:
    """Return values of one latent dimension at equal steps of probability under N(0, 1), ascending, (n,)."""
    return np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])


def mean_difference(values: FloatArray, has: npt.NDArray[np.bool_]) -> FloatArray:
    """Return the mean of the rows with an attribute minus the mean of those without, float64 (...).

    Args:
        values: One row per image, (N, ...), such as codes (N, L).
        has: Which images have it, (N,); neither all nor none.

    Source:
        Larsen et al. 2016, arXiv:1512.09300, on visual attribute vectors.
    """
    if has.all() or not has.any():
        raise ValueError("a difference needs images with and without the attribute")
    difference: FloatArray = values[has].mean(axis=0, dtype=np.float64) - values[~has].mean(axis=0, dtype=np.float64)
    return difference
