"""The models of all folds, fitted on the train participants of each, and how they are kept in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aekit.brains.networks import MAX_AGE_YEARS
from aekit.brains.predictions import FEATURE_MODELS
from aekit.brains.tabular.limits import FeatureLimits
from aekit.brains.tabular.models import (
    GaussianProcess,
    Ridge,
    fit_gaussian_process_features,
    fit_ridge_features,
)
from aekit.brains.tabular.site_effects import SiteEffects, fit_site_effects
from aekit.errors import AekitError

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Names = npt.NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class FeaturePeople:
    """Participants and their features.

    Attributes:
        features: (N, F), finite.
        age_years: Ages, (N,).
        site: Names of sites, objects (N,), None where missing.
        sex: "F", "M" or NaN, objects (N,).
    """

    features: Floats
    age_years: Floats
    site: Names
    sex: Names

    def with_features(self, features: Floats) -> FeaturePeople:
        """Return the same participants with other features."""
        return FeaturePeople(features, self.age_years, self.site, self.sex)


@dataclass(frozen=True, eq=False)
class FoldModels:
    """The models of one fold.

    Attributes:
        ridge: Ridge regression.
        process: Gaussian process.
        effects: Effects of sites, removed before; None without ComBat, or if train has one site.
    """

    ridge: Ridge
    process: GaussianProcess
    effects: SiteEffects | None = None

    def predict(self, features: Floats, site: Names, sex: Names) -> dict[str, Floats]:
        """Return the ages of participants in years by model, (M,) each, clipped to 0 to 120."""
        own = features if self.effects is None else self.effects.remove(features, site, sex)
        ages = (self.ridge(own), self.process(own))
        return {name: np.clip(one, 0.0, MAX_AGE_YEARS) for name, one in zip(FEATURE_MODELS, ages, strict=True)}


def fit_fold(people: FeaturePeople, train: Rows, *, combat: bool, seed: int) -> FoldModels:
    """Return the models of a fold, fitted on the participants in ``train`` alone."""
    own, effects = harmonised_train(people, train, combat=combat)
    ages = people.age_years[train]
    ridge = fit_ridge_features(own, ages)
    return FoldModels(ridge, fit_gaussian_process_features(own, ages, seed=seed), effects)


def harmonised_train(people: FeaturePeople, train: Rows, *, combat: bool) -> tuple[Floats, SiteEffects | None]:
    """Return the features of the train participants without the effects of sites, and these effects."""
    own = people.features[train]
    if not combat:
        return own, None
    found = fit_site_effects(own, people.site[train], people.sex[train], people.age_years[train])
    return (own, None) if found is None else (found[1], found[0])


def predict_folds(models: Sequence[FoldModels], features: Floats, site: Names, sex: Names) -> dict[str, Floats]:
    """Return the mean age of the models of all folds, (M,), by model."""
    found = [one.predict(features, site, sex) for one in models]
    return {name: np.mean([one[name] for one in found], axis=0) for name in FEATURE_MODELS}


def to_tensors(models: Sequence[FoldModels], limits: FeatureLimits) -> dict[str, Tensor]:
    """Return the arrays of all models by name, float64, for a checkpoint."""
    found: dict[str, Floats] = {
        "limits.low": limits.low,
        "limits.high": limits.high,
        "limits.centre": limits.centre,
        "limits.spread": limits.spread,
        "limits.scalars": np.array([limits.distance, *limits.age_years]),
    }
    for number, one in enumerate(models):
        gp, effects = one.process, one.effects
        own = {
            "ridge.weight": one.ridge.weight,
            "ridge.bias": np.array([one.ridge.bias]),
            "gp.centre": gp.centre,
            "gp.spread": gp.spread,
            "gp.points": gp.points,
            "gp.dual": gp.dual,
            "gp.scalars": np.array([gp.middle, gp.smooth, gp.length, gp.linear]),
        }
        if effects is not None:
            own |= {
                "combat.shift": effects.shift,
                "combat.scale": effects.scale,
                "combat.expected": effects.expected,
                "combat.weight": effects.estimate.weight,
                "combat.scalars": np.array([effects.age_centre, effects.age_spread, effects.estimate.bias]),
            }
        found |= {f"{number}.{name}": values for name, values in own.items()}
    return {name: torch.from_numpy(np.ascontiguousarray(values, np.float64)) for name, values in found.items()}


def from_tensors(
    path: Path, tensors: Mapping[str, Tensor], n_features: int, sites: Sequence[Sequence[str]]
) -> tuple[list[FoldModels], FeatureLimits]:
    """Return the models of all folds, and the limits of features.

    Args:
        path: The checkpoint, for messages.
        tensors: Its arrays.
        n_features: Number of features.
        sites: The sites whose effects each fold knows; empty for none.

    Raises:
        AekitError: An array is missing, or has another shape than the others.
    """
    reader = _Reader(path, {name: value.double().numpy() for name, value in tensors.items()})
    n = n_features
    distance, youngest, oldest = reader.take("limits.scalars", 3)
    low, high, centre, spread = (reader.take(f"limits.{name}", n) for name in ("low", "high", "centre", "spread"))
    limits = FeatureLimits(low, high, centre, spread, float(distance), (float(youngest), float(oldest)))
    models = []
    for number, own in enumerate(sites):
        at = f"{number}."
        ridge = Ridge(reader.take(f"{at}ridge.weight", n), float(reader.take(f"{at}ridge.bias", 1)[0]))
        dual = reader.take(f"{at}gp.dual", None)
        process = GaussianProcess(
            reader.take(f"{at}gp.centre", n),
            reader.take(f"{at}gp.spread", n),
            reader.take(f"{at}gp.points", len(dual), n),
            dual,
            *map(float, reader.take(f"{at}gp.scalars", 4)),
        )
        models.append(FoldModels(ridge, process, _read_effects(reader, at, tuple(own), n) if own else None))
    return models, limits


def _read_effects(reader: _Reader, at: str, sites: tuple[str, ...], n: int) -> SiteEffects:
    centre, spread, bias = map(float, reader.take(f"{at}combat.scalars", 3))
    return SiteEffects(
        sites,
        reader.take(f"{at}combat.shift", len(sites), n),
        reader.take(f"{at}combat.scale", len(sites), n),
        reader.take(f"{at}combat.expected", 4, n),
        centre,
        spread,
        Ridge(reader.take(f"{at}combat.weight", n), bias),
    )


@dataclass(frozen=True)
class _Reader:
    path: Path
    arrays: Mapping[str, Floats]

    def take(self, name: str, *shape: int | None) -> Floats:
        """Return an array of this shape, where None is any number, or raise an AekitError."""
        values = self.arrays.get(name)
        fits = values is not None and values.ndim == len(shape) and np.isfinite(values).all()
        if values is None or not fits or any(n not in (None, m) for n, m in zip(shape, values.shape, strict=True)):
            raise AekitError(f"{self.path}: its {name} is missing or damaged; train it again")
        return values
