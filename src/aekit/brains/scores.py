"""Tables of predictions: metrics with intervals, paired differences, a row per participant, conformal intervals."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.brains.cohort.further import further_columns
from aekit.brains.cohort.table import Cohort
from aekit.brains.measures.conformal import fit_conformal, fit_conformal_by_prediction
from aekit.brains.measures.regression import age_corrected_delta, delta_trend, paired_difference, score
from aekit.brains.predictions import AGE, BASELINES, Predictions, iter_splits
from aekit.brains.tissue_model import TISSUES

# Baselines that see no more than the image: those on true volumes are a ceiling for a model of the image, not a rival.
IMAGE_BASELINES = ("mean", "median", "ridge-voxels", "ridge-histogram", TISSUES)
APPLIED_BASELINES = ("ridge-histogram", TISSUES)  # to new scans; their coefficients are in the checkpoint
MIN_FITTED = 10  # participants for the line of delta on age
_DELTAS = ("delta", "delta_corrected")
PREDICTION_COLUMNS = ("participant_id", "split", "fold", "model", "target", "truth", "prediction", *_DELTAS)
METRIC_COLUMNS = ("model", "target", "split", "n", "mae", "mae_low", "mae_high", "mse_z", "r2", "skill")


def metrics_table(predictions: list[Predictions]) -> pd.DataFrame:
    """Return a row per model, target and split; see :func:`aekit.brains.measures.regression.score`."""
    rows = []
    for part in predictions:
        found = score(part.truth, part.prediction, mean_prediction=part.mean_prediction, sd=part.sd)
        rows.append({"model": part.model, "target": part.target, "split": part.split, **asdict(found)})
    return pd.DataFrame(rows, columns=list(METRIC_COLUMNS))


def differences_table(predictions: list[Predictions], rivals: Collection[str] = IMAGE_BASELINES) -> pd.DataFrame:
    """Return each model's MAE minus each baseline's on the same participants, with paired intervals.

    ``best`` marks the baseline with the smallest MAE of the rivals. As it is chosen on the same participants, the
    comparison is slightly too strict.

    Args:
        predictions: Of all models.
        rivals: Baselines that see no more than the models: by default no more than the image.
    """
    rows = []
    for (target, split), parts in iter_splits(predictions):
        baselines = [part for part in parts if part.model in BASELINES]
        fair = [part for part in baselines if part.model in rivals]
        best = min(fair, key=lambda part: float(np.abs(part.prediction - part.truth).mean()))
        for network in (part for part in parts if part.model not in BASELINES):
            for baseline in baselines:
                found = paired_difference(network.truth, network.prediction, baseline.prediction)
                names = {"model": network.model, "baseline": baseline.model, "best": baseline is best}
                rows.append({**names, "target": target, "split": split, **asdict(found)})
    columns = ["model", "baseline", "best", "target", "split", "n", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def predictions_table(predictions: list[Predictions], cohort: Cohort) -> pd.DataFrame:
    """Return a row per participant, model and target.

    ``delta`` is predicted minus true age. ``delta_corrected`` is the residual of the line of delta on age, which is
    fitted on other participants: on val for test, cases and dropped, on the other folds for cv, on the rest of val for
    a participant of val; with cv, on all of cv for test and cases. It is empty if there are fewer than ten of them, and
    for train. No metric uses it. The last columns are those of
    :func:`aekit.brains.cohort.further.further_columns`.
    """
    further = further_columns(cohort, taken=PREDICTION_COLUMNS)
    ids = cohort.table["participant_id"].to_numpy(object)
    parts = []
    for part in predictions:
        frame = pd.DataFrame(
            {
                "participant_id": ids[part.rows],
                "split": part.split,
                "fold": pd.array(np.where(part.fold < 0, 0, part.fold), dtype="Int64"),
                "model": part.model,
                "target": part.target,
                "truth": part.truth,
                "prediction": part.prediction,
            }
        )
        frame.loc[part.fold < 0, "fold"] = pd.NA
        is_age = part.target == AGE
        frame["delta"] = part.prediction - part.truth if is_age else np.nan
        frame["delta_corrected"] = corrected_delta(part, predictions) if is_age else np.nan
        parts.append(pd.concat([frame, further.iloc[part.rows].reset_index(drop=True)], axis=1))
    return pd.concat(parts, ignore_index=True)


def corrected_delta(part: Predictions, predictions: list[Predictions]) -> npt.NDArray[np.float64]:
    """Return delta without its trend with age, (n,), as in :func:`predictions_table`; NaN where it is unknown.

    Args:
        part: Predictions of age.
        predictions: All predictions, for those of other splits.
    """
    corrected = np.full(len(part.rows), np.nan)
    known = {other.split: other for other in predictions if (other.model, other.target) == (part.model, part.target)}
    if part.split == "val":
        groups = [(np.arange(len(part.rows)) == place, part) for place in range(len(part.rows))]
    elif "cv" in known:
        groups = [(part.fold == number, known["cv"]) for number in np.unique(part.fold)]
    elif "val" in known and part.split != "train":
        groups = [(np.ones(len(part.rows), bool), known["val"])]
    else:
        return corrected
    for own, fit in groups:
        others = ~np.isin(fit.rows, part.rows[own]) if fit is part else np.ones(len(fit.rows), bool)
        if "cv" in known:
            others &= ~np.isin(fit.fold, part.fold[own])
        if others.sum() >= MIN_FITTED:
            corrected[own] = age_corrected_delta(
                part.truth[own], part.prediction[own], fit_age=fit.truth[others], fit_predicted=fit.prediction[others]
            )
    return corrected


def conformal_table(predictions: list[Predictions]) -> list[dict[str, Any]]:
    """Return the conformal intervals of each model that is applied to new scans, of its targets, from val or cv."""
    found: list[dict[str, Any]] = []
    for part in predictions:
        if part.split in ("val", "cv") and _is_applied(part):
            residuals = part.truth - part.prediction
            is_age = part.target == AGE
            interval = fit_conformal_by_prediction(part.prediction, residuals) if is_age else fit_conformal(residuals)
            values = {key: value for key, value in asdict(interval).items() if value is not None}
            found.append({"model": part.model, "target": part.target, **values})
    return found


def age_trends(predictions: list[Predictions]) -> list[dict[str, Any]]:
    """Return the line of delta on age of each model for new scans, from cv, else val, of at least ten participants.

    With it, the delta of a new scan can be corrected: delta - (intercept + slope x age).
    """
    found: list[dict[str, Any]] = []
    splits = {part.split for part in predictions}
    for part in predictions:
        is_known = part.target == AGE and _is_applied(part)
        if is_known and part.split == ("cv" if "cv" in splits else "val") and len(part.truth) >= MIN_FITTED:
            slope, intercept = delta_trend(part.truth, part.prediction)
            found.append({"model": part.model, "intercept": intercept, "slope": slope, "n": len(part.truth)})
    return found


def _is_applied(part: Predictions) -> bool:
    return part.model not in BASELINES or part.model in APPLIED_BASELINES


def judged_split(predictions: list[Predictions]) -> str:
    """Return the split by which models are judged: test, else cv, else val, else train."""
    splits = {part.split for part in predictions}
    return next(split for split in ("test", "cv", "val", "train") if split in splits)
