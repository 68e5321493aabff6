"""``aekit interpolate``: paths between images, classes or samples, and walks along an attribute."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from aekit.core.artifacts import write_csv, write_png
from aekit.core.output import Result
from aekit.core.progress import Progress
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, count
from aekit.images.conditioning import choose_classes
from aekit.images.config import image_of
from aekit.images.data.image_set import ImageSet
from aekit.images.image_files import check_image_files, read_image_files
from aekit.images.interpolation.figure import PathBlock, PathRow, plot_paths
from aekit.images.interpolation.groups import Group, choose_groups, name_direction, walk_files
from aekit.images.interpolation.latent_paths import Floats, PathBuilder, build_cloud, find_direction, path_alphas
from aekit.images.interpolation.request import PathRequest
from aekit.images.interpolation.tables import MEASURES, auc_text, join_tables, path_measures, path_table, summarise
from aekit.images.loaded import TABLE_SETTINGS, LoadedCheckpoint
from aekit.images.prior import name_prior, sample_codes
from aekit.images.session import Session
from aekit.plotting.fonts import left_to_right


@dataclass
class _Report:
    """Results, collected from checkpoint to checkpoint.

    Attributes:
        tables: Parts of the CSV.
        summaries: One per checkpoint, space and group.
        blocks: Rows of the figure, by number of group and path, below a heading.
        parameters: Of each checkpoint, what it is and on which images it was used.
    """

    tables: list[pd.DataFrame] = field(default_factory=list)
    summaries: list[dict[str, Any]] = field(default_factory=list)
    blocks: dict[tuple[int, int], PathBlock] = field(default_factory=dict)
    parameters: list[dict[str, Any]] = field(default_factory=list)
    direction: str = ""


@keeps_torch_settings
def run_interpolate(session: Session, output: Path | None = None, request: PathRequest | None = None) -> Result:
    """Return the figure of paths (.png) with their measures; a table of all steps (.csv) is next to it.

    Args:
        session: The checkpoints.
        output: The figure, or a folder; None is next to the checkpoints.
        request: Which paths to take; None is straight lines between pairs of any test images.

    Raises:
        AekitError: Checkpoints cannot be compared, images are not there, or a file cannot be written.
    """
    request = request or PathRequest()
    for path, record in zip(session.paths, session.records, strict=True):
        if request.label is not None and not record.model.is_conditional:
            raise AekitError(f"--label: {path} was not trained with --condition label; leave it out")
    inputs = walk_files(request) or [file for pair in request.files for file in pair]
    option = "--from, --to" if request.files else "--from"
    check_image_files(inputs, option)
    target = session.target(output, name=_name(request), inputs=inputs)
    session.check_comparable([request.split, "train"] if request.attribute is not None else [request.split])
    report = _Report()
    options = request.parameters(path_alphas(request).tolist())
    for checkpoint in session.checkpoints():
        # Files first: a mistake in them need not wait for many images.
        files = read_image_files(session, checkpoint, inputs, option) if inputs else None
        image_set = session.studied(checkpoint, request.split, with_labels=request.is_of_images)
        report.parameters.append(checkpoint.parameters("interpolate", image_set, **options))
        _check_same_images(checkpoint, report)
        _add_paths(session, checkpoint, image_set, files, request, report)
    figure = _figure(session, request, report)
    write_csv(target.with_suffix(".csv"), join_tables(report.tables))
    write_png(target, figure, _parameters(report))
    _show(report, session.progress)
    return Result(target, {"checkpoints": [str(path) for path in session.paths], "paths": report.summaries})


def _name(request: PathRequest) -> str:
    attribute = re.sub(r"[^\w-]+", "_", request.attribute) if request.attribute is not None else None
    kind = "prior" if request.n_prior is not None else "files" if request.files else attribute
    return "-".join(["interpolate", *([kind] if kind else []), *([request.split] if request.split != "test" else [])])


def _check_same_images(checkpoint: LoadedCheckpoint, report: _Report) -> None:
    """Raise an AekitError if a checkpoint's own settings select other images of ``--data`` than those of the first."""
    first, own = report.parameters[0]["images"], report.parameters[-1]["images"]
    if first != own:
        raise AekitError(
            f"{checkpoint.path}: its settings take {count(own['n'], 'image')} of --data {own['name']}, those of "
            f"{report.parameters[0]['checkpoint']} others ({first['n']:,}); compare them separately"
        )


