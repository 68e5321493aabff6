"""The figures of a training: learning curves, predictions, agreement, residuals, decades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aekit.brains.cases import CASES
from aekit.brains.figures.errors import plot_decades
from aekit.brains.figures.history import plot_brain_history
from aekit.brains.figures.predictions import Predicted, plot_bland_altman, plot_predictions
from aekit.brains.figures.residuals import plot_residuals
from aekit.brains.figures.scans import plot_scans
from aekit.brains.figures.site_errors import plot_site_errors
from aekit.brains.measures.regression import by_group, decades
from aekit.brains.people import Participants, People
from aekit.brains.predictions import AGE, FEATURE_MODELS, NETWORKS, Predictions
from aekit.brains.scores import IMAGE_BASELINES, judged_split
from aekit.brains.stacking import STACK
from aekit.brains.training import EpochRow
from aekit.core.artifacts import write_png
from aekit.errors import count

_QUANTITIES = {
    "age_years": ("age", "years"),
    "gmv_ml": ("grey matter", "mL"),
    "wmv_ml": ("white matter", "mL"),
    "csfv_ml": ("CSF", "mL"),
    "gmv_fraction": ("fraction of grey matter", ""),
    "wmv_fraction": ("fraction of white matter", ""),
    "csfv_fraction": ("fraction of CSF", ""),
}
_STAGES = {
    ("volumes", True): "true volumes to age",
    ("volumes", False): "image to volumes",
    ("chain", True): "image to volumes to age",
    ("direct", True): "image to age",
    ("ridge-features", True): "ridge regression on columns",
    ("gp-features", True): "Gaussian process on columns",
    (STACK, True): "stack",
}
_LOSSES = {"stage": {"volumes": "volumes", "chain": "chain: sum of age and volumes"}}
_AT_SITES = ("mean", "gp", "ridge-histogram", "chain", "direct", *FEATURE_MODELS)


def write_figures(
    output: Path, people: People, predictions: list[Predictions], history: list[EpochRow], parameters: dict[str, Any]
) -> None:
    """Write learning curves (.png), and .predictions, .bland-altman, .residuals, .decades and .scans.png."""
    name = _title(people, parameters)
    title = f"{name}: {count(len(people.cohort), 'participant')}"
    losses = pd.DataFrame([asdict(row) for row in history]).replace(_LOSSES)
    others = {"direct": "KL divergence, nats"} if parameters["model"]["arch"] == "sfcn" else {}
    figures = {".png": plot_brain_history(losses, other_losses=others, title=title)}
    figures |= _figures_of_ages(people, predictions, NETWORKS, name)
    if people.judged is not None:
        figures[".scans.png"] = plot_scans(
            people.judged.pictures(), title=f"{people.cohort.name}: {people.judged.picture_title()}"
        )
    for suffix, figure in figures.items():
        write_png(output.with_suffix(suffix), figure, parameters)


def write_feature_figures(
    output: Path, people: Participants, predictions: list[Predictions], best: str, parameters: dict[str, Any]
) -> None:
    """Write .predictions, .bland-altman, .residuals and .decades.png of models of columns; residuals of the best."""
    models = (*FEATURE_MODELS, STACK)
    figures = _figures_of_ages(people, predictions, models, _title(people, parameters), residuals_of=(best,))
    for suffix, figure in figures.items():
        write_png(output.with_suffix(suffix), figure, parameters)


def _figures_of_ages(
    people: Participants,
    predictions: list[Predictions],
    models: Sequence[str],
    name: str,
    *,
    residuals_of: Sequence[str] = ("chain", "direct"),
) -> dict[str, Any]:
    """Return the figures of predictions by suffix; residuals are of the first model that there is."""
    split = judged_split(predictions)
    panels = _panels(people, predictions, models)
    judged = [_only(panel, split) for panel in panels if split in panel.split]
    judged += [
        _only(panel, CASES, f", {CASES}") for panel in panels if CASES in panel.split and panel.quantity == "age"
    ]
    n_cases = sum(one == CASES for one in panels[0].split)
    both = f"{split} and {count(n_cases, 'case')}" if n_cases else split
    title = f"{name}: {count(len(people.cohort), 'participant')}"
    return {
        ".predictions.png": plot_predictions(panels, title=title),
        ".bland-altman.png": plot_bland_altman(judged, title=_counted(name, len(judged[0].truth), both)),
        ".residuals.png": _residuals(people, predictions, split, name, residuals_of),
        ".decades.png": _decades(predictions, split, name),
    }


def write_site_figure(output: Path, table: pd.DataFrame, people: Participants, parameters: dict[str, Any]) -> None:
    """Write .sites.png, the errors of age at each site from the table of :mod:`aekit.brains.sites`."""
    first = table[table["model"] == "mean"]
    title = _counted(_title(people, parameters), int(first["n"].sum()), str(first["split"].iloc[0]))
    figure = plot_site_errors(table, _AT_SITES, title=title)
    write_png(output.with_suffix(".sites.png"), figure, parameters)


def _title(people: Participants, parameters: dict[str, Any]) -> str:
    """Return what distinguishes this training from others on the same participants."""
    model = parameters["model"]
    parts = [model["arch"]]
    parts += ["proportions"] if model.get("target") == "proportion" else []
    parts += [] if model.get("histogram", True) else ["no histogram"]
    parts += ["ComBat"] if model.get("combat") else []
    parts += ["outliers dropped from train"] if parameters["data"]["drop_outliers"] else []
    controls = parameters["data"].get("controls")
    parts += [] if controls is None else [f"trained on {controls}"]
    return f"{people.cohort.name}, {', '.join(parts)}"


def _counted(name: str, n: int, split: str) -> str:
    """Return the title of a figure of ``n`` participants of a split."""
    return f"{name}: {count(n, 'participant')}, {split}"


def _panels(people: Participants, predictions: list[Predictions], models: Sequence[str]) -> list[Predicted]:
    """Return a panel per model and target with all splits but ``dropped``, which is few or part of cv already."""
    panels = []
    ids = people.cohort.table["participant_id"].astype(str).tolist()
    keys = dict.fromkeys((part.model, part.target) for part in predictions if part.model in models)
    for model, target in sorted(keys, key=lambda key: (key[1] == AGE, models.index(key[0]))):
        if model == "chain" and target != AGE:
            continue  # nearly the same as those of ``volumes``
        parts = [
            part for part in predictions if (part.model, part.target) == (model, target) and part.split != "dropped"
        ]
        quantity, unit = _QUANTITIES[target]
        stage = _STAGES[model, target == AGE]
        panels.append(
            Predicted(
                name=f"{stage}: {quantity}" if target != AGE else stage,
                truth=np.concatenate([part.truth for part in parts]),
                prediction=np.concatenate([part.prediction for part in parts]),
                split=[part.split for part in parts for _ in part.rows],
                quantity=quantity,
                unit=unit,
                ids=[ids[row] for part in parts for row in part.rows],
            )
        )
    return panels


def _only(panel: Predicted, split: str, label: str = "") -> Predicted:
    own = [row for row, name in enumerate(panel.split) if name == split]
    return replace(
        panel,
        name=panel.name + label,
        truth=panel.truth[own],
        prediction=panel.prediction[own],
        split=[split] * len(own),
        ids=[panel.ids[row] for row in own],
    )


def _residuals(
    people: Participants, predictions: list[Predictions], split: str, name: str, models: Sequence[str]
) -> Any:
    part = next(
        part for model in models for part in predictions if (part.model, part.target, part.split) == (model, AGE, split)
    )
    cohort = people.cohort
    site = None if cohort.site is None else cohort.site[part.rows]
    return plot_residuals(
        part.prediction - part.truth,
        age_years=cohort.age_years[part.rows],
        sex=cohort.sex[part.rows],
        site=site,
        ids=cohort.table["participant_id"].iloc[part.rows].astype(str).tolist(),
        title=_counted(f"{name}, {part.model}", len(part.truth), split),
    )


def _decades(predictions: list[Predictions], split: str, name: str) -> Any:
    """Return the errors by decade of the networks, the mean, and the best baseline that sees no more than the image."""
    parts = {part.model: part for part in predictions if (part.target, part.split) == (AGE, split)}
    best = min((model for model in IMAGE_BASELINES if model in parts), key=lambda model: _mae(parts[model]))
    labels = {"mean": "mean", "gp": "gp, from true volumes", best: f"{best}, the best baseline"}
    shown = [
        model for model in dict.fromkeys(("mean", "gp", best, *NETWORKS, *FEATURE_MODELS, STACK)) if model in parts
    ]
    errors = {
        labels.get(model, model): by_group(part.truth, part.prediction, decades(part.truth))
        for model, part in ((model, parts[model]) for model in shown)
    }
    return plot_decades(errors, title=_counted(name, len(parts[shown[0]].truth), split))


def _mae(part: Predictions) -> float:
    return float(np.abs(part.prediction - part.truth).mean())
