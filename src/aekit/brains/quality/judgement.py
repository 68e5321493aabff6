"""Which scans of a cohort are doubtful, and whether a new scan would have been one of them.

A scan is doubtful if one of its features lies many spreads from the cohort's median. The limits come from the scans
alone, without ages, and are fitted again without the doubtful ones until these no longer change, so that broken scans
do not hide each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aekit.brains.quality.features import OWN, Singles, coarse_size, coarsen, intensity_fractions, own_features
from aekit.brains.quality.limits import Limits, first_limits, fit_limits
from aekit.brains.quality.reasons import FEATURES, SCANNER, excess, explain, least_spreads
from aekit.brains.quality.reference import Reference, compare_with_others, fit_reference
from aekit.brains.volumes.gridding import N_BINS
from aekit.brains.volumes.store import PreparedVolumes

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MIN_SCANS = 20  # with fewer, nobody knows what is usual
POSSIBLE_ML = (100.0, 6000.0)  # from a very early preterm brain to a large head that was not stripped
_MAX_ROUNDS = 6
_FIELD = OWN.index("field")
_SCANNER_FACTOR = 2.0  # times the limit for a new scan, as every other scanner changes these features a little


@dataclass(frozen=True, eq=False)
class ScanStandard:
    """What is usual for the scans of a cohort.

    Attributes:
        n: Number of scans it was fitted on.
        limits: Centre and spread of each of ``FEATURES``.
        reference: What the scans have in common.
    """

    n: int
    limits: Limits
    reference: Reference

    def judge(self, volumes: PreparedVolumes) -> Judgement:
        """Return the judgement of new scans."""
        with threadpool_limits(1, user_api="blas"):
            compared = self.reference.compare(coarsen(volumes.images), intensity_fractions(volumes))
            features = np.column_stack([own_features(volumes), compared])
        limits = np.where(np.isin(FEATURES, SCANNER), _SCANNER_FACTOR, 1.0) * self.limits.limit
        return _judge(volumes, features, self.limits, limits, self)


@dataclass(frozen=True, eq=False)
class Judgement:
    """How usual the scans of a cohort are.

    Attributes:
        score: Distance of the most unusual feature from the median as a fraction of the limit, (N,); above 1 a scan is
            doubtful. NaN with fewer than ``MIN_SCANS`` scans.
        reasons: Why each scan is doubtful or impossible, N of them; mostly empty.
        impossible: Which scans cannot be a brain, (N,).
        features: ``FEATURES`` of each scan, (N, P); NaN with fewer than ``MIN_SCANS`` scans.
        standard: What is usual; None with fewer than ``MIN_SCANS`` scans.
    """

    score: Floats
    reasons: list[str]
    impossible: Flags
    features: Floats
    standard: ScanStandard | None

    def left_out(self, *, keep_outlying: bool) -> Flags:
        """Return which scans are left out of a training, (N,): the impossible, and by default the doubtful."""
        doubtful = np.array([bool(reason) for reason in self.reasons], bool)
        return self.impossible if keep_outlying else self.impossible | doubtful

    def only_impossible(self) -> Judgement:
        """Return the same without the doubtful."""
        reasons = [reason if bad else "" for reason, bad in zip(self.reasons, self.impossible, strict=True)]
        return replace(self, reasons=reasons)

    def order(self) -> list[int]:
        """Return the rows, the most unusual first, the impossible before all others."""
        score = np.where(self.impossible, np.inf, np.nan_to_num(self.score))
        return [int(row) for row in np.argsort(-score, kind="stable")]


def judge_scans(volumes: PreparedVolumes) -> Judgement:
    """Return which scans of a cohort are impossible or doubtful.

    Args:
        volumes: Scans on the common grid, none of them bad.
    """
    n = len(volumes.images)
    low, high = POSSIBLE_ML
    possible = (volumes.brain_ml >= low) & (volumes.brain_ml <= high)
    if possible.sum() < MIN_SCANS:
        nothing = np.full((n, len(FEATURES)), np.nan)
        reasons = ["" if one else impossible_reason(ml) for one, ml in zip(possible, volumes.brain_ml, strict=True)]
        return Judgement(np.full(n, np.nan), reasons, ~possible, nothing, None)
    with threadpool_limits(1, user_api="blas"):
        standard, features = _fit(volumes, possible)
    every = np.full(len(FEATURES), standard.limits.limit)
    return _judge(volumes, features, standard.limits, every, standard)


def impossible_reason(brain_ml: float) -> str:
    """Return why a brain of so many mL is impossible."""
    volume = f"{brain_ml:.2g}" if brain_ml < 10 else f"{brain_ml:,.0f}"
    return f"a brain of {volume} mL is impossible"


def _fit(volumes: PreparedVolumes, possible: Flags) -> tuple[ScanStandard, Floats]:
    """Return what is usual, and the features of all scans, each compared with what others have in common."""
    own, coarse, fractions = own_features(volumes), coarsen(volumes.images), intensity_fractions(volumes)
    n_own = len(OWN)
    floor = least_spreads(volumes.images.shape[1:])
    first = first_limits(own[possible], floor[:n_own])
    z = np.zeros((len(own), len(FEATURES)))
    z[:, :n_own] = _standardise(first, own)
    usual = possible & (excess(z) <= first.limit).all(axis=1)
    features = np.empty_like(z)
    limits = first
    for _ in range(_MAX_ROUNDS):
        rows = np.flatnonzero(usual)
        features = np.column_stack([own, compare_with_others(coarse, fractions, rows)])
        limits = fit_limits(features[usual], floor)
        before = usual
        usual = possible & (excess(_standardise(limits, features)) <= limits.limit).all(axis=1)
        if usual.sum() < MIN_SCANS // 2 or np.array_equal(usual, before):
            break
    reference = _halved(fit_reference(coarse, fractions, np.flatnonzero(before)))
    return ScanStandard(int(before.sum()), limits, reference), features


def _standardise(limits: Limits, features: Floats) -> Floats:
    """Return features, (N, P), in spreads from the centre; the bias field only where it was fitted, here and mostly.

    None is fitted to a file of fewer than 1,000 voxels of brain, and of coarse files some have more and some fewer.
    """
    z = limits.standardise(features)
    is_measured = (features[:, _FIELD] > 0) & (limits.centre[_FIELD] > 0)
    z[~is_measured, _FIELD] = 0.0
    return z


def _halved(reference: Reference) -> Reference:
    """Return a reference rounded to float16, as a checkpoint keeps it."""

    def half(values: Singles) -> Singles:
        return values.astype(np.float16).astype(np.float32)

    return Reference(half(reference.mean), half(reference.mask), reference.fractions, half(reference.components))


def _judge(
    volumes: PreparedVolumes, features: Floats, limits: Limits, every: Floats, standard: ScanStandard
) -> Judgement:
    low, high = POSSIBLE_ML
    impossible = (volumes.brain_ml < low) | (volumes.brain_ml > high)
    z = _standardise(limits, features)
    median_ml = float(np.exp(limits.centre[0]))
    reasons = [
        impossible_reason(ml) if bad else explain(own, away, every, median_ml)
        for bad, ml, own, away in zip(impossible, volumes.brain_ml, features, z, strict=True)
    ]
    return Judgement((excess(z) / every).max(axis=1), reasons, impossible, features, standard)


def standard_to_header(standard: ScanStandard) -> dict[str, Any]:
    """Return the numbers of a standard as plain values for a header; its images are tensors."""
    limits = standard.limits
    rounded = {
        name: [float(f"{value:.6g}") for value in getattr(limits, name)] for name in ("centre", "below", "above")
    }
    fractions = [round(float(value), 6) for value in standard.reference.fractions]
    return {"n": standard.n, "limit": limits.limit, "features": list(FEATURES), "fractions": fractions, **rounded}


def standard_to_images(standard: ScanStandard) -> dict[str, npt.NDArray[np.float16]]:
    """Return the images of a standard by name, float16."""
    reference = standard.reference
    images = {"mean": reference.mean, "mask": reference.mask, "components": reference.components}
    return {f"quality.{name}": image.astype(np.float16) for name, image in images.items()}


def read_standard(
    header: dict[str, Any] | None, images: dict[str, npt.NDArray[Any]], size: Sequence[int]
) -> ScanStandard | None:
    """Return the standard that a checkpoint has, or None: it is older, or had too few scans.

    Args:
        header: From :func:`standard_to_header`.
        images: Those of :func:`standard_to_images`.
        size: Voxels of the grid.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: They are damaged.
    """
    if not header or header.get("features") != list(FEATURES):
        return None
    n_features = len(FEATURES)
    centre, below, above = (np.array(header[name], np.float64) for name in ("centre", "below", "above"))
    if {len(centre), len(below), len(above)} != {n_features} or not (below.min() > 0 and above.min() > 0):
        raise ValueError("limits of other features")
    mean, mask, components = (
        np.asarray(images[f"quality.{name}"], np.float32) for name in ("mean", "mask", "components")
    )
    if {mean.shape, mask.shape} != {coarse_size(size)} or components.ndim != 2 or components.shape[1] != mean.size:
        raise ValueError("images of different sizes")
    fractions, limit = np.array(header["fractions"], np.float64), float(header["limit"])
    numbers = (centre, below, above, fractions, np.array(limit), mean, mask, components)
    if fractions.shape != (N_BINS,) or limit <= 0 or not all(np.isfinite(one).all() for one in numbers):
        raise ValueError("numbers that are not finite")
    limits = Limits(centre, below, above, limit)
    return ScanStandard(int(header["n"]), limits, Reference(mean, mask, fractions, components))
