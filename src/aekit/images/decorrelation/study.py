"""How correlated the dimensions of codes are, against their number: a curve per model, and correlation matrices."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pandas as pd

from aekit.core.artifacts import write_csv, write_png
from aekit.core.output import Result
from aekit.core.progress import Progress
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import count
from aekit.images.config import Split, image_of
from aekit.images.data.image_set import ImageSet
from aekit.images.decorrelation.correlation import noise_floor
from aekit.images.decorrelation.curves import build_curves, build_panels
from aekit.images.decorrelation.figure import plot_decorrelation
from aekit.images.decorrelation.request import LABELS, MIN_IMAGES, DecorrelationRequest, Measure
from aekit.images.decorrelation.tables import Measured, add_pca, build_table, group_names, measure_checkpoint
from aekit.images.differences import refuse_other_images
from aekit.images.draws import check_enough_images, draw_images
from aekit.images.loaded import study_parameters
from aekit.images.session import Session


@keeps_torch_settings
def run_decorrelation(
    session: Session,
    output: Path | None = None,
    *,
    n_images: int = 5000,
    measure: Measure = "mean-abs",
    bootstrap: int = 200,
    pca: bool = True,
    seed: int = 0,
    split: Split = "test",
) -> Result:
    """Return the figure of curves and correlation matrices (.png), with the measure of each checkpoint.

    Next to it is a table of all measures (.csv).

    Args:
        session: The checkpoints.
        output: The figure, or a folder; None is next to the checkpoints.
        n_images: Maximum number of images to encode, at least 10.
        measure: The measure to show.
        bootstrap: Number of resamples of the images, for intervals.
        pca: Whether to compare with PCA codes of the same images.
        seed: Seed of the draw of images, the resamples and the rotations.
        split: Split of the images.

    Raises:
        AekitError: Checkpoints cannot be compared, there are too few images, codes are not finite, or a file cannot be
            written.
    """
    request = DecorrelationRequest(split, n_images, measure, bootstrap, pca, seed)
    session.check_comparable([split])
    parts = ["decorrelation", *([measure] if measure != "mean-abs" else []), *([split] if split != "test" else [])]
    target = session.target(output, name="-".join(parts))
    measured, images = _measure_all(session, request)
    table = build_table(measured)
    if pca:
        table = add_pca(table, images, progress=session.progress)
    write_csv(target.with_suffix(".csv"), table)
    _write_figure(target, table, measured, request, images, session.progress)
    _show(table, request, len(images), session.progress)
    key = request.column
    results = table[["checkpoint", "latent", "n_dead", key, f"{key}_low", f"{key}_high"]].astype(object)
    records = results.where(results.notna(), None).to_dict("records")
    return Result(target, {"n": len(images), "split": split, "measure": measure, "checkpoints": records})


def _measure_all(session: Session, request: DecorrelationRequest) -> tuple[list[Measured], ImageSet]:
    """Return what was measured for each checkpoint, and the images that all were measured on."""
    groups = group_names(session.headers, session.records)
    checkpoints = session.checkpoints(in_place=True)
    first = next(checkpoints)
    whole = session.studied(first, request.split, with_labels=False)
    check_enough_images(whole, request.split, minimum=MIN_IMAGES, what="correlations")
    images = draw_images(whole, request.split, request.images, seed=request.seed, progress=session.progress)
    measured = []
    for checkpoint, group in zip(chain([first], checkpoints), groups, strict=True):
        # With --data, checkpoints may still split the images in different ways.
        refuse_other_images(checkpoint.path, session.studied(checkpoint, request.split, with_labels=False), whole)
        measured.append(measure_checkpoint(checkpoint, images, request, group, progress=session.progress))
    return measured, images


def _write_figure(
    target: Path,
    table: pd.DataFrame,
    measured: list[Measured],
    request: DecorrelationRequest,
    images: ImageSet,
    progress: Progress,
) -> None:
    key, check = request.column, None
    if request.pca:
        known = table.dropna(subset=f"{key}_pca").drop_duplicates("latent").sort_values("latent")
        check = None if known.empty else (known["latent"].to_numpy(), known[f"{key}_pca"].to_numpy())
    figure = plot_decorrelation(
        build_curves(table, key),
        build_panels(table, [each.matrix for each in measured], key, progress=progress),
        ylabel=LABELS[request.measure],
        floor=noise_floor(request.measure, len(images)),
        ideal_is_d=request.measure in ("participation", "effective-rank"),
        pca=check,
        title=f"Correlations of the codes of {count(len(images), image_of(request.split))} of {images.name}",
    )
    origins = [each.origin for each in measured]
    write_png(target, figure, study_parameters("decorrelation", request, origins, images))


def _show(table: pd.DataFrame, request: DecorrelationRequest, n_images: int, progress: Progress) -> None:
    key = request.column
    columns = {
        "group": "model",
        "latent": "d",
        "seed": "seed",
        "n_dead": "dead",
        **({"n_active": "active"} if table["n_active"].notna().any() else {}),
        key: request.measure,
        f"{key}_low": "low",
        f"{key}_high": "high",
        f"{key}_rotated": "rotated",
        **({f"{key}_pca": "PCA"} if request.pca else {}),
    }
    rows = table.sort_values(["group", "latent", "seed"], kind="stable")[list(columns)].astype(object)
    title = f"{LABELS[request.measure]}, {count(n_images, image_of(request.split))}, 95 % interval"
    progress.table(title, list(columns.values()), rows.where(rows.notna(), None).to_numpy().tolist())
