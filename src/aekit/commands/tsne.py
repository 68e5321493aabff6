"""``aekit tsne``: codes as a map in the plane, as a picture, a table and a page that shows each point's image."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from aekit.errors import AekitError
from aekit.images.config import Split
from aekit.terminal import options
from aekit.terminal.console import Console, TrainingProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from aekit.images.data.image_set import ImageSet
    from aekit.images.tsne.embedding import Neighbours
    from aekit.images.tsne.figure import EmbeddingPanel

    Floats = npt.NDArray[np.floating]
    Indices = npt.NDArray[np.int64]

Method = Literal["tsne", "pca"]
N_WORST = 10
LARGE_PAGE = 50_000_000  # bytes
# 60,000 digits make a page of 16 MB that opens in a second; larger images, and several panels, get fewer.
MAX_PAGE_POINTS = 60_000
# Which of the seed's draws: what t-SNE optimises, what the measures rest on, what the page shows.
_OPTIMISED, _JUDGED, _SHOWN = range(3)
BLOCK = 1024  # images that are reduced at a time, as photographs may not all fit in memory


@dataclass(frozen=True)
class Request:
    """What is asked for, as far as there are images enough for it.

    Attributes:
        method: How the plane is made.
        perplexity: Neighbours that count for t-SNE, softly.
        k: Neighbours of trustworthiness, kNN accuracy and outlier score.
        seed: Seed of the draw of images and of t-SNE.
        split: Split that the images are of.
        limit: Images at most.
    """

    method: Method
    perplexity: float
    k: int
    seed: int
    split: Split
    limit: int | None


@dataclass(frozen=True)
class Embedded:
    """The map of one checkpoint's codes.

    Attributes:
        trained: The checkpoint.
        label: What tells it from the others.
        points: The map, (N, 2).
        axis_names: What the axes are.
        placed: Which points were placed among those that t-SNE optimised, bool (N,).
        outlier: Outlier scores, (N,); None without labels.
        worst: Images with the highest of them, as rows.
        measures: Trustworthiness and kNN accuracies, in [0, 1], and their standard errors; None without labels.
    """

    trained: Trained
    label: str
    points: Floats
    axis_names: tuple[str, str]
    placed: npt.NDArray[np.bool_]
    outlier: Floats | None
    worst: Indices | None
    measures: dict[str, float | None]


def tsne(
    checkpoints: Checkpoints,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            rich_help_panel=options.DATA,
            help="Map at most so many images of the split, drawn with --seed.",
            show_default="all",
        ),
    ] = None,
    method: Annotated[
        Method, typer.Option("--method", rich_help_panel=options.ANALYSIS, help="How the plane is made.")
    ] = "tsne",
    perplexity: Annotated[
        float,
        typer.Option(
            "--perplexity", rich_help_panel=options.ANALYSIS, min=1.0, help="Neighbours that count for t-SNE, softly."
        ),
    ] = 30.0,
    neighbours: Annotated[
        int,
        typer.Option(
            "--neighbours",
            "-k",
            rich_help_panel=options.ANALYSIS,
            min=1,
            max=500,
            help="Neighbours of trustworthiness, kNN accuracy, outlier score.",
        ),
    ] = 5,
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
    """Map codes, or a VAE's posterior means, into the plane by t-SNE or PCA, a panel a checkpoint.

    Reads checkpoints and the images that they were trained on (others with --data). Writes a figure coloured by class
    (.png), a table (.csv: checkpoint, index, label, x, y, outlier, placed, and what the checkpoint is) and a page for a
    browser (.html), which works offline: point at a dot and its image is shown. The outlier score is the share of the k
    nearest neighbours in code space that have another label. Trustworthiness@k is 1 if no neighbour in the map is new,
    and kNN accuracy leaves out the image itself. Prints the figure's path.

    Of more than 60,000 images so many are drawn with --seed and optimised; the others are placed beside their nearest
    neighbours among those. Outlier scores then look at neighbours among the drawn, measures rest on 5,000 images and
    all their neighbours, and the page shows as many as open quickly, 60,000 at most. A million images of 8 x 8 take
    332 s of processor time and 2.0 GB of memory.

    Example: aekit tsne runs/vae.safetensors --perplexity 50
    """
    from aekit.core.artifacts import write_csv, write_html, write_png
    from aekit.images.tsne.embedding import MAX_OPTIMISED
    from aekit.images.tsne.figure import plot_embeddings

    if isnan(perplexity):
        raise typer.BadParameter("nan is no number", param_hint="--perplexity")
    console = Console(quiet=quiet, json=json)
    paths = read_paths(checkpoints, console)
    target = choose_target(paths, output, name="-".join([method, *([split] if split != "test" else [])]))
    refuse_mixed(paths, [split], data=data)
    images = Images(data, data_root, console)
    request = Request(method, perplexity, neighbours, seed, split, limit)
    found, shown, rows = [], None, None
    all_trained = read_checkpoints(paths, [target] * len(paths), device=device, threads=threads)
    for trained, label in zip(all_trained, short_labels(paths), strict=True):
        image_set = images.read(trained, split)
        if shown is None or rows is None:
            shown, rows = _draw(image_set, request, console)
            request = _possible(request, min(len(shown), MAX_OPTIMISED), console)
        found.append(_embed(trained, label, shown, request, console))
    assert shown is not None  # there is at least one checkpoint
    assert rows is not None
    panels = [_panel(embedded, request, alone=len(found) == 1) for embedded in found]
    title = _title(found, shown, request)
    parameters = _parameters(found, shown, request)
    write_csv(target.with_suffix(".csv"), _table(found, shown, rows))
    page, n_on_page = _build_page(panels, shown, rows, title, parameters, request.seed)
    write_html(target.with_suffix(".html"), page)
    if n_on_page < len(shown):
        console.message(f"{target.with_suffix('.html')}: shows {n_on_page:,} of {len(shown):,} points, to open quickly")
    figure = plot_embeddings(panels, shown.labels, shown.class_names, title=title)
    write_png(target, figure, parameters)
    _say(found, shown, rows, request, console)
    results = [{"checkpoint": str(each.trained.path), **each.measures} for each in found]
    console.result(
        target,
        page=str(target.with_suffix(".html")),
        n=len(shown),
        split=split,
        method=method,
        perplexity=request.perplexity if method == "tsne" else None,
        neighbours=request.k,
        **_scale(len(shown), request),
        on_page=n_on_page,
        checkpoints=results,
    )


def _draw(image_set: ImageSet, request: Request, console: Console) -> tuple[ImageSet, Indices]:
    """Return the images to map, and which of the split they are: all, or a seeded draw."""
    import numpy as np

    from aekit.images.tsne.embedding import MIN_POINTS

    n_images = len(image_set) if request.limit is None else min(request.limit, len(image_set))
    if n_images < MIN_POINTS:
        what = f"--split {request.split}" if request.limit is None or request.limit >= MIN_POINTS else "--limit"
        raise AekitError(f"{what}: {n_images} images are too few for a map; take at least {MIN_POINTS}")
    if image_set.labels is None:
        console.message(
            f"{image_set.name}: has no labels; the points are grey, without outlier scores and kNN accuracy"
        )
    if n_images == len(image_set):
        return image_set, np.arange(n_images)
    rows = np.sort(np.random.default_rng(request.seed).choice(len(image_set), n_images, replace=False)).astype(np.int64)
    console.message(
        f"--limit: {n_images:,} of {len(image_set):,} {request.split} images, drawn with seed {request.seed}"
    )
    return image_set.subset(rows), rows


def _possible(request: Request, n_images: int, console: Console) -> Request:
    """Return the request with as much perplexity and as many neighbours as there are images for."""
    from dataclasses import replace

    from aekit.images.tsne.embedding import possible_neighbours, possible_perplexity

    perplexity = possible_perplexity(request.perplexity, n_images)
    k = possible_neighbours(request.k, n_images)
    if perplexity < request.perplexity and request.method == "tsne":
        console.message(f"--perplexity {request.perplexity:g}: {n_images} images allow {perplexity:.3g}, which is used")
    if k < request.k:
        console.message(f"--neighbours {request.k}: {n_images} images allow {k}, which is used")
    return replace(request, perplexity=perplexity, k=k)


def _embed(trained: Trained, label: str, shown: ImageSet, request: Request, console: Console) -> Embedded:
    import numpy as np
    import torch

    from aekit.images.tsne.embedding import (
        MAX_OPTIMISED,
        draw_rows,
        embed_pca,
        embed_tsne,
        find_neighbours,
        worst_outliers,
    )

    codes = _live_codes(trained, shown, console)
    n_threads = torch.get_num_threads()
    drawn = draw_rows(len(codes), MAX_OPTIMISED, seed=request.seed, draw=_OPTIMISED)
    n_known = max(request.k, int(3 * request.perplexity + 1e-6) if request.method == "tsne" else 0)
    near = find_neighbours(codes[drawn], n_known, n_threads=n_threads)
    with TrainingProgress(console) as progress:
        if request.method == "pca":
            points, shares = embed_pca(codes)
            axis_names = (f"PC 1 ({100 * shares[0]:.0f} % of the variance)", f"PC 2 ({100 * shares[1]:.0f} %)")
        else:
            axis_names = ("t-SNE 1", "t-SNE 2")
            points = np.full((len(codes), 2), np.nan)
            points[drawn] = embed_tsne(
                codes[drawn],
                near,
                perplexity=request.perplexity,
                seed=request.seed,
                n_threads=n_threads,
                on_progress=lambda done, total: progress.on_data(f"{trained.path.name}: t-SNE", done, total),
            )
        outlier, distances = _place_others(
            codes,
            points,
            drawn,
            near,
            shown.labels,
            request,
            n_threads=n_threads,
            on_progress=lambda done, total: progress.on_data(f"{trained.path.name}: placing", done, total),
        )
    worst = None if outlier is None else worst_outliers(outlier, distances, N_WORST)
    all_near = near if len(drawn) == len(codes) else None
    measures = _measure(codes, all_near, points, shown.labels, request, n_threads)
    placed = np.isin(np.arange(len(codes)), drawn, invert=True) & (request.method == "tsne")
    return Embedded(trained, label, points, axis_names, placed, outlier, worst, measures)


def _place_others(
    codes: Floats,
    points: Floats,
    drawn: Indices,
    near: Neighbours,
    labels: Indices | None,
    request: Request,
    *,
    n_threads: int,
    on_progress: Callable[[int, int], object],
) -> tuple[Floats | None, Floats]:
    """Place all codes but those drawn into ``points``, (N, 2), beside their neighbours among the drawn.

    Returns:
        Outlier scores, (N,), if there are labels, and mean distances to the neighbours that they rest on, (N,).
    """
    import numpy as np

    from aekit.images.tsne.embedding import (
        PLACING_NEIGHBOURS,
        map_reach,
        nearest_in_blocks,
        outlier_scores,
        place_points,
    )

    k, n_done = request.k, 0
    scores, distances = np.full(len(codes), np.nan), np.full(len(codes), np.nan)
    distances[drawn] = near.distance[:, :k].mean(axis=1)
    if labels is not None:
        scores[drawn] = outlier_scores(near.index[:, :k], labels[drawn])
    others = np.delete(np.arange(len(codes)), drawn)
    if len(others) and (request.method == "tsne" or labels is not None):
        among = points[drawn]
        reach = map_reach(among, n_threads=n_threads)
        n_near = max(k, PLACING_NEIGHBOURS)
        for rows, found in nearest_in_blocks(codes[drawn], codes, others, n_near, n_threads=n_threads):
            if request.method == "tsne":
                points[rows] = place_points(found, among, reach)
            distances[rows] = found.distance[:, :k].mean(axis=1)
            if labels is not None:
                scores[rows] = outlier_scores(found.index[:, :k], labels[drawn], labels[rows])
            n_done += len(rows)
            on_progress(n_done, len(others))
    return None if labels is None else scores, distances


def _live_codes(trained: Trained, shown: ImageSet, console: Console) -> Floats:
    """Return the codes without those dimensions that are the same for all images."""
    from aekit.images.latent import live_dimensions

    codes = trained.encode(shown).mean
    live = live_dimensions(codes)
    if not live.any():
        raise AekitError(
            f"{trained.path}: the codes of all images are the same, so there is nothing to map; train it longer, or a "
            "VAE with a smaller --beta"
        )
    if not live.all():
        n_dead = int((~live).sum())
        console.message(
            f"{trained.path}: {n_dead} of {len(live)} dimensions are the same for all images; they say nothing"
        )
    return codes[:, live]


def _measure(
    codes: Floats, near: Neighbours | None, points: Floats, labels: Indices | None, request: Request, n_threads: int
) -> dict[str, float | None]:
    """Return the measures over all points, whose neighbours are known then, or over some of them among all."""
    from aekit.images.inference import mean_and_error
    from aekit.images.tsne.embedding import (
        MAX_JUDGED,
        draw_rows,
        find_neighbours,
        point_trustworthiness,
        same_label_votes,
    )

    k, rows = request.k, None
    if near is None:
        rows = draw_rows(len(codes), MAX_JUDGED, seed=request.seed, draw=_JUDGED)
        near = find_neighbours(codes, k, rows=rows, n_threads=n_threads)
    in_map = find_neighbours(points, k, rows=rows, n_threads=n_threads)
    values: dict[str, npt.NDArray[Any]] = {
        "trustworthiness": point_trustworthiness(codes, near, in_map, k, rows=rows, n_threads=n_threads)
    }
    if labels is not None:
        own = labels if rows is None else labels[rows]
        values["knn_accuracy_codes"] = same_label_votes(near.index[:, :k], labels, own)
        values["knn_accuracy_map"] = same_label_votes(in_map.index, labels, own)
    measures: dict[str, float | None] = {}
    for name in ("trustworthiness", "knn_accuracy_codes", "knn_accuracy_map"):
        mean, error = mean_and_error(values[name]) if name in values else (None, None)
        measures |= {name: mean, f"{name}_se": error}
    return measures


def _panel(embedded: Embedded, request: Request, *, alone: bool) -> EmbeddingPanel:
    from aekit.images.tsne.figure import EmbeddingPanel

    measures, k, n_points = embedded.measures, request.k, len(embedded.points)
    n_judged = _scale(n_points, request)["judged"]
    of = f" (of {n_judged:,} points)" if n_judged < n_points else ""
    lines = [f"trustworthiness@{k} {measures['trustworthiness']:.4f}{of}"]
    in_codes, in_map = measures["knn_accuracy_codes"], measures["knn_accuracy_map"]
    if in_codes is not None and in_map is not None:
        lines.append(f"{k}-NN accuracy: codes {100 * in_codes:.1f} %, map {100 * in_map:.1f} %")
    return EmbeddingPanel("" if alone else embedded.label, tuple(lines), embedded.points, embedded.axis_names)


def _title(found: list[Embedded], shown: ImageSet, request: Request) -> str:
    how = f"t-SNE, perplexity {request.perplexity:.3g}" if request.method == "tsne" else "PCA"
    n_placed = _scale(len(shown), request).get("placed")
    if n_placed:
        how += f", of which {len(shown) - n_placed:,} are optimised and the others placed"
    what = f"the codes of {len(shown):,} {request.split} images of {shown.name} by {how}"
    return f"{found[0].trained.label()}: {what}" if len(found) == 1 else what[0].upper() + what[1:]


def _parameters(found: list[Embedded], shown: ImageSet, request: Request) -> dict[str, Any]:
    from dataclasses import asdict

    parameters = found[0].trained.parameters("tsne", shown, **asdict(request))
    if len(found) > 1:
        for key in ("checkpoint", "model", "train"):
            del parameters[key]
        parameters["checkpoints"] = {
            each.trained.name: {key: each.trained.header.configuration[key] for key in ("model", "train")}
            for each in found
        }
    parameters["measures"] = [each.measures for each in found]
    parameters |= _scale(len(shown), request)
    return parameters


def _scale(n_points: int, request: Request) -> dict[str, int]:
    """Return how many points were optimised and placed, and what outlier scores and measures rest on."""
    from aekit.images.tsne.embedding import MAX_JUDGED, MAX_OPTIMISED

    n_among = min(n_points, MAX_OPTIMISED)
    how = {"optimised": n_among, "placed": n_points - n_among} if request.method == "tsne" else {}
    return {**how, "among": n_among, "judged": n_points if n_among == n_points else MAX_JUDGED}


def _table(found: list[Embedded], shown: ImageSet, rows: Indices) -> pd.DataFrame:
    """Return a row a checkpoint and image."""
    import numpy as np
    import pandas as pd

    labels = [shown.label_text(row) for row in range(len(shown))]
    parts = []
    for each in found:
        model, train = each.trained.header.model, each.trained.header.train
        columns = {
            "checkpoint": each.trained.name,
            "index": rows,
            "label": labels,
            "x": each.points[:, 0],
            "y": each.points[:, 1],
            "outlier": np.nan if each.outlier is None else each.outlier,
            "placed": each.placed,
            "kind": model["kind"],
            "arch": model["arch"],
            "latent": model["latent"],
            "beta": train.get("beta", np.nan) if model["kind"] == "vae" else np.nan,
            "seed": train["seed"],
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _build_page(
    panels: list[EmbeddingPanel], shown: ImageSet, rows: Indices, title: str, parameters: dict[str, Any], seed: int
) -> tuple[str, int]:
    """Return the page, and of how many points: a draw, if all would make it too large."""
    from dataclasses import replace

    import numpy as np

    from aekit.images.tsne.embedding import draw_rows
    from aekit.images.tsne.page import build_page, reduce_images

    n_points = min(len(shown), MAX_PAGE_POINTS)
    while True:
        drawn = draw_rows(len(shown), n_points, seed=seed, draw=_SHOWN)
        note = "" if n_points == len(shown) else f"{n_points:,} of {len(shown):,} points, drawn with seed {seed}. "
        images = np.concatenate(
            [reduce_images(shown.take(drawn[start : start + BLOCK])) for start in range(0, n_points, BLOCK)]
        )
        labels = None if shown.labels is None else shown.labels[drawn]
        parts = [replace(panel, points=panel.points[drawn]) for panel in panels]
        page = build_page(
            parts, images, rows[drawn], labels, shown.class_names, title=title, parameters=parameters, note=note
        )
        if len(page) <= LARGE_PAGE or n_points <= BLOCK:
            return page, n_points
        n_points = max(BLOCK, int(0.95 * n_points * LARGE_PAGE / len(page)))


def _say(found: list[Embedded], shown: ImageSet, rows: Indices, request: Request, console: Console) -> None:
    scale = _scale(len(shown), request)
    if scale.get("placed"):
        console.message(
            f"t-SNE: {scale['optimised']:,} of {len(shown):,} codes, drawn with seed {request.seed}, were optimised, "
            "the others placed beside their nearest neighbours among those (column placed)"
        )
    if scale["judged"] < len(shown):
        console.message(
            f"measures rest on {scale['judged']:,} points, drawn too, and their neighbours among all; outlier scores "
            f"on neighbours among {scale['among']:,}"
        )
    columns = [
        "checkpoint",
        f"trustworthiness@{request.k}",
        f"{request.k}-NN in codes",
        "in the map",
        "outliers (score 1)",
    ]
    cells = []
    for each in found:
        names = ("trustworthiness", "knn_accuracy_codes", "knn_accuracy_map")
        values = [_with_error(each.measures[name], each.measures[f"{name}_se"]) for name in names]
        n_outliers = None if each.outlier is None else int((each.outlier == 1).sum())
        cells.append([each.trained.name, *values, n_outliers])
    if shown.labels is None:
        columns, cells = columns[:2], [row[:2] for row in cells]
    console.table(f"Maps of {len(shown):,} codes, ± standard error", columns, cells)
    if len(found) == 1 and found[0].worst is not None and found[0].outlier is not None:
        most = [row for row in found[0].worst if found[0].outlier[row] > 0.5]
        worst = ", ".join(f"{rows[row]} ({shown.label_text(row)})" for row in most) or "none"
        console.message(f"most surrounded by other classes, index (label): {worst}")


def _with_error(value: float | None, error: float | None) -> str | None:
    return None if value is None else f"{value:.4f} ± {error:.4f}"
