"""``aekit evaluate``: losses, metrics and the use of the latent dimensions, with standard errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from torch import Tensor

from aekit.core.artifacts import write_columns, write_json, write_png
from aekit.core.output import Result
from aekit.core.progress import SILENT, Progress
from aekit.core.settings import check_at_least
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, count
from aekit.images.aggregate import Aggregate
from aekit.images.config import Split, TrainConfig, image_of
from aekit.images.data.image_set import ImageSet
from aekit.images.evaluation.models_table import EvaluatedModel, bound_name, show_models, write_models
from aekit.images.evaluation.paired import show_differences, write_differences
from aekit.images.inference import mean_and_error
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.measures.importance import ImportanceBound, importance_bound, is_normalised
from aekit.images.measures.metrics import METRICS
from aekit.images.measures.per_image import Evaluation, evaluate_images
from aekit.images.models.base import Autoencoder
from aekit.images.session import Session
from aekit.images.term_names import UNITLESS
from aekit.plotting.bars import plot_kl_per_dimension

Floats = npt.NDArray[np.floating]

_AGGREGATE = ("mutual_information", "total_correlation")


@keeps_torch_settings
def run_evaluate(
    session: Session,
    output: Path | None = None,
    *,
    split: Split = "test",
    importance: int | None = None,
    seed: int | None = None,
) -> Iterator[Result]:
    """Yield a file of means with standard errors (.json) per checkpoint; a table and bars of its dimensions join it.

    For several checkpoints, ``evaluate.csv`` in the folder that they share, or in ``output``, has a row for each, and
    ``evaluate-differences.csv`` the differences of each two on the same images. All checks are done before the first
    checkpoint is evaluated.

    Args:
        session: The checkpoints.
        output: A file for one checkpoint, or a folder; None is next to each checkpoint.
        split: Images to evaluate on.
        importance: Samples per image for the importance-weighted bound; None computes none.
        seed: Seed of the samples of the posterior; None takes that of the training.

    Raises:
        AekitError: A file cannot be written, or a bound is asked of a plain autoencoder.
    """
    name = "evaluate" if split == "test" else f"evaluate-{split}"
    check_at_least("importance", importance, 1)
    targets = session.targets(output, name=name, suffixes=(".json",))
    for path, record in zip(session.paths, session.records, strict=True):
        if importance is not None and not record.model.has_prior:
            raise AekitError(f"--importance: {path} is a plain autoencoder, which has no p(x); leave it out")
    table = session.target(output, name=name, suffix=".csv") if len(session.paths) > 1 else None
    return _evaluate_all(session, targets, table, split, importance, seed)


def _evaluate_all(
    session: Session,
    targets: list[Path],
    table: Path | None,
    split: Split,
    importance: int | None,
    seed: int | None,
) -> Iterator[Result]:
    models = []
    for checkpoint, target in zip(session.checkpoints(in_place=True), targets, strict=True):
        own_seed = checkpoint.record.train.seed if seed is None else seed
        image_set = session.measured(checkpoint, split, seed=own_seed, with_labels=False)
        totals, per_image = _evaluate(session, checkpoint, image_set, target, split, importance, own_seed)
        models.append(EvaluatedModel.of(checkpoint, image_set, split, totals, per_image))
        if table is None:
            _show(session, checkpoint, totals, split)
        yield Result(target, {"checkpoint": str(checkpoint.path), "split": split, **totals})
    if table is not None:
        show_models(write_models(table, models), models, split, session.progress)
        differences = table.with_name(f"{table.stem}-differences.csv")
        show_differences(differences, write_differences(differences, models), session.progress)


def _evaluate(
    session: Session,
    checkpoint: LoadedCheckpoint,
    image_set: ImageSet,
    target: Path,
    split: Split,
    importance: int | None,
    seed: int,
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Write the files of one checkpoint, and return its means, and what images have a value of their own of."""
    model, train_config = checkpoint.model, checkpoint.record.train
    totals, evaluation, bound = evaluate_model(
        model, image_set, train_config, seed=seed, importance=importance, progress=session.progress
    )
    parameters = checkpoint.parameters("evaluate", image_set, split=split, seed=seed, importance=importance)
    write_png(target.with_suffix(".png"), _figure(checkpoint, evaluation), parameters)
    write_columns(target.with_suffix(".csv"), _dimension_table(checkpoint, evaluation))
    write_json(target, {**totals, "parameters": parameters})
    own = {name: values for name, values in evaluation.per_image.items() if name not in evaluation.shared}
    return totals, own | ({} if bound is None else {"log_p": bound.log_p})


def evaluate_model(
    model: Autoencoder,
    image_set: ImageSet,
    train_config: TrainConfig,
    *,
    seed: int,
    importance: int | None = None,
    progress: Progress = SILENT,
) -> tuple[dict[str, Any], Evaluation, ImportanceBound | None]:
    """Return the means over images that the .json file of a checkpoint has, and what they are means of.

    Args:
        model: The network.
        image_set: Images of its shape.
        train_config: How it was trained, which has the weights of the terms.
        seed: Seed of the samples of the posterior.
        importance: Samples per image for the importance-weighted bound; None computes none.
        progress: Receives updates.

    Raises:
        AekitError: Some values are not finite, or a bound is asked of a plain autoencoder.
    """
    if importance is not None and not model.config.has_prior:
        raise AekitError(f"--importance: {model.name} is a plain autoencoder, which has no p(x); leave it out")
    evaluation = evaluate_images(model, image_set, train_config=train_config, seed=seed)
    bound = None
    if importance is not None:
        bound = importance_bound(model, image_set, n_samples=importance, seed=seed, progress=progress)
    return _totals(model, image_set, evaluation, bound, importance), evaluation, bound


