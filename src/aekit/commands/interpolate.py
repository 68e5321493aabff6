"""``aekit interpolate``: paths between images, classes or samples, and walks along an attribute."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aekit.commands.checkpoints import (
    Checkpoints,
    FigureOutput,
    Images,
    NoiseSeed,
    OtherData,
    Trained,
    WhichSplit,
    choose_target,
    read_checkpoints,
    read_paths,
    refuse_mixed,
    short_labels,
)
from aekit.commands.paths import (
    MEASURES,
    Group,
    PathKind,
    Request,
    Space,
    Walker,
    build_cloud,
    choose_groups,
    draw_prior,
    find_direction,
    path_measures,
    path_table,
    summarise,
)
from aekit.errors import AekitError
from aekit.terminal import options
from aekit.terminal.console import Console

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from aekit.commands.paths import Floats
    from aekit.images.data.image_set import ImageSet
    from aekit.images.interpolation.figure import PathBlock


@dataclass
class Report:
    """What is collected from checkpoint to checkpoint.

    Attributes:
        tables: Parts of the CSV.
        summaries: One a checkpoint, space and group.
        blocks: Rows of the figure, by number of group and path, below a heading.
        parameters: Of each checkpoint, what it is and on which images it was used.
    """

    tables: list[pd.DataFrame] = field(default_factory=list)
    summaries: list[dict[str, Any]] = field(default_factory=list)
    blocks: dict[tuple[int, int], PathBlock] = field(default_factory=dict)
    parameters: list[dict[str, Any]] = field(default_factory=list)


def interpolate(
    checkpoints: Checkpoints,
    pairs: Annotated[
        str | None,
        typer.Option(
            "--pairs",
            rich_help_panel=options.ANALYSIS,
            metavar="PAIRS",
            help="What to join: classes, as 4-7,8-9, by name or number; images by index, as '#12-#55'; or both.",
            show_default="pairs of any images",
        ),
    ] = None,
    prior: Annotated[
        int | None,
        typer.Option(
            "--prior",
            rich_help_panel=options.ANALYSIS,
            min=1,
            metavar="N",
            help="Join N pairs of samples of the prior instead.",
            show_default="pairs of images",
        ),
    ] = None,
    attribute: Annotated[
        str | None,
        typer.Option(
            "--attribute",
            rich_help_panel=options.ANALYSIS,
            metavar="NAME",
            help="Walk along the mean code of images with an attribute, or of a class, less that of the others.",
            show_default="none",
        ),
    ] = None,
    starts: Annotated[
        str | None,
        typer.Option(
            "--from",
            rich_help_panel=options.ANALYSIS,
            metavar="IMAGES",
            help="Where --attribute starts: '#12,#55', or classes.",
            show_default="any images",
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", rich_help_panel=options.ANALYSIS, min=2, help="Images along each path.")
    ] = 11,
    limits: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--range",
            rich_help_panel=options.ANALYSIS,
            metavar="LO HI",
            help="First and last alpha: 0 is the first of a pair, 1 the second, beyond it lies extrapolation.",
            show_default="0 1, or -2 2 with --attribute",
        ),
    ] = None,
    path: Annotated[
        PathKind,
        typer.Option(
            "--path",
            rich_help_panel=options.ANALYSIS,
            help="Straight, or on an arc around the prior's mean or the mean code.",
        ),
    ] = "linear",
    space: Annotated[
        Space,
        typer.Option(
            "--space",
            rich_help_panel=options.ANALYSIS,
            help="Between codes, or as a baseline between the images themselves.",
        ),
    ] = "latent",
    draws: Annotated[
        int,
        typer.Option(
            "--draws",
            rich_help_panel=options.ANALYSIS,
            min=1,
            help="Paths for the measures of what is drawn; one a pair is shown.",
        ),
    ] = 10,
    seed: NoiseSeed = 0,
    split: WhichSplit = "test",
    data: OtherData = None,
    data_root: options.DataRoot = None,
    output: FigureOutput = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Show and measure the way from one image to another through the latent space.

    Reads checkpoints and the images that they were trained on (others with --data). Codes are posterior means. Several
    checkpoints get a row each for each pair; the images themselves stand beside it. Writes a figure (.png) and a table
    (.csv), one row a step: step_length is the root mean square change of the pixels since the last step (1: black to
    white), nearest_code the distance from the path to the nearest code of another image, nearest_code_ratio the same
    over the median such distance between codes (1: as far as codes are from each other; both are empty for blends of
    pixels), start_error and end_error the MSE of the reconstructions at alpha 0 and 1. A walk along an attribute is
    measured in units of the difference of means, which rests on the training images. Prints the figure's path.

    Example: aekit interpolate runs/vae.safetensors --pairs 4-7,8-9 --range -0.5 1.5
    """
    from aekit.core.artifacts import write_csv, write_png

    _check_modes(pairs, prior, attribute, starts, path, space)
    alphas = _alphas(limits or ((-2.0, 2.0) if attribute is not None else (0.0, 1.0)), steps)
    request = Request(pairs, prior, attribute, starts, alphas, path, space, draws, seed, split)
    console = Console(quiet=quiet, json=json)
    paths = read_paths(checkpoints, console)
    target = choose_target(paths, output, name=_name(request))
    refuse_mixed(paths, [split, "train"] if attribute is not None else [split], data=data)
    images, train, report = Images(data, data_root, console), Images(data, data_root, console), Report()
    labels = short_labels(paths)
    targets = [target] * len(paths)
    for trained, label in zip(read_checkpoints(paths, targets, device=device, threads=threads), labels, strict=True):
        image_set = images.read(trained, split)
        report.parameters.append(trained.parameters("interpolate", image_set, **request.parameters()))
        _refuse_other(trained, report)
        _walk(trained, image_set, train, request, report, label if len(paths) > 1 else "", console)
    write_csv(target.with_suffix(".csv"), _joined(report.tables))
    write_png(target, _figure(report, request, image_set, trained), _parameters(report))
    _print_table(report, console)
    console.result(target, checkpoints=[str(path) for path in paths], paths=report.summaries)


