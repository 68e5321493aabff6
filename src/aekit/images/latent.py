"""Which latent dimensions a model uses, and how much."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


def active_units(means: FloatArray, threshold: float = 0.01) -> npt.NDArray[np.bool_]:
    """Return which latent dimensions are active, bool (L,): those whose mean code varies from image to image.

    A dimension is active if the variance over x of the posterior mean E[z | x] exceeds the threshold. The threshold
    is an absolute one, made for a standard normal prior; an autoencoder's codes have no fixed scale, and there only
    the dead dimensions (a variance of zero) tell anything.

    Args:
        means: Posterior means, (N, L), for as many images as possible.
        threshold: Variance above which a dimension counts as active.

    Source:
        Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, on the latent space representation.
    """
    active: npt.NDArray[np.bool_] = means.var(axis=0, dtype=np.float64) > threshold
    return active


def live_dimensions(codes: FloatArray) -> npt.NDArray[np.bool_]:
    """Return which dimensions of a code change from image to image, bool (L,); the others are dead.

    A dead dimension has one value for all images, but for rounding: a standard deviation below a millionth of the
    widest dimension's, or of the size of the values themselves. A correlation with it is not defined.

    Args:
        codes: Codes, or posterior means, (N, L).
    """
    spread = codes.std(axis=0, dtype=np.float64)
    size = np.abs(codes).max(axis=0, initial=0.0)
    live: npt.NDArray[np.bool_] = spread > 1e-6 * np.maximum(size, spread.max(initial=0.0))
    return live


def dimension_order(kl: FloatArray) -> npt.NDArray[np.intp]:
    """Return the latent dimensions, (L,), from the largest KL divergence to the smallest; equal ones stay in order.

    Args:
        kl: Mean KL divergence of each dimension in nats, (L,).
    """
    return np.argsort(-kl, kind="stable")
