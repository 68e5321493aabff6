"""What sites do to predictions: errors at each site, and how well the site of a scan can be told."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.brains.cohort.table import Cohort
from aekit.brains.config import CohortConfig
from aekit.brains.measures.baselines import gram_matrix, smooth_histogram
from aekit.brains.measures.regression import absolute_error_interval
from aekit.brains.measures.site_probe import large_sites, openbhb_score, probe_sites
from aekit.brains.people import Fold, Participants, People
from aekit.brains.predictions import AGE, FEATURE_MODELS, Predictions
from aekit.brains.scores import judged_split
from aekit.core.intervals import mean_interval
from aekit.core.text_table import named
from aekit.errors import shown

SITE_COLUMNS = (
    "model", "site", "split", "n", "in_train", "mae", "mae_low", "mae_high", "bias", "bias_low", "bias_high", "r",
)  # fmt: skip
PROBE_COLUMNS = (
    "features", "n", "sites", "chance", "accuracy", "accuracy_low", "accuracy_high", "accuracy_given_age",
    "accuracy_given_age_low", "accuracy_given_age_high", "model", "unseen_n", "unseen_mae", "score",
)  # fmt: skip
_MIN_CORRELATED = 3  # participants; the r of two is always one
_N_COMPONENTS = 50  # of voxels; the probe takes twenty of them
# Features that a model predicts age from; the features of a network differ from fold to fold and are not compared.
_MODEL_OF = {"histogram": "ridge-histogram", "voxels": "ridge-voxels", "predicted volumes": "chain"}

FeatureSet = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]  # participants, (n,), and their features, (n, F)
FEATURES, HARMONISED = "features", "features after ComBat"  # columns of the table, as they are and without sites
_DESCRIBED = {"histogram": "intensity histograms", FEATURES: FEATURES, HARMONISED: HARMONISED}  # in a notice


def site_names(people: Participants, config: CohortConfig) -> npt.NDArray[np.object_] | None:
    """Return the site of each participant, objects (N,), None where missing; None if there are fewer than two.

    If a column is held out by ``--cv COLUMN``, its values are the sites.
    """
    column = config.cv if isinstance(config.cv, str) else "site"
    if column not in people.cohort.table:
        return None
    values = people.cohort.table[column]
    texts = ["" if one is None or one != one else str(one).strip() for one in values]
    names = np.array([text or None for text in texts], object)
    return names if len({name for name in names if name is not None}) > 1 else None


def site_table(predictions: list[Predictions], folds: list[Fold], site: npt.NDArray[np.object_]) -> pd.DataFrame:
    """Return the errors of age in the judged split, a row per model and site.

    ``bias`` is the mean of predicted minus true age with Student's t interval, ``r`` the correlation of predicted with
    true age, and ``in_train`` says whether the model was trained on participants of that site: ``yes``, ``no``, or
    ``some folds``.

    Args:
        predictions: Of all models.
        folds: Of the training.
        site: Site of each participant, (N,), None where missing.
    """
    rows = []
    split = judged_split(predictions)
    for part in (part for part in predictions if (part.target, part.split) == (AGE, split)):
        of_row = site[part.rows]
        for name in sorted({one for one in of_row if one is not None}):
            own = of_row == name
            error = part.prediction[own] - part.truth[own]
            mae, bias = absolute_error_interval(error), mean_interval(error)
            enough = own.sum() >= _MIN_CORRELATED and np.ptp(part.prediction[own]) > 0 and np.ptp(part.truth[own]) > 0
            r = float(np.corrcoef(part.prediction[own], part.truth[own])[0, 1]) if enough else np.nan
            seen = _in_train(folds, part.fold[own], site, name)
            rows.append((part.model, name, split, int(own.sum()), seen, *mae, *bias, r))
    return pd.DataFrame(rows, columns=list(SITE_COLUMNS))


def probe_table(
    people: People, predictions: list[Predictions], folds: list[Fold], site: npt.NDArray[np.object_], *, seed: int
) -> pd.DataFrame:
    """Return the table of :func:`probe_features` for what models of images predict from.

    The features are intensity histogram, voxels, predicted volumes, and what is left of each prediction (predicted
    minus true age).
    """
    if len(large_sites(site)) < 2:
        return pd.DataFrame(columns=list(PROBE_COLUMNS))
    sets = _features(people, predictions)
    return probe_features(people.cohort, sets, _MODEL_OF, predictions, folds, site, seed=seed)


def probe_features(
    cohort: Cohort,
    sets: Mapping[str, FeatureSet],
    model_of: Mapping[str, str],
    predictions: list[Predictions],
    folds: list[Fold],
    site: npt.NDArray[np.object_],
    *,
    seed: int,
) -> pd.DataFrame:
    """Return how well sites can be told, a row per set of features, and the score of OpenBHB where it is defined.

    The score is the MAE of the model's age on sites it was not trained on, times the balanced accuracy to the power of
    0.3.

    Args:
        cohort: The participants.
        sets: Features by name.
        model_of: Which model predicts age from features of a name.
        predictions: Of all models.
        folds: Of the training.
        site: Site of each participant, (N,), None where missing.
        seed: Seed of the folds of the probe.
    """
    if len(large_sites(site)) < 2:
        return pd.DataFrame(columns=list(PROBE_COLUMNS))
    rows = []
    for name, (own, values) in sets.items():
        raw = probe_sites(values, site[own], seed=seed)
        given = probe_sites(values, site[own], seed=seed, age_years=cohort.age_years[own], sex=cohort.sex[own])
        if raw is None or given is None:
            continue
        model = model_of.get(name, "")
        errors = _errors_at_unseen(predictions, folds, site, model)
        mae = float(np.abs(errors).mean()) if len(errors) else np.nan
        score = openbhb_score(mae, raw.accuracy) if len(errors) else np.nan
        told = (raw.accuracy, raw.low, raw.high, given.accuracy, given.low, given.high)
        rows.append((name, raw.n, len(raw.sites), raw.chance, *told, model, len(errors), mae, score))
    return pd.DataFrame(rows, columns=list(PROBE_COLUMNS))


def describe_sites(table: pd.DataFrame, probes: pd.DataFrame) -> str:
    """Return in one sentence the MAE of a model at each site, worst first, and how well sites are told."""
    model = next(name for name in ("chain", "direct", *FEATURE_MODELS) if (table["model"] == name).any())
    own = table[table["model"] == model].sort_values("mae", ascending=False, kind="stable")
    errors = named(f"{shown(str(row.site))} {row.mae:.1f}" for row in own.itertuples())
    text = f"MAE of {model} by site, in years: {errors}"
    for row in probes[probes["features"].isin(list(_DESCRIBED))].itertuples():
        text += (
            f"; the site is told from {_DESCRIBED[row.features]} with a balanced accuracy of "
            f"{100 * row.accuracy:.0f} % [{100 * row.accuracy_low:.0f}, {100 * row.accuracy_high:.0f}], "
            f"{100 * row.chance:.0f} % by chance"
        )
    return text


def describe_worse_sites(table: pd.DataFrame, model: str) -> str:
    """Return in one line at which sites that it was not trained on a model errs more than the mean predictor.

    The text is empty if it does at none. The mean predictor is the mean age of the training.

    Args:
        table: From :func:`site_table`.
        model: Whose age mri-predict gives first.
    """
    unseen = table[table["in_train"] == "no"].set_index("site")
    ours, mean = (unseen.loc[unseen["model"] == one, "mae"] for one in (model, "mean"))
    worse = [site for site in ours.index if site in mean.index and ours[site] > mean[site]]
    if not worse:
        return ""
    errors = named(f"{shown(str(site))} {ours[site]:.1f} against {mean[site]:.1f}" for site in worse)
    return (
        f"{model} errs more than the mean predictor at {len(worse)} of {len(ours)} sites that it was not trained on, "
        f"in years: {errors}; ages of a new scanner need --reference in mri-predict"
    )


def _in_train(folds: list[Fold], own: npt.NDArray[np.int64], site: npt.NDArray[np.object_], name: str) -> str:
    """Return whether the models of these folds were trained on a site; -1 stands for all folds."""
    used = [fold for fold in folds if fold.number in own or (own < 0).any()]
    seen = {bool((site[fold.train] == name).any()) for fold in used}
    return "some folds" if len(seen) > 1 else "yes" if True in seen else "no"


def _errors_at_unseen(
    predictions: list[Predictions], folds: list[Fold], site: npt.NDArray[np.object_], model: str
) -> npt.NDArray[np.float64]:
    """Return the errors of a model's age for participants of sites that it was not trained on, (n,)."""
    split = judged_split(predictions)
    for part in predictions:
        if (part.model, part.target, part.split) == (model, AGE, split):
            train_of = {fold.number: set(site[fold.train]) for fold in folds}
            everywhere = set().union(*train_of.values())
            unseen = [
                one is not None and one not in train_of.get(int(fold), everywhere)
                for one, fold in zip(site[part.rows], part.fold, strict=True)
            ]
            return (part.prediction - part.truth)[unseen]
    return np.empty(0)


