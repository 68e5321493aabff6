"""Predictions of all models for all participants, baselines included, each fitted on its train set alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from aekit.brains.config import BrainConfig
from aekit.brains.data import build_brain_data
from aekit.brains.measures.baselines import (
    fit_gaussian_process,
    fit_linear,
    fit_ridge,
    gram_matrix,
    predict_mean,
    predict_median,
    predict_ridge_voxels,
    smooth_histogram,
)
from aekit.brains.members import Ensemble, MemberPrediction, predict_members
from aekit.brains.networks import MAX_AGE_YEARS
from aekit.brains.people import Fold, People
from aekit.brains.tissue_model import TISSUES, TissueFeatures, predict_by_tissues, tissue_features
from aekit.brains.training import check_stop
from aekit.core.progress import SILENT, Progress
from aekit.errors import count

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

AGE = "age_years"
TISSUE_TARGETS = {
    "absolute": ("gmv_ml", "wmv_ml", "csfv_ml"),
    "proportion": ("gmv_fraction", "wmv_fraction", "csfv_fraction"),
}
BASELINES = ("mean", "median", "linear", "gp", "ridge-voxels", "ridge-histogram", TISSUES)
NETWORKS = ("volumes", "chain", "direct")
FEATURE_MODELS = ("ridge-features", "gp-features")  # of columns of the table, instead of images
_SPLITS = ("train", "val", "test", "cv", "cases", "dropped")


@dataclass(frozen=True)
class Predictions:
    """One model's predictions of one quantity for one split.

    Attributes:
        model: One of ``BASELINES``, ``NETWORKS`` or ``FEATURE_MODELS``, or the stack.
        target: ``age_years``, ``gmv_ml`` ...
        split: ``train``, ``val``, ``test``, ``cv``, ``cases`` for those who are not controls, or ``dropped`` for
            outliers that no model was trained on.
        rows: Participants, (n,).
        fold: Fold in which each was held out, (n,); -1 for the mean of all folds.
        truth: True values, (n,).
        prediction: Predicted ones, (n,).
        mean_prediction: Mean of the train set of the model that predicted each participant, (n,).
        sd: Standard deviation of the same, (n,).
    """

    model: str
    target: str
    split: str
    rows: Rows
    fold: Rows
    truth: Floats
    prediction: Floats
    mean_prediction: Floats
    sd: Floats


def predict_all(
    people: People,
    folds: list[Fold],
    ensemble: Ensemble,
    config: BrainConfig,
    device: torch.device,
    progress: Progress = SILENT,
    images: ImageFeatures | None = None,
) -> list[Predictions]:
    """Return the predictions of all models and splits, folds pooled; ``images`` are computed unless they are known.

    Raises:
        Stopped: A signal asked for it.
    """
    data = build_brain_data(people, config.model.target)
    check_stop(progress)
    images = image_features(people, config, progress) if images is None else images
    features = _Features(people.tissues(config.model.target), smooth_histogram(people.volumes.histograms_ml), images)
    targets = find_targets(people, config)
    found: list[Predictions] = []
    clamped = np.zeros(len(people.cohort), np.bool_)
    for number, fold in enumerate(folds):
        check_stop(progress)
        progress.update("baselines and predictions", number, len(folds))
        splits = splits_of(fold, with_train=not config.data.cv)
        rows_of_fold = np.unique(np.concatenate(list(splits.values())))
        own = [networks for (of, _), networks in sorted(ensemble.networks.items()) if of == fold.number]
        predicted = predict_members(own, data, rows_of_fold, device=device, mirrored="flip" in config.train.augment)
        if predicted.clamped is not None:
            clamped[rows_of_fold[predicted.clamped > 0]] = True
        by_model = {
            **_baselines(features, targets, fold.train, rows_of_fold, config),
            **_networks(predicted, targets),
        }
        found += by_split(by_model, splits, rows_of_fold, targets, fold)
    if clamped.any():
        progress.notice(describe_clamped(int(clamped.sum()), count(len(clamped), "participant")))
    return pool_folds(found)


def by_split(
    by_model: dict[tuple[str, str], Floats],
    splits: dict[str, Rows],
    rows_of_fold: Rows,
    targets: dict[str, Floats],
    fold: Fold,
) -> list[Predictions]:
    """Return the predictions of a fold's models, one of each model, target and split.

    Args:
        by_model: Model and target -> predictions, (n,); ``mean`` is one of the models.
        splits: Rows of each split.
        rows_of_fold: Rows of the n participants that were predicted, ascending.
        targets: True values of all participants, (N,) each, by name.
        fold: The fold.
    """
    found = []
    for split, rows in splits.items():
        place = np.searchsorted(rows_of_fold, rows)
        for (model, target), values in by_model.items():
            # The baseline's own means, as a sum in another order would give it a skill of 1e-16, not 0.
            means = by_model["mean", target][place]
            found.append(_predictions(model, target, split, rows, values[place], means, targets[target], fold))
    return found


def describe_clamped(n: int, of: str, *, is_new: bool = False) -> str:
    """Return that ages were clipped, and what it means.

    Args:
        n: Number of those with an age that was clipped.
        of: Of how many, in words.
        is_new: Whether they are new scans, which may be unlike those of the training.
    """
    text = f"predicted ages outside 0 to {MAX_AGE_YEARS:.0f} years were clipped, those of {n:,} of {of}: "
    if is_new:
        return (
            f"{text}the scans are unlike those of the training, or some network did not learn age, which mri-train "
            "says as well"
        )
    return f"{text}some network did not learn age; train on more participants, or with a lower --lr"


def describe_clamped_scans(n: int, of: str) -> str:
    """Return that ages of new scans were clipped, which no training can be blamed for.

    Args:
        n: Number of those with an age that was clipped.
        of: Of how many, in words.
    """
    return (
        f"predicted ages outside 0 to {MAX_AGE_YEARS:.0f} years were clipped, by one model or more in {n:,} of {of}; "
        "see the column warnings, and do not trust these ages"
    )


def _predictions(
    model: str, target: str, split: str, rows: Rows, values: Floats, means: Floats, truth: Floats, fold: Fold
) -> Predictions:
    of_fold = np.full(len(rows), fold.number, np.int64)
    sds = np.full(len(rows), truth[fold.train].std())
    return Predictions(model, target, split, rows, of_fold, truth[rows], values, means, sds)


@dataclass(frozen=True)
class ImageFeatures:
    """What simple models need to know of images.

    Attributes:
        gram: Inner products of images, (N, N).
        tissues: Maps of tissues and shapes of histograms.
    """

    gram: Floats
    tissues: TissueFeatures


def image_features(people: People, config: BrainConfig, progress: Progress = SILENT) -> ImageFeatures:
    """Return what simple models need to know of the images of all participants."""
    progress.update("inner products of images", 0, 1)
    volumes = people.volumes
    tissues = tissue_features(volumes.images, volumes.histograms_ml, config.data.spacing_mm)
    return ImageFeatures(gram_matrix(volumes.images), tissues)


@dataclass(frozen=True)
class _Features:
    tissues: Floats
    histogram: Floats
    images: ImageFeatures


def find_targets(people: People, config: BrainConfig) -> dict[str, Floats]:
    """Return the true values of all participants that models learn, (N,) each, by name: ages, then volumes."""
    tissues = people.tissues(config.model.target)
    names = TISSUE_TARGETS[config.model.target] if config.model.target else ()
    return {AGE: people.cohort.age_years, **{name: tissues[:, column] for column, name in enumerate(names)}}


def splits_of(fold: Fold, *, with_train: bool) -> dict[str, Rows]:
    """Return the rows of each split that a model of a fold predicts."""
    splits = {"train": fold.train} if with_train else {}
    dropped = fold.dropped if with_train else fold.flagged
    splits |= fold.held_out
    return {split: rows for split, rows in {**splits, "dropped": dropped}.items() if len(rows)}


def _baselines(
    features: _Features, targets: dict[str, Floats], train: Rows, rows: Rows, config: BrainConfig
) -> dict[tuple[str, str], Floats]:
    names = list(targets)
    y = np.column_stack([targets[name] for name in names])
    all_targets = {
        "mean": predict_mean(y[train], len(rows)),
        "median": predict_median(y[train], len(rows)),
        "ridge-voxels": predict_ridge_voxels(features.images.gram, y, train, rows),
        "ridge-histogram": fit_ridge(features.histogram[train], y[train])(features.histogram[rows]),
    }
    # scikit-learn returns a one-dimensional array for a single target.
    columns = {model: values.reshape(len(rows), len(names)).T for model, values in all_targets.items()}
    found = {(model, name): column for model, own in columns.items() for name, column in zip(names, own, strict=True)}
    found[TISSUES, AGE] = predict_by_tissues(features.images.tissues, targets[AGE], train, rows)
    if features.tissues.shape[1]:
        x, ages = features.tissues, targets[AGE]
        found["linear", AGE] = fit_linear(x[train], ages[train])(x[rows])
        found["gp", AGE] = fit_gaussian_process(x[train], ages[train], seed=config.train.seed)(x[rows])
    return found


def _networks(predicted: MemberPrediction, targets: dict[str, Floats]) -> dict[tuple[str, str], Floats]:
    tissue_names = [name for name in targets if name != AGE]
    found = {}
    for model, tissues, age in (
        ("volumes", predicted.tissues, predicted.age_of_truth),
        ("chain", predicted.chain_tissues, predicted.chain_age),
        ("direct", None, predicted.direct_age),
    ):
        if age is not None:
            found[model, AGE] = age
        if tissues is not None:
            found |= {(model, name): tissues[:, column] for column, name in enumerate(tissue_names)}
    return found


def pool_folds(found: list[Predictions]) -> list[Predictions]:
    """Return one of each model, target and split; participants predicted in every fold get the mean of all folds."""
    groups: dict[tuple[str, str, str], list[Predictions]] = {}
    for part in found:
        groups.setdefault((part.model, part.target, part.split), []).append(part)
    order = {name: number for number, name in enumerate((*BASELINES, *NETWORKS, *FEATURE_MODELS))}
    targets = list(dict.fromkeys(part.target for part in found))
    splits = [name for name in _SPLITS if any(part.split == name for part in found)]
    keys = sorted(groups, key=lambda key: (targets.index(key[1]), splits.index(key[2]), order[key[0]]))
    return [_joined(groups[key]) for key in keys]


def _joined(parts: list[Predictions]) -> Predictions:
    first = parts[0]
    rows = np.concatenate([part.rows for part in parts])
    people, which, counts = np.unique(rows, return_inverse=True, return_counts=True)

    def mean(values: list[Floats]) -> Floats:
        return np.asarray(np.bincount(which, np.concatenate(values), len(people)) / counts)

    fold = np.full(len(people), -1, np.int64)
    fold[which] = np.concatenate([part.fold for part in parts])
    fold[counts > 1] = -1
    return Predictions(
        first.model,
        first.target,
        first.split,
        people.astype(np.int64),
        fold,
        mean([part.truth for part in parts]),
        mean([part.prediction for part in parts]),
        mean([part.mean_prediction for part in parts]),
        mean([part.sd for part in parts]),
    )


def iter_splits(predictions: list[Predictions]) -> Iterator[tuple[tuple[str, str], list[Predictions]]]:
    """Yield each (target, split) with the predictions of all models for it."""
    keys = dict.fromkeys((part.target, part.split) for part in predictions)
    for key in keys:
        yield key, [part for part in predictions if (part.target, part.split) == key]
