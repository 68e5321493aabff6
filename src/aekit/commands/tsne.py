"""``aekit tsne``: codes as a map in the plane, as a picture, a table and a page that shows each point's image."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from aekit import options
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
from aekit.config import Split
from aekit.console import Console, TrainingProgress
from aekit.errors import AekitError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from aekit.analysis.embedding import Neighbours
    from aekit.data.image_set import ImageSet
    from aekit.figures.embedding import EmbeddingPanel

    Floats = npt.NDArray[np.floating]
    Indices = npt.NDArray[np.int64]

Method = Literal["tsne", "pca"]
N_WORST = 10
LARGE_PAGE = 50_000_000  # bytes
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
        outlier: Outlier scores, (N,); None without labels.
        worst: Images with the highest of them, as rows.
        measures: Trustworthiness and kNN accuracies, in [0, 1], and their standard errors; None without labels.
    """

    trained: Trained
    label: str
    points: Floats
    axis_names: tuple[str, str]
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
    (.png), a table (.csv: checkpoint, index, label, x, y, outlier, and what the checkpoint is) and a page for a browser
    (.html), which works offline: point at a dot and its image is shown. The outlier score is the share of the k nearest
    neighbours in code space that have another label. Trustworthiness@k is 1 if no neighbour in the map is new, and kNN
    accuracy leaves out the image itself. Prints the figure's path.

    Example: aekit tsne runs/vae.safetensors --perplexity 50
    """
    from aekit.artifacts import write_csv, write_html, write_png
    from aekit.figures.embedding import plot_embeddings

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
            request = _possible(request, len(shown), console)
        found.append(_embed(trained, label, shown, request, console))
    assert shown is not None  # there is at least one checkpoint
    assert rows is not None
    panels = [_panel(embedded, request, alone=len(found) == 1) for embedded in found]
    title = _title(found, shown, request)
    parameters = _parameters(found, shown, request)
    write_csv(target.with_suffix(".csv"), _table(found, shown, rows))
    page = _build_page(panels, shown, rows, title, parameters)
    write_html(target.with_suffix(".html"), page)
    if len(page) > LARGE_PAGE:
        megabytes = len(page) / 1e6
        console.message(f"{target.with_suffix('.html')}: has {megabytes:.0f} MB, which is slow to open; see --limit")
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
        checkpoints=results,
    )


def _draw(image_set: ImageSet, request: Request, console: Console) -> tuple[ImageSet, Indices]:
    """Return the images to map, and which of the split they are: all, or a seeded draw."""
    import numpy as np

    from aekit.analysis.embedding import MIN_POINTS

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

    from aekit.analysis.embedding import possible_neighbours, possible_perplexity

    perplexity = possible_perplexity(request.perplexity, n_images)
    k = possible_neighbours(request.k, n_images)
    if perplexity < request.perplexity and request.method == "tsne":
        console.message(f"--perplexity {request.perplexity:g}: {n_images} images allow {perplexity:.3g}, which is used")
    if k < request.k:
        console.message(f"--neighbours {request.k}: {n_images} images allow {k}, which is used")
    return replace(request, perplexity=perplexity, k=k)


def _embed(trained: Trained, label: str, shown: ImageSet, request: Request, console: Console) -> Embedded:
    import torch

    from aekit.analysis.embedding import embed_pca, embed_tsne, find_neighbours, outlier_scores, worst_outliers

    codes = _live_codes(trained, shown, console)
    n_threads = torch.get_num_threads()
    n_known = max(request.k, int(3 * request.perplexity + 1e-6) if request.method == "tsne" else 0)
    near = find_neighbours(codes, n_known, n_threads=n_threads)
    if request.method == "pca":
        points, shares = embed_pca(codes)
        axis_names = (f"PC 1 ({100 * shares[0]:.0f} % of the variance)", f"PC 2 ({100 * shares[1]:.0f} %)")
    else:
        axis_names = ("t-SNE 1", "t-SNE 2")
        with TrainingProgress(console) as progress:
            points = embed_tsne(
                codes,
                near,
                perplexity=request.perplexity,
                seed=request.seed,
                n_threads=n_threads,
                on_progress=lambda done, total: progress.on_data(f"{trained.path.name}: t-SNE", done, total),
            )
    outlier = worst = None
    if shown.labels is not None:
        outlier = outlier_scores(near.index[:, : request.k], shown.labels)
        worst = worst_outliers(near, shown.labels, request.k, N_WORST)
    measures = _measure(codes, near, points, shown.labels, request.k, n_threads)
    return Embedded(trained, label, points, axis_names, outlier, worst, measures)


def _live_codes(trained: Trained, shown: ImageSet, console: Console) -> Floats:
    """Return the codes without those dimensions that are the same for all images."""
    from aekit.analysis.latent import live_dimensions

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
    codes: Floats, near: Neighbours, points: Floats, labels: Indices | None, k: int, n_threads: int
) -> dict[str, float | None]:
    from aekit.analysis.embedding import find_neighbours, point_trustworthiness, same_label_votes
    from aekit.inference import mean_and_error

    in_map = find_neighbours(points, k, n_threads=n_threads)
    values: dict[str, npt.NDArray[Any]] = {
        "trustworthiness": point_trustworthiness(codes, near, in_map, k, n_threads=n_threads)
    }
    if labels is not None:
        values["knn_accuracy_codes"] = same_label_votes(near.index[:, :k], labels)
        values["knn_accuracy_map"] = same_label_votes(in_map.index, labels)
    measures: dict[str, float | None] = {}
    for name in ("trustworthiness", "knn_accuracy_codes", "knn_accuracy_map"):
        mean, error = mean_and_error(values[name]) if name in values else (None, None)
        measures |= {name: mean, f"{name}_se": error}
    return measures


def _panel(embedded: Embedded, request: Request, *, alone: bool) -> EmbeddingPanel:
    from aekit.figures.embedding import EmbeddingPanel

    measures, k = embedded.measures, request.k
    lines = [f"trustworthiness@{k} {measures['trustworthiness']:.4f}"]
    in_codes, in_map = measures["knn_accuracy_codes"], measures["knn_accuracy_map"]
    if in_codes is not None and in_map is not None:
        lines.append(f"{k}-NN accuracy: codes {100 * in_codes:.1f} %, map {100 * in_map:.1f} %")
    return EmbeddingPanel("" if alone else embedded.label, tuple(lines), embedded.points, embedded.axis_names)


def _title(found: list[Embedded], shown: ImageSet, request: Request) -> str:
    how = f"t-SNE, perplexity {request.perplexity:.3g}" if request.method == "tsne" else "PCA"
    what = f"the codes of {len(shown):,} {request.split} images of {shown.name} by {how}"
    return f"{found[0].trained.label()}: {what}" if len(found) == 1 else what[0].upper() + what[1:]


def _parameters(found: list[Embedded], shown: ImageSet, request: Request) -> dict[str, Any]:
    from dataclasses import asdict

    parameters = found[0].trained.parameters("tsne", shown, **asdict(request))
    if len(found) > 1:
        for key in ("checkpoint", "model", "train"):
            del parameters[key]
        parameters["checkpoints"] = {
            each.trained.name: {key: each.trained.header[key] for key in ("model", "train")} for each in found
        }
    parameters["measures"] = [each.measures for each in found]
    return parameters


def _table(found: list[Embedded], shown: ImageSet, rows: Indices) -> pd.DataFrame:
    """Return a row a checkpoint and image."""
    import numpy as np
    import pandas as pd

    labels = [shown.label_text(row) for row in range(len(shown))]
    parts = []
    for each in found:
        model, train = each.trained.header["model"], each.trained.header["train"]
        columns = {
            "checkpoint": each.trained.name,
            "index": rows,
            "label": labels,
            "x": each.points[:, 0],
            "y": each.points[:, 1],
            "outlier": np.nan if each.outlier is None else each.outlier,
            "kind": model["kind"],
            "arch": model["arch"],
            "latent": model["latent"],
            "beta": train.get("beta", np.nan) if model["kind"] == "vae" else np.nan,
            "seed": train["seed"],
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _build_page(
    panels: list[EmbeddingPanel], shown: ImageSet, rows: Indices, title: str, parameters: dict[str, Any]
) -> str:
    import numpy as np

    from aekit.figures.page import build_page, reduce_images

    blocks = [np.arange(start, min(start + BLOCK, len(shown))) for start in range(0, len(shown), BLOCK)]
    images = np.concatenate([reduce_images(shown.take(block)) for block in blocks])
    return build_page(panels, images, rows, shown.labels, shown.class_names, title=title, parameters=parameters)


def _say(found: list[Embedded], shown: ImageSet, rows: Indices, request: Request, console: Console) -> None:
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
