"""Ages of new scans: intervals of a checkpoint, recalibration on a reference, and delta given the true age."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.brains.measures.conformal import Conformal, Scale, describe_level, fit_conformal
from aekit.brains.measures.recalibration import Recalibration, fit_recalibration, leave_one_out
from aekit.brains.members import MemberPrediction
from aekit.brains.networks import MAX_AGE_YEARS
from aekit.brains.predictions import AGE, FEATURE_MODELS
from aekit.brains.scan_people import ScanPeople
from aekit.brains.scores import MIN_FITTED
from aekit.brains.simple_models import RIDGE
from aekit.brains.stacking import STACK
from aekit.brains.tissue_model import TISSUES
from aekit.core.checkpoint import Header
from aekit.core.progress import Progress

Floats = npt.NDArray[np.float64]
Intervals = dict[tuple[str, str], Conformal]  # by model and target

_COLUMNS = {
    "chain": f"chain_{AGE}",
    "direct": f"direct_{AGE}",
    RIDGE: f"ridge_{AGE}",
    TISSUES: f"tissues_{AGE}",
    STACK: f"stack_{AGE}",
}
_COLUMNS |= {model: f"{model.replace('-', '_')}_{AGE}" for model in FEATURE_MODELS}


@dataclass(frozen=True)
class AgeTrend:
    """Mean delta of held-out participants at each age: intercept + slope x age, in years."""

    intercept: float
    slope: float


@dataclass(frozen=True)
class NewAges:
    """What is known about the ages of new scans.

    Attributes:
        years: Of each model, (n,) each, clipped to 0 to 120 and recalibrated if there is a reference.
        columns: The model of each column of ages, ``age_years`` first.
        is_outside: Whose age by a model other than the networks was clipped, (n,).
        intervals: By model and target.
        trends: By model; a model without is absent.
        recalibrations: By model; empty without a reference.
    """

    years: dict[str, Floats]
    columns: dict[str, str]
    is_outside: npt.NDArray[np.bool_]
    intervals: Intervals
    trends: dict[str, AgeTrend]
    recalibrations: dict[str, Recalibration]

    @property
    def has_choice(self) -> bool:
        """Return whether ``age_years`` is that of the best model, which older checkpoints do not name."""
        return len(self.columns) > len(self.years)


def read_intervals(header: Header) -> Intervals:
    """Return the conformal intervals of a checkpoint; those of older versions have the same width at all ages."""
    found = {}
    for one in header.result.get("conformal", []):
        scale = Scale(**one["scale"]) if "scale" in one else None
        n = one.get("n") if isinstance(one.get("n"), int) else 0
        found[one["model"], one["target"]] = Conformal(one["half_width"], one["coverage"], 0.0, n, scale)
    return found


def read_new_ages(predicted: MemberPrediction, header: Header, simple: Mapping[str, Floats] | None = None) -> NewAges:
    """Return the ages of n scans with the intervals and age trends of their checkpoint.

    ``age_years`` is that of the model with the smallest error on held-out participants, which the header names, and
    every model has a column of its own. An older checkpoint has the age of the chain first, else of the direct network,
    and no other models than these.

    Args:
        predicted: By the networks.
        header: Of the checkpoint.
        simple: By other models, (n,) each; they are clipped to 0 to 120 years, as those of networks are.
    """
    trends = {one["model"]: AgeTrend(one["intercept"], one["slope"]) for one in header.result.get("age_trend", [])}
    networks = {"chain": predicted.chain_age, "direct": predicted.direct_age}
    years = {model: values for model, values in networks.items() if values is not None}
    if simple:
        is_outside = np.any([(values <= 0) | (values >= MAX_AGE_YEARS) for values in simple.values()], axis=0)
        years |= {model: np.clip(values, 0.0, MAX_AGE_YEARS) for model, values in simple.items()}
        first = header.result.get("best_age_model")
        columns = {AGE: first if first in years else next(iter(years)), **{_COLUMNS[model]: model for model in years}}
    else:
        is_outside = np.zeros(len(next(iter(years.values()), ())), np.bool_)
        columns = dict(zip((AGE, _COLUMNS["direct"]), years, strict=False))
    return NewAges(years, columns, is_outside, read_intervals(header), trends, {})


def describe_intervals(intervals: Intervals, table: pd.DataFrame) -> tuple[str, str]:
    """Return which intervals a table of predictions has, and why their level is not 90 %, empty if it is.

    The level is the lowest of those that the table states: with a reference ages have one and volumes have another.

    Args:
        intervals: By model and target.
        table: Its columns ``<target>_low`` are NaN where a prediction has no interval.
    """
    if not intervals:
        return "without intervals, as no participants were held out", ""
    has_low = {name for name in table if str(name).endswith("_low") and table[name].notna().any()}
    stated = [one for (_, target), one in intervals.items() if f"{target}_low" in has_low]
    if not stated:
        return "without intervals, as the errors are unknown", ""
    least = min(stated, key=lambda interval: interval.coverage)
    return f"with {100 * least.coverage:.0f} % intervals", describe_level(least.coverage, least.n or None)


def recalibrate(ages: NewAges, people: ScanPeople, progress: Progress) -> NewAges:
    """Return ages recalibrated on the reference; its own participants are each recalibrated on the others.

    Half widths are those of leave-one-out errors of the reference. The line of delta on age becomes that of
    recalibrated ages, through the mean delta of the reference; a model without such a line gets its own from ten
    participants.

    Args:
        ages: Predictions of the n scans.
        people: Who is in them.
        progress: Told what was done.
    """
    own = people.is_reference
    truth = people.age_years[own]
    years, intervals, trends, fits = dict(ages.years), dict(ages.intervals), dict(ages.trends), {}
    for model, raw in ages.years.items():
        fit, held_out = fit_recalibration(raw[own], truth), leave_one_out(raw[own], truth)
        new = fit(raw)
        new[own] = held_out
        before = intervals.get((model, AGE))
        interval = _interval(truth, held_out, before)
        progress.notice(_describe(model, fit, raw[own], before, interval, is_only=len(years) == 1))
        years[model] = np.clip(new, 0.0, MAX_AGE_YEARS)
        intervals[model, AGE] = interval
        fits[model] = fit
        if (trend := _trend(trends.get(model), fit, truth, held_out)) is not None:
            trends[model] = trend
    return replace(ages, years=years, intervals=intervals, trends=trends, recalibrations=fits)


def _interval(truth: Floats, held_out: Floats, before: Conformal | None) -> Conformal:
    """Return the interval from leave-one-out errors; a few participants only tell how wide, not how width varies."""
    interval = fit_conformal(truth - held_out)
    if before is None or before.scale is None:
        return interval
    ratios = (truth - held_out) / before.scale(held_out)
    factor = fit_conformal(ratios).half_width
    return replace(interval, scale=replace(before.scale, half_width=factor * before.scale.half_width))


def _trend(trend: AgeTrend | None, fit: Recalibration, truth: Floats, held_out: Floats) -> AgeTrend | None:
    delta = held_out - truth
    if trend is not None:
        slope = fit.slope * (1 + trend.slope) - 1  # of recalibrated ages on true ones
    elif len(truth) >= MIN_FITTED:
        slope = float(np.polyfit(truth, delta, 1)[0]) if np.ptp(truth) > 0 else 0.0
    else:
        return None
    return AgeTrend(float((delta - slope * truth).mean()), slope)


def _describe(
    model: str, fit: Recalibration, raw: Floats, before: Conformal | None, after: Conformal, *, is_only: bool
) -> str:
    text = f"recalibrated on {fit.n:,} participants: offset {fit.offset:+.1f} years, slope {fit.slope:.2f}; half width "
    text += "" if before is None else f"{before.half_widths(raw).mean():.1f} -> "
    return ("" if is_only else f"{model} ") + text + f"{after.half_widths(fit(raw)).mean():.1f} years"


def add_deltas(columns: dict[str, Any], ages: NewAges, age_years: Floats) -> list[str]:
    """Add delta and delta_corrected of each column of ages to a table, and return models without an age trend.

    Args:
        columns: Of the table, changed in place.
        ages: Of the n scans.
        age_years: True ages, (n,), NaN where unknown.
    """
    without = set()
    for name, model in ages.columns.items():
        prefix = name.removesuffix(AGE)
        delta = ages.years[model] - age_years
        columns[f"{prefix}delta"] = delta
        trend = ages.trends.get(model)
        if trend is None:
            without.add(model)
            columns[f"{prefix}delta_corrected"] = np.full(len(delta), np.nan)
        else:
            columns[f"{prefix}delta_corrected"] = delta - (trend.intercept + trend.slope * age_years)
    return [model for model in ages.years if model in without]


def summarise(
    table: pd.DataFrame, ages: NewAges, unlike: npt.NDArray[np.bool_], further: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what --json says of predictions besides their path.

    Args:
        table: A row per scan or participant, n of them.
        ages: Their ages.
        unlike: Which are outside the training data, (n,).
        further: What else is known of them together.
    """
    values: dict[str, Any] = {
        "n": len(table),
        "n_warned": int((table["warnings"] != "").sum()),
        "n_unlike": int(unlike.sum()),
        "n_doubtful": int((table["reason"] != "").sum()),
        "columns": list(table),
        "ages": list(ages.columns),
        **(further or {}),
    }
    if ages.recalibrations:
        values["recalibrated"] = {model: asdict(fit) for model, fit in ages.recalibrations.items()}
    if ages.intervals:
        values["interval_level"] = min(interval.coverage for interval in ages.intervals.values())
    return values
