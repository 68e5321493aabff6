"""How a measure varies with age: a spline basis for regressions given age and sex, and a smooth line to draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
SexArray = npt.NDArray[np.object_]  # "F", "M", or NaN if unknown

MAX_KNOTS = 5
PARTICIPANTS_PER_KNOT = 15
# Ages are first summed up in equal bins, so that a line through 100,000 participants costs as much as one through 400.
_N_BINS = 400


@dataclass(frozen=True, eq=False)
class AgeBasis:
    """A natural cubic spline of age: cubic between its knots, a straight line beyond them.

    Attributes:
        knots_years: Where the pieces meet, ascending, (K,), K >= 2; two knots make a straight line.
        centre_years: Age that maps to zero.
        scale_years: Years that map to one.
    """

    knots_years: FloatArray
    centre_years: float
    scale_years: float

    @property
    def n_columns(self) -> int:
        """Columns that :meth:`columns` returns: K - 1."""
        return len(self.knots_years) - 1

    def columns(self, age_years: FloatArray) -> FloatArray:
        """Return the basis at these ages without its constant, (N, K - 1); rows of missing ages are NaN.

        Source:
            Hastie, Tibshirani & Friedman 2009, The Elements of Statistical Learning, equations 5.4 and 5.5.
        """
        x = (age_years - self.centre_years) / self.scale_years
        knots = (self.knots_years - self.centre_years) / self.scale_years
        cubes = np.maximum(x[:, None] - knots, 0.0) ** 3
        pieces = (cubes[:, :-1] - cubes[:, -1:]) / (knots[-1] - knots[:-1])
        return np.column_stack([x, pieces[:, :-1] - pieces[:, -1:]])


def fit_age_basis(age_years: FloatArray) -> AgeBasis:
    """Return a spline with a knot for every fifteen participants, at least two and at most five, at quantiles of age.

    Args:
        age_years: Ages, (N,), N >= 2, none missing.
    """
    n_knots = int(np.clip(len(age_years) // PARTICIPANTS_PER_KNOT, 2, MAX_KNOTS))
    edge = 0.05 if n_knots > 2 else 0.0
    knots = np.unique(np.quantile(age_years, np.linspace(edge, 1 - edge, n_knots)))
    if len(knots) < 2:  # nearly all have the same age
        knots = knots[0] + np.array([0.0, 1.0])
    spread = float(np.std(age_years))
    return AgeBasis(knots, float(np.mean(age_years)), spread if spread > 0 else 1.0)


def sex_code(sex: SexArray) -> FloatArray:
    """Return -0.5 for "F", 0.5 for "M" and 0 for an unknown sex, (N,)."""
    return np.where(sex == "F", -0.5, np.where(sex == "M", 0.5, 0.0))


def age_sex_design(basis: AgeBasis, age_years: FloatArray, sex: SexArray) -> FloatArray:
    """Return the columns of a regression on age and sex: a constant, the sex code, the spline, (N, K + 1)."""
    return np.column_stack([np.ones(len(age_years)), sex_code(sex), basis.columns(age_years)])


@dataclass(frozen=True, eq=False)
class SmoothLine:
    """A local regression of a measure on age, with pointwise 95 % intervals of the mean.

    Attributes:
        age_years: Where it was evaluated, ascending, (G,).
        value: The line, (G,).
        low: Lower ends, (G,).
        high: Upper ends, (G,).
    """

    age_years: FloatArray
    value: FloatArray
    low: FloatArray
    high: FloatArray


def smooth_line(age_years: FloatArray, values: FloatArray, *, fraction: float = 0.6, n_points: int = 60) -> SmoothLine:
    """Return a robust local linear regression (LOWESS) of values on age, for any number of participants.

    Ages are summed up in 400 bins with their exact sums, products and squares; the only approximation is that all
    participants in a bin have the same kernel weight.

    Args:
        age_years: Ages, (N,), N >= 3, none missing.
        values: The measure, (N,), none missing.
        fraction: Fraction of participants in the window around each age, in (0, 1].
        n_points: Ages at which the line is evaluated, from the first to the last.

    Source:
        Cleveland 1979, Robust locally weighted regression, Journal of the American Statistical Association 74(368).
    """
    if len(age_years) < 3:
        raise ValueError(f"{len(age_years)} participants are too few for a line")
    grid = np.linspace(age_years.min(), age_years.max(), n_points)
    away = np.abs(values - np.median(values))
    weights = (away <= 15 * max(float(np.median(away)), 1e-300)).astype(float)  # mm^3 among mL
    if weights.sum() < 0.5 * len(values):
        weights = np.ones(len(values))
    for _ in range(4):
        line, error = _local_regression(age_years, values, weights, grid, fraction=fraction)
        residual = values - np.interp(age_years, grid, line)
        scale = 6 * np.median(np.abs(residual))
        if scale > 0:
            weights = np.clip(1 - np.square(residual / scale), 0, None) ** 2
    return SmoothLine(grid, line, line - 1.96 * error, line + 1.96 * error)


def _local_regression(
    x: FloatArray, y: FloatArray, weights: FloatArray, grid: FloatArray, *, fraction: float
) -> tuple[FloatArray, FloatArray]:
    """Return the local line and its standard error at each point of the grid, (G,) both."""
    edges = np.linspace(x.min(), x.max(), _N_BINS + 1)
    bins = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, _N_BINS - 1)
    centre_x, centre_y = float(np.mean(x)), float(np.median(y))  # or small variances would vanish in large squares
    u, v = x - centre_x, y - centre_y
    n, s_x, s_xx, s_y, s_xy, s_yy = (
        np.bincount(bins, weights * term, _N_BINS) for term in (np.ones(len(x)), u, u * u, v, u * v, v * v)
    )
    distance = np.abs(grid[:, None] - 0.5 * (edges[1:] + edges[:-1]))
    width = _window(distance, np.bincount(bins, minlength=_N_BINS), fraction)
    kernel = np.clip(1 - (distance / width[:, None]) ** 3, 0, None) ** 3  # (G, bins)
    total, m_x, m_xx, m_y, m_xy, m_yy = (kernel @ term for term in (n, s_x, s_xx, s_y, s_xy, s_yy))
    m_x, m_xx, m_y, m_xy, m_yy = m_x / total, m_xx / total, m_y / total, m_xy / total, m_yy / total
    spread = m_xx - m_x**2
    slope = np.where(spread > 1e-9, (m_xy - m_x * m_y) / np.maximum(spread, 1e-9), 0.0)
    at = grid - centre_x
    line = m_y + slope * (at - m_x)
    variance = np.clip(m_yy - m_y**2 - slope**2 * spread, 0, None)
    # The line is a weighted sum of the values; its variance is that of one value times the sum of squared weights.
    lever = (at - m_x) / np.maximum(spread, 1e-9)
    squares = kernel**2
    own = (squares @ n) * (1 - lever * m_x) ** 2 + 2 * lever * (1 - lever * m_x) * (squares @ s_x)
    return line + centre_y, np.sqrt(variance * np.clip(own + lever**2 * (squares @ s_xx), 0, None)) / total


def _window(distance: FloatArray, n_participants: npt.NDArray[np.integer], fraction: float) -> FloatArray:
    """Return the half width of the window around each point of the grid that holds this fraction of participants."""
    order = np.argsort(distance, axis=1)
    held = np.cumsum(n_participants[order], axis=1)
    needed = max(3.0, fraction * float(n_participants.sum()))
    last = np.minimum((held < needed).sum(axis=1), distance.shape[1] - 1)
    width = np.take_along_axis(distance, order, axis=1)[np.arange(len(distance)), last]
    bin_width = float(distance[0].max() - distance[0].min()) / distance.shape[1]
    # A window that contains a single age would have no slope.
    return np.asarray(np.maximum(1.1 * width, 4 * max(bin_width, 1e-9)))