def _check_modes(
    pairs: str | None, prior: int | None, attribute: str | None, starts: str | None, path: PathKind, space: Space
) -> None:
    given = [
        name
        for name, value in (("--pairs", pairs), ("--prior", prior), ("--attribute", attribute))
        if value is not None
    ]
    if len(given) > 1:
        raise typer.BadParameter(f"cannot be combined with {given[1]}", param_hint=given[0])
    if starts is not None and attribute is None:
        raise typer.BadParameter("needs --attribute", param_hint="--from")
    if path == "slerp" and attribute is not None:
        raise typer.BadParameter("a walk along --attribute is straight", param_hint="--path slerp")
    if path == "slerp" and space == "pixels":
        raise typer.BadParameter("images are blended linearly; use --space latent or both", param_hint="--path slerp")


def _alphas(limits: tuple[float, float], steps: int) -> Floats:
    import numpy as np

    if not (limits[0] < limits[1] and math.isfinite(limits[1] - limits[0])):
        raise typer.BadParameter("the first number must be below the second, both finite", param_hint="--range")
    # Rounded, so that 0 and 1 are met exactly where the steps come by; adding 0 turns -0 into 0.
    alphas: Floats = np.round(np.linspace(*limits, steps), 12) + 0.0
    return alphas


def _name(request: Request) -> str:
    attribute = re.sub(r"[^\w-]+", "_", request.attribute) if request.attribute is not None else None
    kind = "prior" if request.n_prior is not None else attribute
    return "-".join(["interpolate", *([kind] if kind else []), *([request.split] if request.split != "test" else [])])


def _refuse_other(trained: Trained, report: Report) -> None:
    """Refuse a checkpoint whose own settings cut other images out of ``--data`` than those of the first."""
    first, own = report.parameters[0]["images"], report.parameters[-1]["images"]
    if first != own:
        raise AekitError(
            f"{trained.path}: its settings take {own['n']:,} images of --data {own['name']}, those of "
            f"{report.parameters[0]['checkpoint']} others ({first['n']:,}); compare them apart"
        )


def _walk(
    trained: Trained,
    image_set: ImageSet,
    train: Images,
    request: Request,
    report: Report,
    label: str,
    console: Console,
) -> None:
    """Walk all paths of a checkpoint, and report them."""
    groups = choose_groups(request, image_set)
    cloud = build_cloud(trained, image_set, seed=request.seed, console=console)
    direction, samples = None, None
    if request.attribute is not None:
        direction = find_direction(trained, request, cloud, image_set, train)
        if request.split == "train":
            console.message("--split train: the direction was found on these images, so the AUC flatters it")
    if request.n_prior is not None:
        samples = draw_prior(trained, 2 * len(groups[0].ends), request.seed, train, console)
    walker = Walker(trained, cloud, image_set, request, direction, samples)
    is_first = len(report.parameters) == 1
    for number, group in enumerate(groups):
        for space in request.spaces:
            # Blends of the same images are the same for all models; those of samples are not.
            is_shared = space == "pixels" and samples is None
            if is_first or not is_shared:
                _walk_group(walker, number, group, space, report, "" if is_shared else label)


def _walk_group(walker: Walker, group_number: int, group: Group, space: str, report: Report, label: str) -> None:
    from aekit.images.interpolation.figure import PathBlock, PathRow

    is_pixels = space == "pixels"
    owner = None if is_pixels and walker.samples is None else walker.trained
    measures = []
    for number, names in enumerate(group.ends):
        path = walker.pixel_path(group, number) if is_pixels else walker.latent_path(group, number)
        is_shown = number < group.n_shown
        table = path_table(path, walker.cloud, walker.request.alphas)
        measures.append(path_measures(path, table))
        columns = _settings(owner) | {"space": space, "path": path.kind, "pair": group.name}
        columns |= _ends(group, number) | {"draw": number, "shown": is_shown} | _auc(walker, space)
        for place, (key, value) in enumerate(columns.items()):
            table.insert(place, key, value)
        report.tables.append(table)
        if is_shown:
            start, *end = walker.images(group, number)
            block = report.blocks.setdefault((group_number, number), PathBlock(" → ".join(names), []))
            label_shown = _row_label(label, walker, space)
            block.rows.append(PathRow(label_shown, path.images, start, *end))
    about = {"checkpoint": None if owner is None else str(owner.path), "label": label, "space": space}
    report.summaries.append(about | {"pair": group.name} | _auc(walker, space) | summarise(measures))