def _features(people: People, predictions: list[Predictions]) -> dict[str, FeatureSet]:
    """Return sets of features by name: the participants, (n,), and their features, (n, F)."""
    everyone = np.arange(len(people.cohort))
    found = {"histogram": (everyone, smooth_histogram(people.volumes.histograms_ml))}
    found["voxels"] = (everyone, _components(gram_matrix(people.volumes.images)))
    split = judged_split(predictions)
    judged = [part for part in predictions if part.split == split]
    if volumes := [part for part in judged if part.model == "volumes" and part.target != AGE]:
        found["predicted volumes"] = (volumes[0].rows, np.column_stack([part.prediction for part in volumes]))
    for part in judged:
        if part.model in ("ridge-histogram", "chain", "direct") and part.target == AGE:
            found[f"{part.model}: predicted minus true age"] = (part.rows, (part.prediction - part.truth)[:, None])
    return found


def _components(gram: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the scores of images on their first principal components, (N, K), from their inner products, (N, N)."""
    centred = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
    values, vectors = np.linalg.eigh(centred)
    last = slice(-min(_N_COMPONENTS, len(gram)), None)
    scores: npt.NDArray[np.float64] = (vectors[:, last] * np.sqrt(np.maximum(values[last], 0)))[:, ::-1]
    return scores
