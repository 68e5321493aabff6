"""Scores over seeds: the mean of models that differ in nothing else, and whether seeds matter as much as beta."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import hmean

from aekit.core.intervals import mean_interval
from aekit.images.disentangle.binning import Floats

Key = Callable[["Scored"], str]


@dataclass(frozen=True)
class Scored:
    """The scores of a model.

    Attributes:
        settings: What tables say of it, by the names of the options; ``seed`` and ``beta`` among them.
        data: All settings of its images.
        model: All settings of its network.
        train: All settings of its training.
        scores: Its scores by name, NaN where one is not defined.
    """

    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    model: Mapping[str, Any]
    train: Mapping[str, Any]
    scores: Mapping[str, float]


def seed_table(models: Sequence[Scored]) -> pd.DataFrame:
    """Return a row per setting with several seeds: mean, its interval and standard deviation of each score over seeds.

    Columns are the settings without the seed, ``seeds``, and of each score its mean, ``_low``, ``_high`` and ``_sd``.
    """
    rows = []
    for group in _several_seeds(models):
        row = {**_without(group[0].settings, "seed"), "seeds": len(group)}
        for name in group[0].scores:
            values = _values(group, name)
            mean, low, high = mean_interval(values)
            row |= {name: mean, f"{name}_low": low, f"{name}_high": high, f"{name}_sd": float(values.std(ddof=1))}
        rows.append(row)
    return pd.DataFrame(rows)


def spread_table(models: Sequence[Scored]) -> pd.DataFrame:
    """Return a row per score of models that differ in nothing but seed and beta, with its spread over either.

    Columns are the settings without these two, ``betas``, ``models``, ``score``, and the standard deviations
    ``sd_seeds`` and ``sd_beta`` of :func:`spread`; the latter is missing (NaN) for a single beta.
    """
    rows = []
    groups = _several_seeds(models)
    for same in _grouped([group[0] for group in groups], lambda own: _key(own, ("seed", "beta"))):
        of_betas = [group for group in groups if group[0] in same]
        head = {
            **_without(same[0].settings, "seed", "beta"),
            "betas": len(of_betas),
            "models": sum(map(len, of_betas)),
        }
        for name in same[0].scores:
            seeds, beta = spread([_values(group, name) for group in of_betas])
            rows.append({**head, "score": name, "sd_seeds": seeds, "sd_beta": beta})
    return pd.DataFrame(rows)


def spread(groups: Sequence[Floats]) -> tuple[float, float]:
    """Return the standard deviation within groups, and that of the true means of groups, 0 if chance explains theirs.

    These are the components of variance of a one-way analysis: the variance of the means is reduced by what the spread
    within groups contributes to it.

    Args:
        groups: Values of each group, at least two.

    Source:
        Searle, Casella & McCulloch 1992, Variance Components, section 3.6.
    """
    degrees = np.array([len(values) - 1 for values in groups])
    within = float(np.average([values.var(ddof=1) for values in groups], weights=degrees))
    if len(groups) < 2:
        return float(np.sqrt(within)), float("nan")
    of_means = float(np.var([values.mean() for values in groups], ddof=1))
    chance = within / float(hmean([len(values) for values in groups]))
    return float(np.sqrt(within)), float(np.sqrt(max(of_means - chance, 0.0)))


def _several_seeds(models: Sequence[Scored]) -> list[list[Scored]]:
    """Return the models of each setting that has several seeds, each seed once."""
    groups = []
    for same in _grouped(models, lambda own: _key(own, ("seed",))):
        by_seed = {own.settings["seed"]: own for own in reversed(same)}  # copies of a run are one model
        if len(by_seed) > 1:
            groups.append([by_seed[seed] for seed in sorted(by_seed)])
    return groups


def _grouped(models: Sequence[Scored], key: Key) -> list[list[Scored]]:
    groups: dict[str, list[Scored]] = {}
    for own in models:
        groups.setdefault(key(own), []).append(own)
    return list(groups.values())


def _key(own: Scored, but: tuple[str, ...]) -> str:
    parts = [_without(part, *but) for part in (own.data, own.model, own.train)]
    return json.dumps(parts, sort_keys=True, default=str)


def _without(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}


def _values(group: Sequence[Scored], score: str) -> Floats:
    return np.array([own.scores[score] for own in group])
