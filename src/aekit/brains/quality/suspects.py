"""Rows of a table that do not go with their scans: ages and sexes that were swapped, one scan under two ids.

These are suspicions: they are said by name and never change who takes part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from sklearn.linear_model import RidgeCV
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aekit.brains.cohort.session_names import person_of
from aekit.brains.cohort.table import Cohort
from aekit.brains.measures.baselines import smooth_histogram
from aekit.brains.quality.features import Singles, coarsen
from aekit.brains.volumes.store import PreparedVolumes

Floats = npt.NDArray[np.float64]

MIN_FOR_AGES = 60  # participants: with fewer, an age cannot be predicted well enough to doubt one
MIN_FOR_SEXES = 10  # of each sex
_N_FOLDS = 10
# In robust standard deviations. Of 200 clean phantoms and 181 people none is beyond.
_AGE_LIMIT, _PAIR_LIMIT, _PAIR_PRODUCT, _AFTER_SWAP = 5.5, 2.5, 10.0, 1.5
_FOR_FEW = 20.0
_SEX_LIMIT = 3.0  # standard errors by which the wrong sex is larger
_PENALTIES = np.logspace(-4, 1, 11)
_COPY_R = 0.6  # correlation of what is individual about two scans
_COPY_SPREADS = 8.0
_BLOCK = 512


@dataclass(frozen=True)
class Suspicion:
    """What may be wrong with some rows of a table.

    Attributes:
        what: ``age``, ``sex`` or ``same scan``.
        ids: The participants concerned.
        text: What was found, in words.
    """

    what: str
    ids: tuple[str, ...]
    text: str


def find_suspicions(cohort: Cohort, volumes: PreparedVolumes) -> list[Suspicion]:
    """Return what may be wrong with the rows of a cohort.

    Args:
        cohort: The participants.
        volumes: Their scans, none of them doubtful, in the same order.
    """
    ids = [str(one) for one in cohort.table["participant_id"]]
    with threadpool_limits(1, user_api="blas"):
        found = _suspicious_ages(cohort.age_years, volumes, ids)
        found += _suspicious_sexes(cohort, volumes)
        return found + _same_scans(coarsen(volumes.images), ids, volumes.digests)


# --- ages ---


def _suspicious_ages(age_years: Floats, volumes: PreparedVolumes, ids: list[str]) -> list[Suspicion]:
    known = np.flatnonzero(np.isfinite(age_years))
    if len(known) < MIN_FOR_AGES or np.ptp(age_years[known]) == 0:
        return []
    ages = np.asarray(age_years[known], np.float64)
    predicted = predict_crossed(_age_features(volumes)[known], ages)
    away = ages - predicted
    spread = local_spread(away, predicted)
    z = (away - np.median(away)) / spread
    pairs = _pairs(ages, predicted, z, spread)
    found = []
    for first, second in pairs:
        names = (ids[known[first]], ids[known[second]])
        texts = [f"{ids[known[row]]} ({ages[row]:.0f} years, looks {predicted[row]:.0f})" for row in (first, second)]
        found.append(Suspicion("age", names, f"ages may be swapped: {' and '.join(texts)}"))
    paired = {row for pair in pairs for row in pair}
    for row in np.argsort(-np.abs(z), kind="stable"):
        if abs(z[row]) > _AGE_LIMIT * (1 + _FOR_FEW / len(ages)) and int(row) not in paired:
            name = ids[known[row]]
            text = f"age may be wrong: {name} ({ages[row]:.0f} years, looks {predicted[row]:.0f})"
            found.append(Suspicion("age", (name,), text))
    return found


def _age_features(volumes: PreparedVolumes) -> Floats:
    """Return what age is predicted from, (N, F): the intensities in mL, and as fractions of the brain."""
    histograms = smooth_histogram(volumes.histograms_ml)
    fractions = histograms / np.maximum(histograms.sum(axis=1, keepdims=True), 1e-12)
    parts = []
    for part in (histograms, fractions):
        centred = part - part.mean(axis=0)
        parts.append(centred / max(float(centred.std()), 1e-12))
    return np.column_stack(parts)


def predict_crossed(x: Floats, y: Floats) -> Floats:
    """Return the prediction of each participant by ridge regression on the other folds, (N,).

    Values beyond four spreads of a first fit do not count in the second, so that a wrong one does not bend the line.
    """
    predicted = np.empty(len(y))
    fold_of = np.random.Generator(np.random.PCG64(0)).permutation(len(y)) % _N_FOLDS
    for fold in range(_N_FOLDS):
        train, own = np.flatnonzero(fold_of != fold), fold_of == fold
        for _ in range(2):
            model = RidgeCV(_PENALTIES * len(train)).fit(x[train], y[train])
            away = y[train] - model.predict(x[train])
            spread = 1.4826 * float(np.median(np.abs(away - np.median(away))))
            train = train[np.abs(away) <= 4 * max(spread, 1e-9)]
        predicted[own] = model.predict(x[own])
    return predicted


def local_spread(away: Floats, at: Floats) -> Floats:
    """Return the robust standard deviation of errors near each prediction, (N,), as it grows with age."""
    order = np.argsort(at, kind="stable")
    size = max(21, len(at) // 5) | 1
    absolute = np.abs(away - np.median(away))[order]
    running = 1.4826 * ndimage.median_filter(absolute, size=min(size, len(at)), mode="nearest")
    overall = 1.4826 * float(np.median(absolute))
    spread = np.empty(len(at))
    spread[order] = np.maximum(running, 0.7 * max(overall, 1e-9))
    return spread


def _pairs(ages: Floats, predicted: Floats, z: Floats, spread: Floats) -> list[tuple[int, int]]:
    """Return pairs of unusual ages, each of which is usual for the other, the best first, each row once."""
    low, high = np.flatnonzero(z < -_PAIR_LIMIT), np.flatnonzero(z > _PAIR_LIMIT)
    middle = float(np.median(ages - predicted))
    fits = []
    for first in low:
        for second in high:
            after = max(
                abs(ages[second] - predicted[first] - middle) / spread[first],
                abs(ages[first] - predicted[second] - middle) / spread[second],
            )
            if after < _AFTER_SWAP and -z[first] * z[second] > _PAIR_PRODUCT:
                fits.append((after, int(first), int(second)))
    found: list[tuple[int, int]] = []
    for _, one, other in sorted(fits):
        if not {one, other} & {row for pair in found for row in pair}:
            found.append((one, other))
    return found


# --- sexes ---


def _suspicious_sexes(cohort: Cohort, volumes: PreparedVolumes) -> list[Suspicion]:
    """Return the groups in which women have larger brains than men at the same age: the codes may be swapped."""
    sex, ml = cohort.sex, np.log(volumes.brain_ml)
    groups: dict[str, npt.NDArray[np.bool_]] = {"": np.ones(len(sex), bool)}
    if cohort.site is not None:
        groups |= {f" at site {site}": cohort.site == site for site in sorted(set(map(str, cohort.site)))}
    found = []
    for name, rows in groups.items():
        female, male = rows & (sex == "F"), rows & (sex == "M")
        if min(female.sum(), male.sum()) < MIN_FOR_SEXES:
            continue
        difference = float(ml[female].mean() - ml[male].mean())
        error = float(np.sqrt(ml[female].var(ddof=1) / female.sum() + ml[male].var(ddof=1) / male.sum()))
        if error > 0 and difference > _SEX_LIMIT * error:
            percent = 100 * (np.exp(difference) - 1)
            ids = tuple(str(one) for one in cohort.table["participant_id"].to_numpy(object)[female | male])
            text = f"sexes may be swapped{name}: brains of women are {percent:.0f} % larger than those of men"
            found.append(Suspicion("sex", ids, text))
    return found


# --- the same scan ---


def _same_scans(coarse: Singles, ids: list[str], digests: list[str]) -> list[Suspicion]:
    """Return pairs of different people whose scans have the same anatomy, also with noise or another position."""
    if len(ids) < 3:
        return []
    pattern = _individual(coarse)
    person = [person_of(one) for one in ids]
    found = []
    limit = _copy_limit(pattern)
    for start in range(0, len(ids), _BLOCK):
        r = pattern[start : start + _BLOCK] @ pattern.T
        for first, second in np.argwhere(r > limit):
            row = int(first) + start
            is_known = digests[row] and digests[row] == digests[second]  # an exact copy is found by its bytes
            if row < second and person[row] != person[second] and not is_known:
                text = f"may be the same scan: {ids[row]} and {ids[second]} (r {r[first, second]:.2f})"
                found.append(Suspicion("same scan", (ids[row], ids[int(second)]), text))
    return found


def _individual(coarse: Singles) -> Singles:
    """Return what is individual about each scan, (N, V), of mean 0 and length 1: its difference from the mean scan."""
    smooth = ndimage.gaussian_filter(coarse, (0, 0.7, 0.7, 0.7)).reshape(len(coarse), -1)
    mean = np.median(smooth, axis=0) if len(smooth) <= _BLOCK else smooth.mean(axis=0)
    scale = (smooth @ mean) / max(float(mean @ mean), 1e-12)
    rest = smooth - scale[:, None] * mean
    rest -= rest.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rest, axis=1, keepdims=True)
    found: Singles = (rest / np.maximum(length, 1e-12)).astype(np.float32)
    return found


def _copy_limit(pattern: Singles) -> float:
    """Return the correlation beyond which two scans are one: far above that of most pairs of the cohort."""
    some = pattern[:: -(-len(pattern) // _BLOCK)]
    r = (some @ some.T)[np.triu_indices(len(some), 1)]
    low, middle, high = np.quantile(r, [0.16, 0.5, 0.84])
    return max(_COPY_R, float(min(0.98, middle + _COPY_SPREADS * max(high - middle, middle - low))))
