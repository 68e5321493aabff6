"""Disentanglement of checkpoints: scores beside those of trivial codes, and what each dimension is important for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aekit.core.artifacts import naming_leftovers, write_csv, write_png
from aekit.core.output import Result
from aekit.core.progress import Progress
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, count
from aekit.images.config import Split, image_of
from aekit.images.data.factors import Factors
from aekit.images.data.image_set import ImageSet
from aekit.images.differences import refuse_other_images
from aekit.images.disentangle.agreement import unsupervised_ranking
from aekit.images.disentangle.binning import Floats
from aekit.images.disentangle.figure import MAX_MODELS, ImportancePanel, plot_disentanglement
from aekit.images.disentangle.measure import Measured, draw_apart, measure_baselines, measure_model
from aekit.images.disentangle.nulls import NULLS
from aekit.images.disentangle.request import MIN_SAMPLES, Binning, DisentangleRequest
from aekit.images.disentangle.scores import SCORES
from aekit.images.disentangle.seeds import Scored, seed_table, spread_table
from aekit.images.inference import mean_divergence
from aekit.images.latent import live_dimensions
from aekit.images.loaded import LoadedCheckpoint, study_parameters
from aekit.images.session import Session

_ENDS = (".csv", "-factors.csv", "-importance.csv", "-seeds.csv", "-spread.csv")


@dataclass(frozen=True)
class OfModel:
    """What was measured of a checkpoint.

    Attributes:
        name: What tables call it.
        label: A few words that tell it from the others.
        settings: What it is, by the names of the options.
        origin: What the figure records of it.
        codes: Its codes of the first draw, (N, L).
        kl: KL divergence of each dimension in nats, (L,); for an autoencoder 1 of those that vary.
        measured: Its scores, and those of its codes turned and permuted; empty without factors.
    """

    name: str
    label: str
    settings: dict[str, Any]
    origin: dict[str, Any]
    codes: Floats
    kl: Floats
    measured: list[Measured]


@keeps_torch_settings
def run_disentangle(
    session: Session,
    output: Path | None = None,
    *,
    split: Split = "test",
    samples: int = 10_000,
    draws: int = 3,
    bins: int = 20,
    binning: Binning = "width",
    seed: int = 0,
) -> Result:
    """Return the figure (.png) of scores and importances, with the scores of each checkpoint.

    Next to it are tables of the scores (.csv), of each factor (-factors.csv) and of importances (-importance.csv); for
    models of several seeds their means (-seeds.csv), and their spread over seeds and beta (-spread.csv).

    Args:
        session: The checkpoints; with several, how well their dimensions agree is measured as well.
        output: The figure, or a folder; None is next to the checkpoints.
        split: Split of the images.
        samples: Images of a draw.
        draws: Draws without a common image.
        bins: Bins of a dimension, for mutual information.
        binning: ``width`` or ``quantile``.
        seed: Seed of all that is drawn.

    Raises:
        AekitError: Checkpoints cannot be compared, the images have no factors and there is a single checkpoint, there
            are too few images, or a file cannot be written.
    """
    request = DisentangleRequest(split, samples, draws, bins, binning, seed)
    session.check_comparable([split])
    target = session.target(output, name="disentangle" if split == "test" else f"disentangle-{split}", ends=_ENDS)
    models, baselines, drawn = _measure(session, request)
    ranking = unsupervised_ranking([own.codes for own in models], [own.kl for own in models]) if len(models) > 1 else ()
    table = _table(models, baselines, ranking, request, drawn)
    with naming_leftovers(target, _ENDS, session.progress):
        write_csv(target.with_suffix(".csv"), table)
        factors = drawn[0].factors
        if factors is not None:
            write_csv(target.with_name(f"{target.stem}-factors.csv"), _factor_table(models, factors))
            write_csv(target.with_name(f"{target.stem}-importance.csv"), _importance_table(models, factors))
        _write_figure(target, models, baselines, ranking, request, drawn)
        _show(table, {own.name: own.label for own in models}, request, drawn, session.progress)
        _write_seeds(target, models, table, session.progress)
    if len(models) > MAX_MODELS:
        session.progress.notice(
            f"{target}: shows the first {MAX_MODELS} of {len(models)} checkpoints; the tables have all"
        )
    own = table[table["code"] == "model"].astype(object)
    return Result(target, {"n": len(drawn[0]), "draws": len(drawn), "split": split, "models": _records(own)})


def _measure(session: Session, request: DisentangleRequest) -> tuple[list[OfModel], list[Measured], list[ImageSet]]:
    checkpoints = session.checkpoints(in_place=True)
    first = next(checkpoints)
    whole = session.studied(first, request.split)
    drawn = draw_apart(whole, request)
    _check_factors(session, whole)
    _say_draws(session.progress, request, drawn, whole)
    models: list[OfModel] = []
    for number, checkpoint in enumerate(chain([first], checkpoints)):
        refuse_other_images(checkpoint.path, session.studied(checkpoint, request.split), whole)
        models.append(_measure_checkpoint(checkpoint, drawn, request, session.threads))
        session.progress.update("measuring disentanglement", number + 1, len(session.paths))
    factors = [images.factors for images in drawn if images.factors is not None]
    if not factors:
        return models, [], drawn
    latents = sorted({own.codes.shape[1] for own in models})
    return models, measure_baselines(drawn, factors, latents, request, jobs=session.threads), drawn


def _check_factors(session: Session, images: ImageSet) -> None:
    if images.factors is None and len(session.paths) == 1:
        raise AekitError(
            f"{session.paths[0]}: the images of {images.name} have no known factors; train on --data shapes or "
            "shapes-colour, store 'factors' in an .npz, or give several checkpoints of other seeds, whose dimensions "
            "are compared without factors"
        )


def _say_draws(progress: Progress, request: DisentangleRequest, drawn: Sequence[ImageSet], images: ImageSet) -> None:
    if len(drawn) < request.draws or len(drawn[0]) < request.samples:
        fewer = len(images) // 3
        fix = f"; --samples {fewer} --draws 3 has one" if fewer >= MIN_SAMPLES else ""
        single = f", which has no interval{fix}" if len(drawn) == 1 else ""
        n_draws = f"{count(len(drawn), 'draw')} of {len(drawn[0]):,}{single}"
        progress.notice(f"{request.split} has {count(len(images), 'image')}: {n_draws}")
    if images.factors is None:
        progress.notice(f"{images.name}: has no known factors; only the agreement between models (UDR) is measured")


def _measure_checkpoint(
    checkpoint: LoadedCheckpoint, drawn: Sequence[ImageSet], request: DisentangleRequest, threads: int | None
) -> OfModel:
    encoded = [checkpoint.encode(images) for images in drawn]
    codes = [each.mean.astype(np.float64) for each in encoded]
    factors = [images.factors for images in drawn if images.factors is not None]
    has_kl = encoded[0].logvar is not None
    kl = mean_divergence(checkpoint.model, encoded[0]) if has_kl else live_dimensions(codes[0])
    return OfModel(
        checkpoint.name,
        checkpoint.label,
        checkpoint.settings(("kind", "arch", "latent", "objective", "beta", "epochs", "seed")),
        checkpoint.parameters("disentangle", drawn[0], **asdict(request)),
        codes[0],
        kl.astype(np.float64),
        measure_model(codes, factors, request, jobs=threads) if factors else [],
    )


# --- tables ---


def _table(
    models: Sequence[OfModel],
    baselines: Sequence[Measured],
    ranking: Sequence[float] | Floats,
    request: DisentangleRequest,
    drawn: Sequence[ImageSet],
) -> pd.DataFrame:
    about = {"data": drawn[0].name, "split": request.split, "n_images": len(drawn[0])}
    rows: list[dict[str, Any]] = []
    for number, own in enumerate(models):
        found = {"udr": ranking[number]} if len(ranking) else {}
        head = {"checkpoint": own.name, **own.settings, **about}
        rows += [{**head, **_row(each), **(found if each.code == "model" else {})} for each in own.measured]
        if not own.measured:
            rows.append({**head, "code": "model", "dimensions": own.codes.shape[1], "draws": 1, **found})
    rows += [{**about, **_row(each)} for each in baselines]
    return pd.DataFrame(rows)


def _row(each: Measured) -> dict[str, Any]:
    row: dict[str, Any] = {"code": each.code, "dimensions": each.n_dimensions, "draws": len(each.draws)}
    for name in SCORES:
        value, low, high = each.interval(name)
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return row


def _factor_table(models: Sequence[OfModel], factors: Factors) -> pd.DataFrame:
    """Return the scores of each factor: a row per code of a checkpoint and factor."""
    return pd.DataFrame(
        [
            {"checkpoint": own.name, "code": each.code, "factor": factor, "values": size}
            | {name: float(each.of_factors(name)[k]) for name in each.draws[0].by_factor}
            for own in models
            for each in own.measured
            for k, (factor, size) in enumerate(zip(factors.names, factors.sizes, strict=True))
        ]
    )


def _importance_table(models: Sequence[OfModel], factors: Factors) -> pd.DataFrame:
    """Return the importance of each dimension of each checkpoint for each factor."""
    rows = []
    for own in models:
        importance = own.measured[0].importance()
        rows += [
            {"checkpoint": own.name, "dimension": j, "kl": float(own.kl[j])}
            | {factor: float(importance[j, k]) for k, factor in enumerate(factors.names)}
            for j in range(len(importance))
        ]
    return pd.DataFrame(rows)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = table.where(table.notna(), None).dropna(axis=1, how="all").to_dict("records")
    return records


def _write_seeds(target: Path, models: Sequence[OfModel], table: pd.DataFrame, progress: Progress) -> None:
    """Write and show what models that differ in their seed alone score on average, if there are any."""
    own = table[table["code"] == "model"]
    names = [name for name in (*SCORES, "udr") if name in own]
    scores = own[names].to_dict("records")
    scored = [
        Scored(each.settings, each.origin["data"], each.origin["model"], each.origin["train"], values)
        for each, values in zip(models, scores, strict=True)
    ]
    if len(found := seed_table(scored)):
        write_csv(target.with_name(f"{target.stem}-seeds.csv"), found)
        spreads = spread_table(scored)
        path = write_csv(target.with_name(f"{target.stem}-spread.csv"), spreads)
        rows = [
            ({**SCORES, "udr": "UDR"}[row["score"]], *(_rounded(row[name]) for name in ("sd_seeds", "sd_beta")))
            for row in spreads.to_dict("records")
        ]
        n = count(int(found["seeds"].sum()), "model")
        progress.table(f"Standard deviations over seeds and over beta, {n}", ["score", "seeds", "beta"], rows)
        if n_alone := len(models) - int(found["seeds"].sum()):
            progress.notice(f"{path}: leaves out {count(n_alone, 'model')} with no other seed of the same settings")


# --- figure and terminal ---


def _write_figure(
    target: Path,
    models: Sequence[OfModel],
    baselines: Sequence[Measured],
    ranking: Sequence[float] | Floats,
    request: DisentangleRequest,
    drawn: Sequence[ImageSet],
) -> None:
    factors = drawn[0].factors
    panels = []
    if factors is not None:
        panels = [ImportancePanel(own.label, own.measured[0].importance(), factors.names, own.kl) for own in models]
    figure = plot_disentanglement(
        [(own.label, own.measured) for own in models if own.measured],
        baselines,
        panels,
        agreement=[(own.label, float(value)) for own, value in zip(models, ranking, strict=False)],
        title=f"Disentanglement, {_draws_in_words(drawn, request)} of {drawn[0].name}",
    )
    origins = [own.origin for own in models]
    write_png(target, figure, study_parameters("disentangle", request, origins, drawn[0]))


def _show(
    table: pd.DataFrame,
    labels: Mapping[str, str],
    request: DisentangleRequest,
    drawn: Sequence[ImageSet],
    progress: Progress,
) -> None:
    names = [name for name in (*SCORES, "udr") if name in table and table[name].notna().any()]
    headings = {**SCORES, "udr": "UDR"}
    rows = []
    for _, row in table.iterrows():
        label = labels.get(row["checkpoint"], "") if len(labels) > 1 else ""
        words = [label] if label and row["code"] == "model" else [label, row["code"]]
        rows.append((": ".join(filter(None, words)), *(_rounded(row[score]) for score in names)))
    n = _draws_in_words(drawn, request)
    progress.table(f"Disentanglement, {n}; 1 is best", ["code", *(headings[name] for name in names)], rows)
    codes = [code for code in NULLS if (table["code"] == code).any()]
    for code in codes:
        progress.notice(f"{code}: {NULLS[code]}")


def _draws_in_words(drawn: Sequence[ImageSet], request: DisentangleRequest) -> str:
    return f"{count(len(drawn), 'draw')} of {count(len(drawn[0]), image_of(request.split))}"


def _rounded(value: float) -> str | None:
    return None if np.isnan(value) else f"{value:.3f}"