def _settings(trained: Trained | None) -> dict[str, Any]:
    """Return the columns that say which model a path is of; they are empty for blends of images."""
    model, train = ({}, {}) if trained is None else (trained.header.model, trained.header.train)
    beta = train.get("beta") if model.get("kind") == "vae" else None
    settings = {key: model.get(key) for key in ("kind", "arch", "latent")}
    return {"checkpoint": trained and trained.name} | settings | {"beta": beta, "seed": train.get("seed")}


def _ends(group: Group, number: int) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for place, (end, name) in enumerate(zip(("start", "end"), group.ends[number], strict=False)):
        columns |= {end: name, f"{end}_index": None if group.indices is None else int(group.indices[number, place])}
    return columns


def _auc(walker: Walker, space: str) -> dict[str, Any]:
    if walker.direction is None:
        return {}
    known = [None if space == "pixels" or math.isnan(value) else value for value in walker.direction.auc]
    auc = dict(zip(("auc", "auc_low", "auc_high"), known, strict=True))
    return {"attribute": walker.request.attribute} | auc


def _row_label(label: str, walker: Walker, space: str) -> str:
    if space == "pixels":
        return f"{label}, pixels" if label else "pixels"
    auc = walker.direction.auc[0] if walker.direction is not None and label else math.nan
    return (label or "latent") + ("" if math.isnan(auc) else f", AUC {auc:.2f}")


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    # As objects, since blends of images leave columns of numbers empty that models fill.
    return pd.concat([table.astype(object) for table in tables], ignore_index=True).convert_dtypes()


def _figure(report: Report, request: Request, image_set: ImageSet, trained: Trained) -> Figure:
    from aekit.images.interpolation.figure import plot_paths

    n_checkpoints = len(report.parameters)
    who = trained.label() if n_checkpoints == 1 else f"{n_checkpoints} checkpoints"
    of_images = f"{request.split} images of {image_set.name}"
    kind = {"linear": "linear paths", "slerp": "spherical paths"}[request.path]
    kind = "blends of pixels" if request.space == "pixels" else kind
    if request.attribute is not None:
        auc = report.summaries[-1]["auc"] if n_checkpoints == 1 else None
        direction = request.attribute if auc is None else f"{request.attribute} (AUC {auc:.2f})"
        what = f"{of_images} along {direction}, in units of the difference of means"
    elif request.n_prior is not None:
        kinds = {each["model"]["kind"] for each in report.parameters}
        origin = {"vae": "the prior", "ae": "a Gaussian fitted to the training codes"}
        what = f"{kind} between samples of {' or '.join(origin[each] for each in origin if each in kinds)}"
    else:
        what = f"{kind} between {of_images}"
    inside = None if request.attribute is not None else (0.0, 1.0)
    is_of_images = request.space == "pixels" and request.n_prior is None  # then no model has a part in it
    title = what[0].upper() + what[1:] if is_of_images else f"{who}: {what}"
    return plot_paths(list(report.blocks.values()), request.alphas, inside=inside, title=title)


def _parameters(report: Report) -> dict[str, Any]:
    first, *others = report.parameters
    return {
        **first,
        "others": [{key: each[key] for key in ("checkpoint", "model", "data", "train")} for each in others],
    }


def _print_table(report: Report, console: Console) -> None:
    titles = ("length ratio", "unevenness", "farthest code", "MSE at start", "MSE at end")
    shown = zip(MEASURES, titles, strict=True)
    present = [(key, title) for key, title in shown if any(each[key] is not None for each in report.summaries)]
    rows: list[list[object]] = []
    pairs = list(dict.fromkeys(each["pair"] for each in report.summaries))
    for each in sorted(report.summaries, key=lambda each: pairs.index(each["pair"])):
        name = each["label"] or (Path(each["checkpoint"]).stem if each["checkpoint"] else "")
        who = f"{name}, pixels" if name and each["space"] == "pixels" else name or "pixels"
        auc = [_interval(each, "auc")] if "auc" in each else []
        rows.append([who, each["pair"], each["n_paths"], *auc, *(_interval(each, key) for key, _ in present)])
    heading = "means over paths, with 95 % intervals where several were drawn"
    place = ["from", "paths", "AUC"] if "auc" in report.summaries[0] else ["pair", "paths"]
    console.table(heading, ["paths of", *place, *(title for _, title in present)], rows)


def _interval(values: dict[str, Any], key: str) -> str | None:
    value, low, high = (values[name] for name in (key, f"{key}_low", f"{key}_high"))
    if value is None:
        return None
    return f"{value:.3g}" if low is None else f"{value:.3g} [{low:.3g}, {high:.3g}]"
