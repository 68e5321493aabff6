"""Whether new scans, taken together, come from another scanner than those of the training.

A scanner that shifts all intensities a little leaves every single scan within the usual range, and still moves all
ages by years. The mean of several scans shows it: it is compared with the mean of the training in a few principal
components of the intensity distribution, by Hotelling's test. People are not scanners: what age, sex and the
proportions of tissues do to the distribution is taken out of the components, so that a batch of old people is
not called another scanner.

Source:
    Hotelling 1931, The generalization of Student's ratio, doi:10.1214/aoms/1177732979.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from aekit.errors import AekitError

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

LEAST = 8  # new scans
OTHER_SCANNER = "the scans together are from another scanner than that of the training"

_MAX_COMPONENTS = 10
_SCANS_PER_COMPONENT = 6
_FEWEST_LEFT = 2  # components besides those of age, sex and tissues
_MIN_CENTRE = 10  # training scans of a site for its own mean
_MAX_CENTRES = 40
_LEVEL = 0.005
_LEAST_SHIFT = 0.3  # SDs within the training: smaller shifts do not matter, however many scans show them
_TAILS = (1 / 10, 1 / 3)  # of the people, the youngest and the oldest
_CLIPPED = 4.0  # SDs from the median: one broken scan does not make another scanner


@dataclass(frozen=True)
class BatchShift:
    """How far the mean of new scans lies from the nearest mean of the training.

    Attributes:
        n: New scans.
        shift: Distance of the means, in SDs between scans of the training, without what chance adds on average; >= 0.
        limit: Distances up to this occur within the training.
        p: Of the test that there is none, in [0, 1].
    """

    n: int
    shift: float
    limit: float
    p: float

    @property
    def is_other(self) -> bool:
        """Return whether the scans come from another scanner."""
        return self.p < _LEVEL and self.shift > self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for ``--json``."""
        return {**asdict(self), "other_scanner": self.is_other}


@dataclass(frozen=True)
class Batchmates:
    """What is known of the people in the training scans, N of them.

    Attributes:
        age_years: (N,).
        sex: F, M or anything else for unknown, (N,).
        proportions: Of grey matter, white matter and fluid, (N, 3); NaN where unknown, None without volumes.
        site: Objects, (N,), None where missing; None without sites.
        is_held_out: Whether the errors that are known are those at sites that were not in the training.
    """

    age_years: Floats
    sex: npt.NDArray[Any]
    proportions: Floats | None = None
    site: npt.NDArray[np.object_] | None = None
    is_held_out: bool = False

    def take(self, rows: Rows) -> Batchmates:
        """Return those of some scans."""
        return Batchmates(
            self.age_years[rows],
            self.sex[rows],
            None if self.proportions is None else self.proportions[rows],
            None if self.site is None else self.site[rows],
            self.is_held_out,
        )