def _totals(
    model: Autoencoder,
    image_set: ImageSet,
    evaluation: Evaluation,
    bound: ImportanceBound | None,
    importance: int | None,
) -> dict[str, Any]:
    """Return the means over the images and their standard errors, None for a single image."""
    means = {name: mean_and_error(values) for name, values in evaluation.per_image.items()}
    if (aggregate := evaluation.aggregate) is not None:
        means |= {name: mean_and_error(parts.numpy()) for name, parts in _aggregate_terms(aggregate).items()}
    if bound is not None:
        means["log_p"] = mean_and_error(bound.log_p)
        means["effective_samples"] = mean_and_error(bound.effective_samples)
    totals: dict[str, Any] = {"n": len(image_set)}
    for name, (mean, error) in means.items():
        has_error = not math.isnan(error) and name not in evaluation.shared
        totals |= {name: mean, f"{name}_error": error if has_error else None}
    if model.config.loss == "logistic":
        n_values = math.prod(image_set.image_shape)
        nats = totals["reconstruction"] + totals.get("kl", 0.0)
        totals["bits_per_dimension"] = nats / (n_values * math.log(2))
        if importance is not None:
            totals["log_p_bits_per_dimension"] = -totals["log_p"] / (n_values * math.log(2))
    if aggregate is not None:
        totals |= {"aggregate_images": aggregate.n_images, "aggregate_codes": len(aggregate.rows)}
    if importance is not None:  # "log_p" is the name of the bound since the first version, whatever it bounds
        totals["log_p_normalised"] = is_normalised(model.config.loss, image_set)
        totals["importance"] = importance
    return totals | {"latent": len(evaluation.active), "active_units": int(evaluation.active.sum())}


def _aggregate_terms(aggregate: Aggregate) -> dict[str, Tensor]:
    """Return what is reported of the aggregate posterior: one dimension has no total correlation."""
    return {"mutual_information": aggregate.parts.mi, "total_correlation": aggregate.parts.tc}


def _dimension_table(checkpoint: LoadedCheckpoint, evaluation: Evaluation) -> dict[str, Any]:
    n = len(evaluation.active)
    table: dict[str, Any] = {"checkpoint": [checkpoint.name] * n, "dimension": range(n)}
    if evaluation.kl_per_dimension is not None:
        table["kl_marginal" if _is_mixture(checkpoint) else "kl"] = evaluation.kl_per_dimension
    table["variance"], table["active"] = evaluation.variance, evaluation.active
    return table


def _is_mixture(checkpoint: LoadedCheckpoint) -> bool:
    """Return whether the KL divergences of the dimensions do not add up to that of the code."""
    return checkpoint.record.model.n_components > 1


def _figure(checkpoint: LoadedCheckpoint, evaluation: Evaluation) -> Figure:
    if evaluation.kl_per_dimension is not None:
        what = "KL from marginal" if _is_mixture(checkpoint) else "KL divergence"
        return plot_kl_per_dimension(
            evaluation.kl_per_dimension,
            evaluation.active,
            ylabel=f"{what} (nats per image)",
            title=checkpoint.title,
        )
    return plot_kl_per_dimension(
        evaluation.variance, evaluation.active, ylabel="variance of the code", title=checkpoint.title
    )


def _remarks(checkpoint: LoadedCheckpoint, totals: dict[str, Any]) -> list[str]:
    """Return what must be known of the numbers that are shown."""
    name, remarks = checkpoint.path.name, []
    if totals.get("aggregate_images", totals["n"]) < totals["n"]:
        n = count(totals["aggregate_images"], "image")
        remarks.append(f"{name}: mutual information and total correlation are those of {n}, evenly spaced")
    if "total" not in totals:
        remarks.append(
            f"{name}: without tc and total of training, whose discriminator is not part of a checkpoint; "
            "total correlation is estimated without it"
        )
    return remarks


def _show(session: Session, checkpoint: LoadedCheckpoint, totals: dict[str, Any], split: Split) -> None:
    loss = "MSE" if checkpoint.record.model.loss == "mse" else "nats"
    units = {name: "nats" for name in totals if f"{name}_error" in totals}
    units |= dict.fromkeys(UNITLESS, "")
    units |= dict.fromkeys(_AGGREGATE, f"nats, {totals.get('aggregate_codes')} codes")
    units |= {"total": loss, "reconstruction": loss} | {name: metric.unit for name, metric in METRICS.items()}
    names = {"log_p": bound_name(checkpoint.settings(("condition",)), totals)}
    names |= {name: name.replace("_", " ") for name in ("effective_samples", *_AGGREGATE)}
    names |= {name: name.upper() for name in ("kl", *METRICS)}
    units["effective_samples"] = f"of {totals.get('importance')}"
    rows = [
        (
            names.get(name, name),
            f"{totals[name]:.5g}",
            "" if totals[f"{name}_error"] is None else f"{totals[f'{name}_error']:.2g}",
            unit,
        )
        for name, unit in units.items()
        if name in totals
    ]
    bits = {"bits_per_dimension": "ELBO", "log_p_bits_per_dimension": "bound"}
    rows += [
        (f"bits per dimension, {of}", f"{totals[name]:.4g}", "", "bits") for name, of in bits.items() if name in totals
    ]
    rows.append(("active units", str(totals["active_units"]), "", f"of {totals['latent']}"))
    title = f"{checkpoint.path.name}: {count(totals['n'], image_of(split))}"
    session.progress.table(title, ["per image", "mean", "standard error", "unit"], rows)
    for text in _remarks(checkpoint, totals):
        session.progress.notice(text)
