"""``aekit pca-compare``: autoencoders compared with exact principal components of as many dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.core.artifacts import write_csv, write_png
from aekit.core.checkpoint import Header
from aekit.core.intervals import mean_interval
from aekit.core.output import Result
from aekit.core.progress import Progress
from aekit.core.settings import differing_keys, in_words
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import count
from aekit.images.conditioning import class_numbers
from aekit.images.config import Split, image_of
from aekit.images.data.image_set import ImageSet
from aekit.images.inference import decode_codes
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.pca.baseline import PcaBaseline, fit_baseline
from aekit.images.pca.elbow import METHOD, kneedle
from aekit.images.pca.figure import CLIPPED, PCA, Plane, plot_against_pca, plot_planes
from aekit.images.pca.planes import GRID, model_plane, pca_plane
from aekit.images.session import Session

Floats = npt.NDArray[np.floating]

MAX_PLANES = 20
MIN_RUNS = 3  # for a confidence band
DECODE = 4096  # codes at a time: as floats, large images do not all fit into memory
QUANTITIES = ("mse", "ratio", "ratio_clipped", "explained_variance")


@dataclass(frozen=True)
class Comparison:
    """The results of a comparison.

    Attributes:
        baseline: PCA.
        table: A row per checkpoint.
        planes: Of two-dimensional codes, the first ones.
        n_planes: Number of checkpoints with two latent dimensions.
        image_set: The images that were compared on.
        parameters: The checkpoints and options, for the files of results.
    """

    baseline: PcaBaseline
    table: pd.DataFrame
    planes: list[Plane]
    n_planes: int
    image_set: ImageSet
    parameters: dict[str, Any]

    @property
    def images(self) -> str:
        """Return a few words on the images, for titles."""
        return f"{count(len(self.image_set), image_of(self.parameters['options']['split']))} of {self.image_set.name}"


@keeps_torch_settings
def run_pca_compare(session: Session, output: Path | None = None, *, split: Split = "test") -> Result:
    """Return the figure of curves (.png) with the worst and best ratio and the elbows.

    Next to it are a row per checkpoint (.csv), the elbows (-elbow.csv), and with two latent dimensions their planes
    (-2d.png).

    Args:
        session: The checkpoints.
        output: The figure, or a folder; None is next to the checkpoints.
        split: Images to compare on; PCA is always fitted on the training images.

    Raises:
        AekitError: Checkpoints cannot be compared, images cannot be read, or a file cannot be written.
    """
    target = session.target(output, name="pca-compare" if split == "test" else f"pca-compare-{split}")
    session.check_comparable(list(dict.fromkeys(("train", split))))
    found = _compare(session, split)
    elbows = find_elbows(found.table)
    write_csv(target.with_suffix(".csv"), found.table)
    write_csv(target.with_name(f"{target.stem}-elbow.csv"), elbows)
    _write_planes(target, found, session.progress)
    _write_curves(target, found, elbows)
    _show(found, elbows, session.progress)
    if any(record.model.is_conditional for record in session.records):
        session.progress.notice("models trained with --condition label are told the class of an image; PCA is not")
    return Result(target, {"split": split, "n": len(found.image_set), **_summary(found.table, elbows)})


def _compare(session: Session, split: Split) -> Comparison:
    latents = [record.model.latent for record in session.records]
    checkpoints = session.checkpoints(in_place=True)
    first = next(checkpoints)
    image_set = session.images(first, split)
    baseline = fit_baseline(session, first, image_set, latents)
    planes = pca_plane(baseline.pca, image_set) if 2 in latents else []
    rows: list[dict[str, Any]] = []
    n_planes = 0
    models = model_names(session.headers)
    for checkpoint, model in zip(chain([first], checkpoints), models, strict=True):
        images = session.images(checkpoint, split)
        codes = checkpoint.encode(images).mean
        rows.append(_row(checkpoint, model, _mse(checkpoint, images, codes), baseline))
        if codes.shape[1] == 2:
            n_planes += 1
            if len(planes) < MAX_PLANES:
                planes.append(model_plane(checkpoint, model, codes, session.progress))
        session.progress.update(f"measuring {count(len(models), 'checkpoint')}", len(rows), len(models))
    order = ["kind", "arch", "beta", "model", "latent", "seed", "checkpoint"]
    table = pd.DataFrame(rows).sort_values(order, kind="stable", ignore_index=True)
    parameters = _parameters(session, first, image_set, baseline, split)
    return Comparison(baseline, table, planes, n_planes, image_set, parameters)


def model_names(headers: Sequence[Header]) -> list[str]:
    """Return kind and architecture of each checkpoint, and the other settings in which those of the same name differ.

    Latent dimensions and seeds do not count: they are the axis and the spread of a curve.
    """
    plain_names = [f"{header.model['kind']} {header.model['arch']}" for header in headers]
    settings = [_settings(header) for header in headers]
    differing = differing_keys(settings, plain_names)
    names = []
    for own, plain_name in zip(settings, plain_names, strict=True):
        words = [
            in_words(key[1], value) for key, value in own.items() if key in differing[plain_name] and value is not None
        ]
        names.append(", ".join([plain_name, *words]))
    return names


def _settings(header: Header) -> dict[tuple[str, str], Any]:
    return {
        (part, name): value
        for part in ("model", "train")
        for name, value in header.configuration[part].items()
        if name not in ("latent", "seed")
    }


def _mse(checkpoint: LoadedCheckpoint, image_set: ImageSet, codes: Floats) -> float:
    """Return the mean squared error over images, pixels and channels of the decoded codes."""
    squares = 0.0
    numbers = class_numbers(checkpoint.model, image_set)
    for start in range(0, len(codes), DECODE):
        stop = min(start + DECODE, len(codes))
        error = decode_codes(
            checkpoint.model, codes[start:stop], labels=None if numbers is None else numbers[start:stop]
        )
        error -= image_set.take(np.arange(start, stop)) / np.float32(255)
        squares += float(np.square(error, out=error).sum(dtype=np.float64))
    return squares / (len(codes) * int(np.prod(image_set.image_shape)))


def _row(checkpoint: LoadedCheckpoint, model: str, mse: float, baseline: PcaBaseline) -> dict[str, Any]:
    latent = checkpoint.record.model.latent
    pca_mse, clipped_mse = baseline.mse_at(latent)
    return {
        "latent": latent,
        "model": model,
        "mse": mse,
        "pca_mse": pca_mse,
        "pca_clipped_mse": clipped_mse,
        "ratio": pca_mse / mse if mse > 0 else float("inf"),
        "ratio_clipped": clipped_mse / mse if mse > 0 else float("inf"),
        "explained_variance": baseline.explained(mse),
        "pca_explained_variance": baseline.explained(pca_mse),
        **checkpoint.settings(("kind", "arch", "beta", "seed")),
        "checkpoint": checkpoint.name,
    }


def _parameters(
    session: Session, first: LoadedCheckpoint, image_set: ImageSet, baseline: PcaBaseline, split: Split
) -> dict[str, Any]:
    parameters = first.parameters("pca-compare", image_set, split=split)
    for part in ("checkpoint", "model", "train"):
        del parameters[part]
    parameters["checkpoints"] = sorted(path.name for path in session.paths)
    parameters["pca"] = {"fitted_on": "train", "n": baseline.n_train}
    return parameters


def _means(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean and its 95 % interval over the runs of a model with the same latent, one row per quantity."""
    return pd.DataFrame(
        [
            {
                "model": model,
                "latent": latent,
                "quantity": quantity,
                "n": len(runs),
                "mean": mean,
                # For two runs Student's t gives 13 standard errors, which would hide the runs themselves.
                "low": low if len(runs) >= MIN_RUNS else mean,
                "high": high if len(runs) >= MIN_RUNS else mean,
            }
            for (model, latent), runs in table.groupby(["model", "latent"])
            for quantity in QUANTITIES
            for mean, low, high in [mean_interval(runs[quantity].to_numpy())]
        ]
    )