def describe_batch(histograms_ml: npt.NDArray[np.floating], people: Batchmates) -> dict[str, Any]:
    """Return what :func:`compare_batch` needs of the training, as plain values for a header; empty for too few scans.

    Args:
        histograms_ml: mL of brain per bin of scaled intensity, (N, F).
        people: Who is in these scans.
    """
    fractions = _cumulative_fractions(histograms_ml)
    centre_of, n_centres = _centres(people.site, len(fractions))
    known = _known(people)
    indicators = np.eye(n_centres)[centre_of]
    design = np.column_stack([indicators, known])
    degrees = len(fractions) - np.linalg.matrix_rank(design)
    n_components = min(_MAX_COMPONENTS, int(degrees) // _SCANS_PER_COMPONENT, fractions.shape[1] - 1)
    known = known[:, : max(1, n_components - _FEWEST_LEFT)]
    design = np.column_stack([indicators, known])
    effects, *_ = np.linalg.lstsq(design, fractions, rcond=None)
    residuals = fractions - design @ effects
    _, sizes, axes = np.linalg.svd(residuals, full_matrices=False)
    n_components = min(n_components, int((sizes > 1e-6 * max(sizes[0], 1e-12)).sum()))
    if n_components < known.shape[1] + _FEWEST_LEFT:
        return {}
    whiten = axes[:n_components] * np.sqrt(degrees) / sizes[:n_components, None]  # (K, F)
    # What people do, in units of the scatter between them, and everything at right angles to it.
    of_people = whiten @ effects[n_centres:].T
    left, strengths, _ = np.linalg.svd(of_people)
    rank = int((strengths > 1e-9).sum())
    weights = left[:, rank:].T @ whiten  # (P, F)
    scores = fractions @ weights.T
    numbers = np.bincount(centre_of, minlength=n_centres)
    centres = (indicators.T @ scores) / numbers[:, None]
    limit = max(_LEAST_SHIFT, _own_shifts(scores - centres[centre_of], people))
    if people.is_held_out and n_centres > 2:
        limit = max(limit, _between_sites(centres, numbers))
    return {
        "weights": np.round(weights, 4).tolist(),
        "centres": np.round(centres, 4).tolist(),
        "numbers": numbers.tolist(),
        "degrees": int(degrees),
        "limit": round(limit, 3),
    }


def compare_batch(
    stored: dict[str, Any] | None, histograms_ml: npt.NDArray[np.floating], source: str
) -> BatchShift | None:
    """Return how far new scans lie from the training, together; None for fewer than eight, or if nothing is stored.

    Args:
        stored: From :func:`describe_batch`; None or empty for a checkpoint that has none.
        histograms_ml: Of the new scans, (M, F).
        source: The checkpoint, for messages.

    Raises:
        AekitError: What is stored does not fit together.
    """
    n = len(histograms_ml)
    if not stored or n < LEAST:
        return None
    try:
        weights, centres = np.array(stored["weights"], np.float64), np.array(stored["centres"], np.float64)
        numbers = np.array(stored["numbers"], np.float64)
        degrees, limit = int(stored["degrees"]), float(stored["limit"])
        scores = _cumulative_fractions(histograms_ml) @ weights.T
        fits = centres.shape == (len(numbers), len(weights)) and len(numbers) > 0
    except (KeyError, TypeError, ValueError) as error:
        raise AekitError(f"{source}: its header is damaged; train it again") from error
    if not fits or degrees <= len(weights) or numbers.min() < 1:
        raise AekitError(f"{source}: its header is damaged; train it again")
    found = [_compare(scores, centre, number, degrees) for centre, number in zip(centres, numbers, strict=True)]
    shift, p = min(found, key=lambda one: (-one[1], one[0]))
    return BatchShift(n, shift, limit, p)


def describe_shift(found: BatchShift, *, has_reference: bool, has_intervals: bool) -> str:
    """Return in one line that scans come from another scanner, and what to do; empty if they do not."""
    if not found.is_other:
        return ""
    p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
    text = (
        f"another scanner: the {found.n:,} scans together differ from the training by {found.shift:.1f} SDs "
        f"({p}, usual up to {found.limit:.1f})"
    )
    if has_reference:
        return f"{text}; ages are those recalibrated on the reference"
    none = " and none has intervals" if has_intervals else ""
    return (
        f"{text}; ages may all be wrong by years, * marks them{none}: add --reference with controls of this scanner, "
        "refit with mri-train --init on its scans, or try training with --intensity peaks"
    )


def _cumulative_fractions(histograms_ml: npt.NDArray[np.floating]) -> Floats:
    counts = np.asarray(histograms_ml, np.float64)
    fractions: Floats = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
    return fractions


def _centres(site: npt.NDArray[np.object_] | None, n: int) -> tuple[Rows, int]:
    """Return the centre that each scan belongs to, (N,), and their number; small sites are one centre together."""
    if site is None:
        return np.zeros(n, np.int64), 1
    names, number_of, counts = np.unique([str(one or "") for one in site], return_inverse=True, return_counts=True)
    large = [k for k in np.argsort(-counts, kind="stable") if names[k] and counts[k] >= _MIN_CENTRE][:_MAX_CENTRES]
    place = np.full(len(names), len(large), np.int64)
    place[large] = np.arange(len(large))
    found = place[number_of]
    return found, len(large) + int((found == len(large)).any())


def _known(people: Batchmates) -> Floats:
    """Return what is known of people, (N, Q): age, age squared, sex, proportions of tissues; centred."""
    ages = (people.age_years - people.age_years.mean()) / (people.age_years.std() or 1.0)
    columns = [ages, ages**2]
    sex = (people.sex == "M").astype(np.float64) - (people.sex == "F")
    if np.ptp(sex) > 0:
        columns.append(sex)
    if people.proportions is not None and np.isfinite(people.proportions).all():
        columns += [people.proportions[:, 0], people.proportions[:, 2]]
    found = np.column_stack(columns)
    spread = found.std(axis=0)
    found = (found - found.mean(axis=0))[:, spread > 0]
    return np.asarray(found / spread[spread > 0])


def _own_shifts(scores: Floats, people: Batchmates) -> float:
    """Return the largest shift of the youngest, the oldest, women and men, from all others."""
    ages = people.age_years
    parts = [people.sex == "F", people.sex == "M"]
    for fraction in _TAILS:
        parts += [ages <= np.quantile(ages, fraction), ages >= np.quantile(ages, 1 - fraction)]
    return max((_distance(scores, part) for part in parts if LEAST <= part.sum() <= len(part) - LEAST), default=0.0)


def _distance(scores: Floats, part: npt.NDArray[np.bool_]) -> float:
    apart = scores[part].mean(axis=0) - scores[~part].mean(axis=0)
    return _unbiased(float(apart @ apart), scores.shape[1] * (1 / part.sum() + 1 / (~part).sum()))


def _between_sites(centres: Floats, numbers: npt.NDArray[np.integer]) -> float:
    """Return the largest distance of a site from the nearest other one."""
    apart = np.square(centres[:, None] - centres).sum(axis=2)
    by_chance = centres.shape[1] * (1 / numbers[:, None] + 1 / numbers)
    distances = np.sqrt(np.maximum(apart - by_chance, 0.0))
    np.fill_diagonal(distances, np.inf)
    return float(distances.min(axis=1).max())


def _compare(scores: Floats, centre: Floats, number: float, degrees: int) -> tuple[float, float]:
    """Return the shift from a centre and its p."""
    n, n_dimensions = scores.shape
    middle = np.median(scores, axis=0)
    clipped = np.clip(scores - middle, -_CLIPPED, _CLIPPED)
    apart = middle + clipped.mean(axis=0) - centre
    # Scans that vary more than those of the training, as old people's do, have a less certain mean.
    spread = max(1.0, float(clipped.var(axis=0, ddof=1).mean()))
    squared, inverse = float(apart @ apart), spread / n + 1 / number
    left = degrees - n_dimensions + 1
    p = float(stats.f.sf(squared / inverse * left / (degrees * n_dimensions), n_dimensions, left))
    return _unbiased(squared, n_dimensions * inverse), p


def _unbiased(squared: float, by_chance: float) -> float:
    return float(np.sqrt(max(squared - by_chance, 0.0)))