def _add_paths(
    session: Session,
    checkpoint: LoadedCheckpoint,
    image_set: ImageSet,
    files: ImageSet | None,
    request: PathRequest,
    report: _Report,
) -> None:
    """Add all paths of a checkpoint to the report."""
    groups = choose_groups(request, image_set)
    cloud = build_cloud(session, checkpoint, image_set, seed=request.seed)
    report.direction = name_direction(request, image_set)
    direction = find_direction(session, checkpoint, request, cloud, image_set)
    samples: Floats = np.empty((0, checkpoint.record.model.latent))
    if request.n_prior is not None:
        samples = sample_codes(session, checkpoint, 2 * len(groups[0].ends), seed=request.seed)
    builders = []
    for each in _classes_to_decode(checkpoint, request):
        own, codes = _of_class(checkpoint, files, each)
        builders.append(PathBuilder(checkpoint, cloud, image_set, request, direction, samples, own, codes, each))
    label = checkpoint.label if len(session.paths) > 1 else ""
    is_first = len(report.parameters) == 1
    for number, group in enumerate(groups):
        for space in request.spaces:
            # Blends of the same images are the same for all models and classes; those of samples are not.
            is_shared = space == "pixels" and group.indices is not None
            for builder in builders[:1] if is_shared else builders:
                if is_first or not is_shared:
                    name = f"class {builder.class_name}" if len(builders) > 1 else ""
                    text = "" if is_shared else ", ".join(filter(None, [label, name]))
                    _add_group(builder, number, group, space, report, text)


def _of_class(
    checkpoint: LoadedCheckpoint, files: ImageSet | None, number: int | None
) -> tuple[ImageSet | None, Floats | None]:
    """Return image files, as images of a class for a model that is told it, with their codes."""
    if files is None:
        return None, None
    if checkpoint.model.classes is not None and number is not None:
        labels = np.full(len(files), number, np.int64)
        files = replace(files, labels=labels, class_names=checkpoint.model.classes.names)
    return files, checkpoint.encode(files).mean


def _classes_to_decode(checkpoint: LoadedCheckpoint, request: PathRequest) -> Sequence[int | None]:
    """Return the classes that ``--label`` names; None is that of each path's first image, or of a model without any.

    Raises:
        AekitError: One is none of the model's, or is needed: samples and image files have no class.
    """
    has_class = request.n_prior is None and request.stops is None and not walk_files(request)
    if checkpoint.model.classes is None or (request.label is None and has_class):
        return [None]
    if request.label is None:
        option = "--prior" if request.n_prior is not None else "--from"
        raise AekitError(f"{option}: {checkpoint.path} decodes a code as a class; add --label with one or several")
    return choose_classes(checkpoint.model, request.label)


def _add_group(builder: PathBuilder, group_number: int, group: Group, space: str, report: _Report, label: str) -> None:
    is_pixels = space == "pixels"
    owner = None if is_pixels and group.indices is not None else builder.checkpoint
    alphas = path_alphas(builder.request)
    measures = []
    for number, names in enumerate(group.ends):
        path = builder.pixel_path(group, number) if is_pixels else builder.latent_path(group, number)
        is_shown = number < group.n_shown
        table = path_table(path, builder.cloud, alphas)
        measures.append(path_measures(path, table))
        columns = _settings(owner) | {"space": space, "path": path.kind, "pair": group.name}
        columns |= {} if is_pixels or path.class_name is None else {"class": path.class_name}
        columns |= (
            _ends(group, number, builder.images_of(group)) | {"draw": number, "shown": is_shown} | _auc(builder, space)
        )
        for place, (key, value) in enumerate(columns.items()):
            table.insert(place, key, value)
        report.tables.append(table)
        if is_shown:
            start, *end = builder.end_images(group, number)
            block = report.blocks.setdefault((group_number, number), PathBlock(left_to_right(" → ".join(names)), []))
            block.rows.append(PathRow(_row_label(label, builder, space), path.images, start, *end))
    about = {"checkpoint": None if owner is None else str(owner.path), "label": label, "space": space}
    report.summaries.append(about | {"pair": group.name} | _auc(builder, space) | summarise(measures))


def _settings(checkpoint: LoadedCheckpoint | None) -> dict[str, Any]:
    """Return the columns that say which model a path is of; they are empty for blends of images."""
    if checkpoint is None:
        return dict.fromkeys(("checkpoint", *TABLE_SETTINGS))
    return {"checkpoint": checkpoint.name, **checkpoint.settings()}


def _ends(group: Group, number: int, image_set: ImageSet) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for place, (end, name) in enumerate(zip(("start", "end"), group.ends[number], strict=False)):
        index = None if group.indices is None else int(group.indices[number, place])
        columns |= {end: name, f"{end}_index": None if group.is_of_files else index}
        if image_set.origins is not None:
            columns[f"{end}_file"] = None if index is None else image_set.origin_text(index)
    return columns