def find_elbows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the elbow of each curve: of the mean over seeds, with the range over the seeds that have every latent.

    Args:
        table: A row per run with ``model``, ``latent``, ``seed``, ``mse``, ``pca_mse`` and ``pca_clipped_mse``.
    """
    by_latent = table.groupby("latent")
    curves = {PCA: by_latent["pca_mse"].first(), CLIPPED: by_latent["pca_clipped_mse"].first()}
    seeds: dict[str, list[float]] = {}
    for model, runs in table.groupby("model", sort=False):
        curves[model] = runs.groupby("latent")["mse"].mean()
        each = [seed_runs.groupby("latent")["mse"].mean() for _, seed_runs in runs.groupby("seed")]
        found = [kneedle(c.index.to_numpy(), c.to_numpy()) for c in each if len(c) == len(curves[model])]
        seeds[model] = [elbow.x for elbow in found if elbow is not None]
    rows = []
    for model, curve in curves.items():
        elbow = kneedle(curve.index.to_numpy(), curve.to_numpy())
        rows.append(
            {
                "model": model,
                "method": METHOD,
                "elbow": None if elbow is None else int(elbow.x),
                "mse": None if elbow is None else elbow.y,
                "sharpness": None if elbow is None else elbow.sharpness,
                "seeds": len(seeds.get(model, [])),
                "lowest": min(seeds.get(model, []), default=None),
                "highest": max(seeds.get(model, []), default=None),
                "points": len(curve),
                "latent_min": curve.index.min(),
                "latent_max": curve.index.max(),
            }
        )
    return pd.DataFrame(rows).astype({"elbow": "Int64", "lowest": "Int64", "highest": "Int64"})


def _write_curves(target: Path, found: Comparison, elbows: pd.DataFrame) -> None:
    baseline, errors = found.baseline, found.baseline.errors
    pca = pd.DataFrame({"latent": errors.n_components, "mse": errors.mse, "clipped_mse": errors.clipped_mse})
    pca["explained_variance"] = [baseline.explained(mse) for mse in errors.mse]
    title = f"{found.images}; PCA of {count(baseline.n_train, 'training image')}"
    places = _elbow_places(elbows)
    figure = plot_against_pca(found.table, _means(found.table), pca, places, elbow_method=METHOD, title=title)
    write_png(target, figure, found.parameters)


def _write_planes(target: Path, found: Comparison, progress: Progress) -> None:
    planes, image_set = found.planes, found.image_set
    if not planes:
        return
    if found.n_planes >= MAX_PLANES:
        progress.notice(f"{found.n_planes} checkpoints have two dimensions; the first {MAX_PLANES - 1} are shown")
    title = f"{found.images}: codes, and images decoded over the box"
    figure = plot_planes(planes, image_set.labels, image_set.class_names, title=title)
    path = write_png(target.with_name(f"{target.stem}-2d.png"), figure, {**found.parameters, "grid": GRID})
    progress.notice(f"two dimensions: {path}")


def _elbow_places(elbows: pd.DataFrame) -> Mapping[str, float | None]:
    return {row.model: None if pd.isna(row.elbow) else int(row.elbow) for row in elbows.itertuples()}


def _show(found: Comparison, elbows: pd.DataFrame, progress: Progress) -> None:
    columns = ("mse", "pca_mse", "pca_clipped_mse", "ratio", "ratio_clipped", "explained_variance")
    means = found.table.groupby(["model", "latent"], as_index=False).agg(
        runs=("seed", "size"), **{column: (column, "mean") for column in columns}
    )
    headings = ["model", "latent", "runs", "MSE", "PCA", "PCA clipped", "ratio", "ratio clipped", "explained"]
    progress.table(f"Mean squared error of {found.images}", headings, means.itertuples(index=False))
    rows = elbows[["model", "elbow", "lowest", "highest", "seeds", "points"]].astype(object)
    rows = rows.where(rows.notna(), None)
    if elbows["elbow"].isna().all():
        progress.notice(no_elbow(elbows["points"].tolist()))
        return
    headings = ["curve", "elbow", "lowest", "highest", "seeds with an elbow", "points"]
    progress.table(f"Elbow by {elbows['method'][0]}", headings, rows.itertuples(index=False))


def no_elbow(points: Sequence[int]) -> str:
    """Return the notice that no curve has an elbow, for curves of these numbers of points."""
    fewest, most = min(points), max(points)
    n = str(most) if fewest == most else f"{fewest} to {most}"
    return f"no elbow in curves of {n} {'point' if most == 1 else 'points'}; compare more latent dimensions"


def _summary(table: pd.DataFrame, elbows: pd.DataFrame) -> dict[str, Any]:
    """Return the worst and best ratio, and each elbow."""
    worst, best = table.loc[table["ratio"].idxmin()], table.loc[table["ratio"].idxmax()]
    return {
        "worst_ratio": float(worst["ratio"]),
        "worst_latent": int(worst["latent"]),
        "best_ratio": float(best["ratio"]),
        "best_latent": int(best["latent"]),
        "elbows": _elbow_places(elbows),
    }
