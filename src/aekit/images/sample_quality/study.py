"""``aekit samples-quality``: how like held-out images the samples of models are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
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
from aekit.images.config import Density, image_of
from aekit.images.data.image_set import ImageSet
from aekit.images.differences import refuse_other_images
from aekit.images.draws import check_enough_images, draw_rows
from aekit.images.figures.grids import plot_rows
from aekit.images.inference import FloatArray
from aekit.images.loaded import LoadedCheckpoint, study_parameters
from aekit.images.principal_components import Pca
from aekit.images.sample_quality.features import FeatureSpace, build_spaces
from aekit.images.sample_quality.figure import plot_quality
from aekit.images.sample_quality.measure import Difference, HeldOut, Row, differences, hold_out, measure
from aekit.images.sample_quality.request import MIN_IMAGES, SampleQualityRequest
from aekit.images.sample_quality.sets import (
    Blocks,
    gaussian_blocks,
    image_blocks,
    map_blocks,
    reconstructed_blocks,
    sampled_blocks,
)
from aekit.images.sample_quality.tables import differences_table, quality_rows
from aekit.images.session import Session

_ENDS = (".csv", "-differences.csv", "-images.png")
_MAX_ROWS = 24  # of images in a figure


@dataclass(frozen=True)
class _Images:
    """The images that samples are compared with, and those that are compared as well.

    Attributes:
        whole: The whole held-out split.
        held_out: n images of it.
        train: n training images.
        spaces: Feature spaces, fitted to the other training images.
        pca: The principal components of these.
        reference: The held-out images in each space.
        shown: Some of them.
    """

    whole: ImageSet
    held_out: ImageSet
    train: ImageSet
    spaces: list[FeatureSpace]
    pca: Pca
    reference: list[HeldOut]
    shown: FloatArray


@dataclass
class _Found:
    """What was measured so far.

    Attributes:
        rows: The sets of images.
        shown: Some images of each.
        models: Columns of tables that say which model a row is of.
        origins: What figures record of each model.
    """

    rows: list[Row] = field(default_factory=list)
    shown: list[FloatArray] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    origins: list[dict[str, Any]] = field(default_factory=list)


@keeps_torch_settings
def run_samples_quality(
    session: Session, output: Path | None = None, request: SampleQualityRequest | None = None
) -> Result:
    """Return the figure (.png) of distances of samples from held-out images, with the results.

    Next to it are tables (.csv, and -differences.csv of each two sets of samples) and samples (-images.png).

    Args:
        session: The checkpoints.
        output: The figure, or a folder; None is next to the checkpoints.
        request: What to measure.

    Raises:
        AekitError: Checkpoints cannot be compared, there are too few images, a density or a feature space is not
            possible, or a file cannot be written.
    """
    request = request or SampleQualityRequest()
    for path, record in zip(session.paths, session.records, strict=True):
        if "prior" in (request.densities or ()) and not record.model.has_prior:
            raise AekitError(f"--density prior: {path} is a plain autoencoder, which has none; use gaussian,gmm")
    session.check_comparable(["train", request.split])
    name = "samples-quality" if request.split == "test" else f"samples-quality-{request.split}"
    target = session.target(output, name=name, ends=_ENDS)
    checkpoints = session.checkpoints()
    first = next(checkpoints)
    images = _read_images(session, first, request)
    found = _Found()
    for number, checkpoint in enumerate(chain([first], checkpoints)):
        refuse_other_images(checkpoint.path, session.images(checkpoint, request.split), images.whole)
        _measure_model(session, checkpoint, number, images, request, found)
    _measure_real(session.progress, images, request, found)
    with naming_leftovers(target, _ENDS, session.progress):
        return _write(session, target, request, images, found)


def _read_images(session: Session, checkpoint: LoadedCheckpoint, request: SampleQualityRequest) -> _Images:
    progress = session.progress
    train, whole = session.images(checkpoint, "train"), session.images(checkpoint, request.split)
    check_enough_images(whole, request.split, minimum=MIN_IMAGES, what="distances")
    check_enough_images(train, "train", minimum=2 * MIN_IMAGES, what="distances")
    # Feature spaces are fitted to training images that are not compared: the network knows its own by heart.
    n = min(request.n, len(whole), len(train) // 2)
    if n < request.n:
        of = f"{request.split} has {count(len(whole), 'image')}, train {len(train):,}"
        progress.notice(f"{whole.name}: {of}; {n:,} of each are compared")
    drawn = draw_rows(len(train), n, seed=request.seed)
    held_out = whole.subset(draw_rows(len(whole), n, seed=request.seed))
    progress.update("fitting feature spaces", 0, 1)
    others = train.subset(np.setdiff1d(np.arange(len(train)), drawn))
    spaces, pca = build_spaces(request.features, others, whole, seed=request.seed, device=session.device)
    if request.features is None and len(spaces) == 1:
        progress.notice(f"{whole.name}: has no two classes to train a network on; pixels are the only feature space")
    for space in spaces:
        progress.notice(f"{space.name}: {space.description}")
    mapped = map_blocks(image_blocks(held_out), n, spaces)
    k = min(request.neighbours, n - 1)
    reference = hold_out(mapped.features, spaces, k)
    return _Images(whole, held_out, train.subset(drawn), spaces, pca, reference, mapped.shown)


def _measure_model(
    session: Session,
    checkpoint: LoadedCheckpoint,
    number: int,
    images: _Images,
    request: SampleQualityRequest,
    found: _Found,
) -> None:
    """Measure the samples of a model from each density, and its reconstructions of training images."""
    found.models.append({"checkpoint": checkpoint.name, **checkpoint.settings()})
    found.origins.append(checkpoint.parameters("samples-quality", images.held_out, **asdict(request)))
    name = f"{checkpoint.name.removesuffix('.safetensors')}: " if len(session.paths) > 1 else ""
    first: Density = "prior" if checkpoint.record.model.has_prior else "gaussian"
    for density in request.densities or (first, "gmm"):
        session.progress.update(f"{checkpoint.path}: samples from {density}", number, len(session.paths))
        blocks = sampled_blocks(session, checkpoint, density, len(images.held_out), request)
        _add(found, density, f"{name}{density}", number, blocks, images)
    blocks = reconstructed_blocks(checkpoint, images.train)
    _add(found, "reconstructions", f"{name}reconstructions", number, blocks, images)


def _measure_real(progress: Progress, images: _Images, request: SampleQualityRequest, found: _Found) -> None:
    """Measure what real images give, and what a Gaussian gives that knows no shape."""
    progress.update("training images", 0, 1)
    _add(found, "train", "train", None, image_blocks(images.train), images)
    n, shape = len(images.held_out), images.held_out.image_shape
    drawn = gaussian_blocks(images.pca, shape, n, seed=request.seed)
    _add(found, "pixel-gaussian", "pixel-gaussian", None, drawn, images)


def _add(found: _Found, source: str, label: str, checkpoint: int | None, blocks: Blocks, images: _Images) -> None:
    mapped = map_blocks(blocks, len(images.held_out), images.spaces)
    found.rows.append(Row(source, label, checkpoint, measure(mapped.features, images.reference)))
    found.shown.append(mapped.shown)


# --- files and terminal ---


def _write(session: Session, target: Path, request: SampleQualityRequest, images: _Images, found: _Found) -> Result:
    held_out, spaces = images.held_out, images.spaces
    rows = quality_rows(found.rows, spaces, found.models, len(held_out), held_out.name, request)
    table = pd.DataFrame(rows)
    write_csv(target.with_suffix(".csv"), table)
    compared = differences(found.rows)
    names = [model["checkpoint"] for model in found.models]
    if compared:
        path = target.with_name(f"{target.stem}-differences.csv")
        write_csv(path, differences_table(compared, found.rows, spaces, names))
    parameters = study_parameters("samples-quality", request, found.origins, held_out)
    n = count(len(held_out), image_of(request.split))
    title = f"Samples against {n} of {held_out.name}"
    sheet = [(f"{request.split}", images.shown)]
    sheet += [(row.label, own) for row, own in zip(found.rows, found.shown, strict=True)]
    if len(sheet) > _MAX_ROWS:
        session.progress.notice(f"{target}: -images.png shows the first {_MAX_ROWS} of {len(sheet)} sets of images")
    labels, pixels = zip(*sheet[:_MAX_ROWS], strict=True)
    grid = plot_rows(np.stack(pixels), labels, title=title)
    write_png(target.with_name(f"{target.stem}-images.png"), grid, parameters)
    of_others = "grey: reconstructions, training images, a Gaussian of pixels"
    write_png(target, plot_quality(found.rows, spaces, title=f"{title}; {of_others}"), parameters)
    _show(found.rows, spaces, n, session.progress)
    _say_differences(compared, found.rows, spaces, session.progress)
    return Result(target, {"n": len(held_out), "split": request.split, "rows": rows})


def _show(rows: Sequence[Row], spaces: Sequence[FeatureSpace], n: str, progress: Progress) -> None:
    for number, space in enumerate(spaces):
        shown = []
        for row in rows:
            quality = row.quality[number]
            distance, kernel, overlap = quality.frechet, quality.kernel, quality.overlap
            interval = f"{distance.value:.3g} [{distance.low:.3g}, {distance.high:.3g}]"
            of_kernel = f"{kernel.value:.3g} ± {kernel.error:.1g}"
            shown.append((row.label, interval, of_kernel, *(f"{value:.3f}" for value in overlap)))
        headings = ["images", space.distance, "kernel", "precision", "recall", "density", "coverage"]
        progress.table(f"{space.name}: against {n}, 95 % interval or standard error", headings, shown)


def _say_differences(
    found: Sequence[Difference], rows: Sequence[Row], spaces: Sequence[FeatureSpace], progress: Progress
) -> None:
    """Show of each two densities of a model, and each two models, which is nearer, if the interval says so."""
    shown = []
    for each in found:
        first, second = rows[each.first], rows[each.second]
        if first.checkpoint != second.checkpoint and first.source != second.source:
            continue
        value, low, high = each.frechet
        nearer = "no clear difference" if low <= 0 <= high else (first if value < 0 else second).label
        space = spaces[each.space].name
        shown.append((f"{first.label} - {second.label}", space, f"{value:.3g} [{low:.3g}, {high:.3g}]", nearer))
    if shown:
        heading = "Differences of Fréchet distances, 95 % interval over images"
        progress.table(heading, ["samples", "features", "difference", "nearer"], shown[:_MAX_ROWS])
    if len(shown) > _MAX_ROWS:
        progress.notice(f"{len(shown) - _MAX_ROWS} more differences are in the table")
