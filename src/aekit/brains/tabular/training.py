"""The models of all folds on columns of a table, their baselines, and what they predict for everyone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aekit.brains.config import BrainConfig
from aekit.brains.measures.baselines import fit_gaussian_process, fit_linear, predict_mean, predict_median
from aekit.brains.people import Fold
from aekit.brains.predictions import AGE, Predictions, by_split, pool_folds, splits_of
from aekit.brains.stacking import stack_ages
from aekit.brains.tabular.ensemble import FeaturePeople, FoldModels, fit_fold, harmonised_train
from aekit.brains.tabular.preparation import FeatureCohort
from aekit.brains.tabular.site_effects import SiteEffects
from aekit.core.progress import Progress
from aekit.core.text_table import named
from aekit.errors import AekitError, Stopped, count

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


def train_folds(found: FeatureCohort, config: BrainConfig, progress: Progress) -> list[FoldModels]:
    """Return the models of each fold, fitted on its train participants alone.

    Raises:
        Stopped: A signal asked for it.
        AekitError: ComBat cannot tell age or sex from the site, or has no two sites to compare in any fold.
    """
    models = []
    for number, fold in enumerate(found.folds):
        _check_stop(progress)
        progress.update("models of columns", number, len(found.folds))
        models.append(fit_fold(found.own, fold.train, combat=config.model.combat, seed=config.train.seed))
    progress.update("models of columns", len(found.folds), len(found.folds))
    if config.model.combat and all(one.effects is None for one in models):
        raise AekitError(
            "--combat: no train has two sites with two participants each, so it would remove nothing; leave it out"
        )
    return models


def predict_everyone(
    found: FeatureCohort, models: list[FoldModels], config: BrainConfig, progress: Progress
) -> list[Predictions]:
    """Return the ages of all participants by models and baselines, folds pooled, and by the stack.

    Raises:
        Stopped: A signal asked for it.
    """
    parts: list[Predictions] = []
    targets, own = {AGE: found.own.age_years}, found.own
    for fold, one in zip(found.folds, models, strict=True):
        _check_stop(progress)
        splits = splits_of(fold, with_train=not config.data.cv)
        rows = np.unique(np.concatenate(list(splits.values())))
        ages = {
            **_baselines(found, fold, rows, config),
            **one.predict(own.features[rows], own.site[rows], own.sex[rows]),
        }
        parts += by_split({(name, AGE): values for name, values in ages.items()}, splits, rows, targets, fold)
    pooled = pool_folds(parts)
    return pooled + stack_ages(pooled)


def _baselines(found: FeatureCohort, fold: Fold, rows: Rows, config: BrainConfig) -> dict[str, Floats]:
    train, ages = fold.train, found.own.age_years[fold.train]
    known = {"mean": predict_mean(ages, len(rows)), "median": predict_median(ages, len(rows))}
    if not found.volumes_ml.shape[1]:
        return known
    people = found.own.with_features(found.volumes_ml)
    x, effects = harmonised_train(people, train, combat=config.model.combat)
    others = held_out_features(people, effects, rows)
    known["linear"] = fit_linear(x, ages)(others)
    known["gp"] = fit_gaussian_process(x, ages, seed=config.train.seed)(others)
    return known


def held_out_features(people: FeaturePeople, effects: SiteEffects | None, rows: Rows) -> Floats:
    """Return the features of participants as models of a fold see them, (n, F)."""
    own = people.features[rows]
    return own if effects is None else effects.remove(own, people.site[rows], people.sex[rows])


def describe_combat(found: FeatureCohort, models: list[FoldModels]) -> str:
    """Return which sites could not be corrected, and how many participants of them are held out or in train."""
    unknown: dict[str, set[int]] = {}
    for fold, one in zip(found.folds, models, strict=True):
        rows = np.concatenate([fold.train, *fold.held_out.values(), fold.dropped])
        site = found.own.site[rows]
        known = np.zeros(len(rows), bool) if one.effects is None else one.effects.knows(site)
        for row, name in zip(rows[~known], site[~known], strict=True):
            unknown.setdefault(str(name) if name else "", set()).add(int(row))
    n_without = len(unknown.pop("", set()))
    text = "--combat: location and scale of each site are removed, fitted on train"
    if unknown:
        listed = named(f"{name} ({len(rows):,})" for name, rows in sorted(unknown.items()))
        n = sum(map(len, unknown.values()))
        text += f"; {count(n, 'participant')} not corrected, whose site was not in train: {listed}"
    return text + (f"; {n_without:,} without a site not corrected" if n_without else "")


def corrected_features(found: FeatureCohort, models: list[FoldModels]) -> Floats:
    """Return the features of those who were held out, without the effects of sites, (N, F), NaN for all others.

    Participants whose site was not in train are NaN, too.
    """
    values = np.full(found.own.features.shape, np.nan)
    for fold, one in zip(found.folds, models, strict=True):
        if one.effects is None:
            continue
        rows = np.unique(np.concatenate([*fold.held_out.values(), np.empty(0, np.int64)]))
        rows = rows[one.effects.knows(found.own.site[rows])]
        values[rows] = held_out_features(found.own, one.effects, rows)
    return values


def _check_stop(progress: Progress) -> None:
    if (number := progress.should_stop()) is not None:
        raise Stopped("stopped; nothing was saved, and the same command starts over", number)