def _auc(builder: PathBuilder, space: str) -> dict[str, Any]:
    if builder.direction is None:
        return {}
    known = [None if space == "pixels" or math.isnan(value) else value for value in builder.direction.auc]
    auc = dict(zip(("auc", "auc_low", "auc_high"), known, strict=True))
    return {"attribute": builder.request.attribute} | auc


def _row_label(label: str, builder: PathBuilder, space: str) -> str:
    if space == "pixels":
        return f"{label}, pixels" if label else "pixels"
    auc = builder.direction.auc[0] if builder.direction is not None and label else math.nan
    return (label or "latent") + ("" if math.isnan(auc) else f", AUC {auc_text(auc)}")


def _figure(session: Session, request: PathRequest, report: _Report) -> Figure:
    inside = None if request.attribute is not None else (0.0, 1.0)
    blocks, alphas = list(report.blocks.values()), path_alphas(request)
    return plot_paths(blocks, alphas, inside=inside, title=_title(session, request, report))


def _title(session: Session, request: PathRequest, report: _Report) -> str:
    n_checkpoints = len(session.paths)
    who = session.records[0].title if n_checkpoints == 1 else f"{n_checkpoints} checkpoints"
    of_images = f"{image_of(request.split)}s of {report.parameters[0]['images']['name']}"
    kind = {"linear": "linear paths", "slerp": "spherical paths"}[request.path]
    kind = "blends of pixels" if request.space == "pixels" else kind
    if request.attribute is not None:
        auc = report.summaries[-1]["auc"] if n_checkpoints == 1 else None
        direction = report.direction if auc is None else f"{report.direction} (AUC {auc_text(auc)})"
        starts = _starts_in_words(request, of_images)
        what = f"{starts} along the direction of {direction}, in units of the difference of means"
    elif request.n_prior is not None:
        with_prior = [record.model for record in sorted(session.records, key=lambda each: not each.model.has_prior)]
        origins = dict.fromkeys(map(name_prior, with_prior))
        what = f"{kind} between samples of {' or '.join(origins)}"
    else:
        what = f"{kind} between {'image files' if request.files else of_images}"
    if request.label is not None:
        what += f", decoded as {', '.join(map(str.strip, request.label.split(',')))}"
    elif any(record.model.is_conditional for record in session.records):
        what += ", decoded as the class of the first image"
    is_of_images = request.space == "pixels" and request.n_prior is None  # then no model takes part in it
    return what[0].upper() + what[1:] if is_of_images else f"{who}: {what}"


def _starts_in_words(request: PathRequest, of_images: str) -> str:
    """Return which images walks start at, for the title."""
    n_files = len(walk_files(request))
    if not n_files:
        return of_images
    files = "an image file" if n_files == 1 else "image files"
    return files if n_files == len(request.places) else f"{of_images} and {files}"


def _parameters(report: _Report) -> dict[str, Any]:
    first, *others = report.parameters
    return {
        **first,
        "others": [{key: each[key] for key in ("checkpoint", "model", "data", "train")} for each in others],
    }


def _show(report: _Report, progress: Progress) -> None:
    present = {key: title for key, title in MEASURES.items() if any(each[key] is not None for each in report.summaries)}
    rows: list[list[object]] = []
    pairs = list(dict.fromkeys(each["pair"] for each in report.summaries))
    for each in sorted(report.summaries, key=lambda each: pairs.index(each["pair"])):
        name = each["label"] or (Path(each["checkpoint"]).stem if each["checkpoint"] else "")
        who = f"{name}, pixels" if name and each["space"] == "pixels" else name or "pixels"
        auc = [_interval(each, "auc", auc_text)] if "auc" in each else []
        rows.append([who, each["pair"], each["n_paths"], *auc, *(_interval(each, key) for key in present)])
    place = ["from", "paths", "AUC"] if "auc" in report.summaries[0] else ["pair", "paths"]
    heading = "Means over paths, with 95 % intervals where several were drawn"
    progress.table(heading, ["model", *place, *present.values()], rows)


def _interval(values: dict[str, Any], key: str, to_text: Callable[[float], str] = "{:.3g}".format) -> str | None:
    value, low, high = (values[name] for name in (key, f"{key}_low", f"{key}_high"))
    if value is None:
        return None
    return to_text(value) if low is None else f"{to_text(value)} [{to_text(low)}, {to_text(high)}]"
