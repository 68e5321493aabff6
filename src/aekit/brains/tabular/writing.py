"""Tables, figures and the checkpoint of a training on columns of a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.brains.cases import group_deltas
from aekit.brains.cohort.further import describe_left
from aekit.brains.config import BrainConfig
from aekit.brains.drawing import write_feature_figures, write_site_figure
from aekit.brains.finished import FinishedRun, plain_rows
from aekit.brains.predictions import AGE, FEATURE_MODELS, Predictions
from aekit.brains.scores import (
    age_trends,
    conformal_table,
    differences_table,
    judged_split,
    metrics_table,
    predictions_table,
)
from aekit.brains.sites import (
    FEATURES,
    HARMONISED,
    FeatureSet,
    describe_sites,
    probe_features,
    site_names,
    site_table,
)
from aekit.brains.stacking import STACK, describe_stack
from aekit.brains.tabular.ensemble import FoldModels, to_tensors
from aekit.brains.tabular.limits import fit_feature_limits
from aekit.brains.tabular.preparation import FeatureCohort
from aekit.brains.tabular.training import corrected_features
from aekit.brains.verdict import find_verdict
from aekit.core.artifacts import write_csv
from aekit.core.checkpoint import Header, read_header
from aekit.core.progress import Progress
from aekit.core.weights import write_checkpoint

Floats = npt.NDArray[np.float64]

_OF_SITES = (".sites.csv", ".site-probe.csv", ".sites.png")
COMPANIONS = (
    ".predictions.csv",
    ".predictions.png",
    ".metrics.csv",
    ".differences.csv",
    ".features.csv",
    ".left-out.csv",
    ".bland-altman.png",
    ".residuals.png",
    ".decades.png",
    *_OF_SITES,
)
MODELS = (*FEATURE_MODELS, STACK)
_PERFECT, _MIN_PERFECT = 0.98, 10  # R2 of held-out participants, and how many
_RIVALS = ("mean", "median", "linear", "gp")  # the volumes are columns of the table, too


def write_results(
    found: FeatureCohort,
    models: list[FoldModels],
    predictions: list[Predictions],
    config: BrainConfig,
    header: Header,
    output: Path,
    progress: Progress,
) -> FinishedRun:
    """Write the tables and figures, and then the checkpoint: if it exists, its companions do.

    Args:
        found: Participants, features and folds.
        models: Of each fold.
        predictions: Of all models and baselines.
        config: Of the training.
        header: Of the checkpoint, before there are results.
        output: The checkpoint.
        progress: Told about columns that are not repeated, and about sites.
    """
    cohort, metrics = found.people.cohort, metrics_table(predictions)
    write_csv(output.with_suffix(".predictions.csv"), predictions_table(predictions, cohort))
    if text := describe_left(cohort):
        progress.notice(f"{cohort.name}: {text}")
    write_csv(output.with_suffix(".metrics.csv"), metrics)
    write_csv(output.with_suffix(".differences.csv"), differences_table(predictions, _RIVALS))
    write_csv(output.with_suffix(".features.csv"), features_table(found, models))
    write_csv(output.with_suffix(".left-out.csv"), found.people.left_out)
    _write_sites(found, models, predictions, config, header, output, progress)
    if text := _describe_perfect(predictions):
        progress.notice(f"{cohort.name}: {text}")
    verdict = find_verdict(predictions, MODELS, _RIVALS, MODELS)
    best = verdict.get("best_age_model", FEATURE_MODELS[0])
    write_feature_figures(output, found.people, predictions, best, header.to_dict())
    result = feature_result(found, models, predictions, config, metrics) | verdict
    train = np.unique(np.concatenate([fold.train for fold in found.folds]))
    limits = fit_feature_limits(found.own.features[train], found.own.age_years[train])
    write_checkpoint(output, to_tensors(models, limits), replace(header, result=result))
    return FinishedRun(output, read_header(output), metrics)


def _describe_perfect(predictions: list[Predictions]) -> str:
    """Return that the age of held-out participants is all but known from the features; empty if it is not."""
    split = judged_split(predictions)
    own = [one for one in predictions if (one.target, one.split) == (AGE, split) and one.model in FEATURE_MODELS]
    found = max((_explained(one) for one in own), default=0.0)
    if split == "train" or found < _PERFECT:
        return ""
    return (
        f"the features explain {100 * found:.1f} % of the variance of held-out ages, more than any brain does; leave "
        "out with --features what was made from ages or dates, such as years of birth and of the scan"
    )


def _explained(part: Predictions) -> float:
    spread = float(np.square(part.truth - part.truth.mean()).sum())
    if len(part.truth) < _MIN_PERFECT or not spread > 0:
        return 0.0
    return 1 - float(np.square(part.prediction - part.truth).sum()) / spread


def feature_result(
    found: FeatureCohort,
    models: list[FoldModels],
    predictions: list[Predictions],
    config: BrainConfig,
    metrics: pd.DataFrame,
) -> dict[str, Any]:
    """Return the results of a header."""
    means = [found.own.age_years[fold.train].mean() for fold in found.folds]
    n_weights = sum(one.ridge.weight.size + 1 + one.process.dual.size for one in models)
    result: dict[str, Any] = {
        "parameters": n_weights,
        "judged": judged_split(predictions),
        "metrics": plain_rows(metrics),
        "conformal": conformal_table(predictions),
        "age_trend": age_trends(predictions),
        **describe_stack(predictions, float(np.mean(means))),
        "features": {
            "names": list(found.columns.names),
            "ignored": sorted(found.columns.ignored),
            "sites": [[] if one.effects is None else list(one.effects.sites) for one in models],
        },
    }
    if deltas := group_deltas(predictions, found.people, config.data):
        result["deltas"] = deltas
    return result


def features_table(found: FeatureCohort, models: list[FoldModels]) -> pd.DataFrame:
    """Return a row per feature: its mean and SD, how it goes with age, and its weight in ridge regression.

    ``weight`` is the mean over folds of the change of predicted age, in years, with one SD of the feature. Features
    that go together share it, so a small weight does not mean that a feature is unrelated to age.
    """
    train = np.unique(np.concatenate([fold.train for fold in found.folds]))
    values, ages = found.own.features[train], found.own.age_years[train]
    sd = values.std(axis=0)
    centred = (values - values.mean(axis=0)) * (ages - ages.mean())[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        r = centred.mean(axis=0) / (sd * ages.std())
    weight = np.mean([one.ridge.weight for one in models], axis=0) * sd
    columns = {"feature": found.columns.names, "mean": values.mean(axis=0), "sd": sd, "r_age": r, "weight": weight}
    return pd.DataFrame(columns)


def _write_sites(
    found: FeatureCohort,
    models: list[FoldModels],
    predictions: list[Predictions],
    config: BrainConfig,
    header: Header,
    output: Path,
    progress: Progress,
) -> None:
    """Write and describe errors at each site and the probe of sites, if there are several; else remove old ones."""
    site = site_names(found.people, config.data)
    if site is None:
        for suffix in _OF_SITES:
            output.with_suffix(suffix).unlink(missing_ok=True)
        return
    table = site_table(predictions, found.folds, site)
    write_csv(output.with_suffix(".sites.csv"), table)
    sets = _probed(found, models, predictions)
    model_of = dict.fromkeys((FEATURES, HARMONISED), FEATURE_MODELS[0])
    seed = config.data.split_seed
    probes = probe_features(found.people.cohort, sets, model_of, predictions, found.folds, site, seed=seed)
    write_csv(output.with_suffix(".site-probe.csv"), probes)
    write_site_figure(output, table, found.people, header.to_dict())
    progress.notice(describe_sites(table, probes))


def _probed(found: FeatureCohort, models: list[FoldModels], predictions: list[Predictions]) -> dict[str, FeatureSet]:
    """Return what sites are told from: features before and after ComBat, and what is left of each prediction."""
    everyone = np.arange(len(found.people.cohort))
    sets: dict[str, FeatureSet] = {FEATURES: (everyone, found.own.features)}
    corrected = corrected_features(found, models)
    rows = np.flatnonzero(np.isfinite(corrected).all(axis=1))
    if len(rows):
        sets[HARMONISED] = (rows, corrected[rows])
    split = judged_split(predictions)
    for part in predictions:
        if part.split == split and part.target == AGE and part.model in FEATURE_MODELS:
            sets[f"{part.model}: predicted minus true age"] = (part.rows, (part.prediction - part.truth)[:, None])
    return sets
