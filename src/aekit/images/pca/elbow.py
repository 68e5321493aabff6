"""The elbow of a falling curve: the point beyond which a larger x gains little."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]

METHOD = "Kneedle (Satopaa et al. 2011)"


class Elbow(NamedTuple):
    """A point of a curve.

    Attributes:
        x: Its position.
        y: The value of the curve there.
        sharpness: How far the curve lies below the straight line between its ends there, as a fraction of its total
            fall, in (0, 1): near 0 for a straight line, near 1 for a right angle.
    """

    x: float
    y: float
    sharpness: float


def kneedle(x: npt.NDArray[np.number], y: FloatArray, *, sensitivity: float = 1.0) -> Elbow | None:
    """Return the elbow of a falling, convex curve by the Kneedle method, or None if it has none.

    Both axes are scaled to [0, 1], x' = (x - x_0) / (x_n - x_0) and y' = (y - y_n) / (y_0 - y_n), both linear. The
    elbow is where the curve lies farthest below the straight line between its ends, that is where
    d_i = (1 - y'_i) - x'_i is largest. It counts as one if d falls by more than ``sensitivity`` mean steps of x',
    1 / (n - 1), after it; since d ends at zero, that is if d exceeds this. So a noisy straight line has none, and the
    fewer points there are, the sharper an elbow must be. Nothing is smoothed; of several elbows the sharpest counts.

    The position depends on where the curve is cut off: compare elbows only over the same range of x.

    Args:
        x: Where the curve was measured, (N,), each value once, in any order.
        y: The curve, (N,).
        sensitivity: S of the paper, which recommends 1 for curves that are known completely.

    Returns:
        The elbow, always at one of ``x``; None for fewer than three points, or if the curve does not fall, is straight,
        or bends the other way.

    Source:
        Satopaa, Albrecht, Irwin & Raghavan 2011, Finding a "Kneedle" in a haystack, doi:10.1109/ICDCSW.2011.20.
    """
    if len(x) != len(y) or len(np.unique(x)) < len(x) or not np.isfinite(np.concatenate([x, y])).all():
        raise ValueError("a curve needs one finite y for each x, and distinct x")
    order = np.argsort(x)
    x, y = np.asarray(x, np.float64)[order], np.asarray(y, np.float64)[order]
    if len(x) < 3 or y[0] <= y[-1]:
        return None
    difference = 1 - (y - y[-1]) / (y[0] - y[-1]) - (x - x[0]) / (x[-1] - x[0])
    best = int(difference.argmax())
    if difference[best] <= sensitivity / (len(x) - 1):
        return None
    return Elbow(float(x[best]), float(y[best]), float(difference[best]))
