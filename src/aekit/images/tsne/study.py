"""Maps of the codes of one or several checkpoints: a figure, a table, and a page that shows the image of each point."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.core.artifacts import write_csv, write_html, write_png
from aekit.core.output import Result
from aekit.core.progress import Progress
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, count
from aekit.images.config import Split, image_of
from aekit.images.data.image_set import ImageSet
from aekit.images.embedding import MIN_POINTS, possible_neighbours, possible_perplexity
from aekit.images.session import Session
from aekit.images.tsne.figure import EmbeddingPanel, plot_embeddings
from aekit.images.tsne.maps import MEASURES, CodeMap, map_codes
from aekit.images.tsne.page import build_limited_page
from aekit.images.tsne.request import MapRequest, Method

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Mapped:
    """The maps of all checkpoints.

    Attributes:
        maps: One per checkpoint, at least one.
        image_set: The images on all of them.
        rows: Which images of the split these are.
        request: How they were mapped.
    """

    maps: list[CodeMap]
    image_set: ImageSet
    rows: Indices
    request: MapRequest

    @property
    def counts(self) -> dict[str, int]:
        """Return how many of the points play which part; see :meth:`MapRequest.counts`."""
        return self.request.counts(len(self.image_set))

    @property
    def title(self) -> str:
        """Return what the maps show, for the figure and the page."""
        request, images = self.request, self.image_set
        what = f"of the codes of {count(len(images), image_of(request.split))} of {images.name}"
        if request.method == "pca":
            what = f"PCA {what}"
        else:
            what = f"t-SNE {what}, perplexity {request.perplexity:.3g}"
            if self.counts["placed"]:
                what += f", {self.counts['optimised']:,} of them optimised and the others placed"
        return f"{self.maps[0].checkpoint.title}: {what}" if len(self.maps) == 1 else what

    @property
    def parameters(self) -> dict[str, Any]:
        """Return what the files of results record of their origin."""
        parameters = self.maps[0].checkpoint.parameters("tsne", self.image_set, **asdict(self.request))
        if len(self.maps) > 1:
            for key in ("checkpoint", "model", "train"):
                del parameters[key]
            parameters["checkpoints"] = {
                each.checkpoint.name: {key: each.checkpoint.header.configuration[key] for key in ("model", "train")}
                for each in self.maps
            }
        parameters["measures"] = [each.measures for each in self.maps]
        return parameters | self.counts


@keeps_torch_settings
def run_tsne(
    session: Session,
    output: Path | None = None,
    *,
    method: Method = "tsne",
    perplexity: float = 30.0,
    k: int = 5,
    seed: int = 0,
    split: Split = "test",
    limit: int | None = None,
) -> Result:
    """Return the figure of maps of codes (.png), with the measures of each.

    Next to it are a table with one row per checkpoint and image (.csv) and a page for a browser (.html).

    Args:
        session: The checkpoints.
        output: The figure, or a folder; None is next to the checkpoints.
        method: ``tsne`` or ``pca``.
        perplexity: Effective number of neighbours for t-SNE; fewer if there are too few images.
        k: Number of neighbours for trustworthiness, kNN accuracy and outlier scores.
        seed: Seed of the draw of images and of t-SNE.
        split: Split of the images.
        limit: Maximum number of images; None is all.

    Raises:
        AekitError: Checkpoints cannot be compared, there are too few images, codes are not finite or all the same, or
            a file cannot be written.
    """
    request = MapRequest(method, perplexity, k, seed, split, limit)
    session.check_comparable([split])
    target = session.target(output, name="-".join([method, *([split] if split != "test" else [])]))
    mapped = _map_all(session, request)
    write_csv(target.with_suffix(".csv"), _table(mapped))
    panels = _panels(mapped)
    page = target.with_suffix(".html")
    n_on_page = _write_page(page, panels, mapped, session.progress)
    image_set = mapped.image_set
    figure = plot_embeddings(panels, image_set.labels, image_set.class_names, title=mapped.title)
    write_png(target, figure, mapped.parameters)
    _report(mapped, session.progress)
    return Result(target, {"page": str(page), **_summary(mapped, n_on_page)})


def _map_all(session: Session, request: MapRequest) -> Mapped:
    checkpoints = session.checkpoints()
    first = next(checkpoints)
    image_set, rows = _draw(session.studied(first, request.split), request, session.progress)
    possible = _possible(request, request.counts(len(image_set))["among"], session.progress)
    maps = []
    for checkpoint in chain([first], checkpoints):
        session.studied(checkpoint, request.split)  # refuses images of another shape
        maps.append(map_codes(checkpoint, image_set, possible, progress=session.progress))
    return Mapped(maps, image_set, rows, possible)


def _draw(image_set: ImageSet, request: MapRequest, progress: Progress) -> tuple[ImageSet, Indices]:
    """Return the images to map, all or a seeded draw, and which of the split they are."""
    n_images = len(image_set) if request.limit is None else min(request.limit, len(image_set))
    if n_images < MIN_POINTS:
        what = f"--split {request.split}" if request.limit is None or request.limit >= MIN_POINTS else "--limit"
        raise AekitError(
            f"{what}: {count(n_images, 'image is', 'images are')} too few for a map; use at least {MIN_POINTS}"
        )
    if image_set.labels is None:
        progress.notice(f"{image_set.name}: has no labels; the points are grey, without outlier scores or kNN accuracy")
    if n_images == len(image_set):
        return image_set, np.arange(n_images)
    rows = np.sort(np.random.default_rng(request.seed).choice(len(image_set), n_images, replace=False)).astype(np.int64)
    progress.notice(
        f"--limit: {n_images:,} of {len(image_set):,} {image_of(request.split)}s, drawn with seed {request.seed}"
    )
    return image_set.subset(rows), rows


def _possible(request: MapRequest, n_images: int, progress: Progress) -> MapRequest:
    """Return the request with the perplexity and the number of neighbours that the images allow."""
    perplexity = possible_perplexity(request.perplexity, n_images)
    k = possible_neighbours(request.k, n_images)
    if perplexity < request.perplexity and request.method == "tsne":
        progress.notice(f"--perplexity {request.perplexity:g}: too large for {n_images} images; using {perplexity:.3g}")
    if k < request.k:
        progress.notice(f"--neighbours {request.k}: too many for {n_images} images; using {k}")
    return replace(request, perplexity=perplexity, k=k)


def _panels(mapped: Mapped) -> list[EmbeddingPanel]:
    k, n_points, n_judged = mapped.request.k, len(mapped.image_set), mapped.counts["judged"]
    of = f" (of {n_judged:,} points)" if n_judged < n_points else ""
    panels = []
    for each in mapped.maps:
        lines = [f"trustworthiness@{k} {each.measures['trustworthiness']:.4f}{of}"]
        in_codes, in_map = each.measures["knn_accuracy_codes"], each.measures["knn_accuracy_map"]
        if in_codes is not None and in_map is not None:
            lines.append(f"{k}-NN accuracy: codes {100 * in_codes:.1f} %, map {100 * in_map:.1f} %")
        label = each.checkpoint.label if len(mapped.maps) > 1 else ""
        panels.append(EmbeddingPanel(label, tuple(lines), each.points, each.axis_names))
    return panels


def _write_page(path: Path, panels: list[EmbeddingPanel], mapped: Mapped, progress: Progress) -> int:
    """Return the number of points on the page."""
    page, n_points = build_limited_page(
        panels,
        mapped.image_set,
        mapped.rows,
        title=mapped.title,
        parameters=mapped.parameters,
        seed=mapped.request.seed,
    )
    write_html(path, page)
    if n_points < len(mapped.image_set):
        progress.notice(f"{path}: shows {n_points:,} of {len(mapped.image_set):,} points, to open quickly")
    return n_points


def _table(mapped: Mapped) -> pd.DataFrame:
    """Return one row per checkpoint and image."""
    labels = [mapped.image_set.label_text(row) for row in range(len(mapped.image_set))]
    origins = mapped.image_set.origin_columns()
    parts = []
    for each in mapped.maps:
        columns = {
            "checkpoint": each.checkpoint.name,
            "index": mapped.rows,
            **origins,
            "label": labels,
            "x": each.points[:, 0],
            "y": each.points[:, 1],
            "outlier": np.nan if each.outlier is None else each.outlier,
            "placed": each.placed,
            **each.checkpoint.settings(),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True).astype({"beta": float})  # None among numbers is an object


def _report(mapped: Mapped, progress: Progress) -> None:
    request, image_set, counts = mapped.request, mapped.image_set, mapped.counts
    if counts.get("placed"):
        progress.notice(
            f"t-SNE: {counts['optimised']:,} of {len(image_set):,} codes, drawn with seed {request.seed}, were "
            "optimised, the others placed next to their nearest neighbours among those (column placed)"
        )
    if counts["judged"] < len(image_set):
        progress.notice(
            f"the measures are computed for {counts['judged']:,} points, also drawn, and their neighbours among all; "
            f"outlier scores use neighbours among {counts['among']:,}"
        )
    _show(mapped, progress)
    first = mapped.maps[0]
    if len(mapped.maps) == 1 and first.outlier is not None:
        most = [row for row in first.worst if first.outlier[row] > 0.5]
        worst = ", ".join(_outlier(mapped, row) for row in most) or "none"
        progress.notice(f"strongest outliers, as index (label, file): {worst}")


def _outlier(mapped: Mapped, row: int) -> str:
    image_set = mapped.image_set
    about = [text for text in (image_set.label_text(row), image_set.origin_text(row)) if text]
    return f"{mapped.rows[row]} ({', '.join(about)})"


def _show(mapped: Mapped, progress: Progress) -> None:
    """Show the measures as a table, without those that need labels if there are none."""
    k, image_set = mapped.request.k, mapped.image_set
    columns = ["checkpoint", f"trustworthiness@{k}", f"{k}-NN in codes", "in the map", "outliers (score 1)"]
    rows = []
    for each in mapped.maps:
        values = [_with_error(each.measures[name], each.measures[f"{name}_se"]) for name in MEASURES]
        n_outliers = None if each.outlier is None else int((each.outlier == 1).sum())
        rows.append([each.checkpoint.name, *values, n_outliers])
    if image_set.labels is None:
        columns, rows = columns[:2], [row[:2] for row in rows]
    progress.table(f"Maps of {len(image_set):,} codes, ± standard error", columns, rows)


def _with_error(value: float | None, error: float | None) -> str | None:
    return None if value is None else f"{value:.4f} ± {error:.4f}"


def _summary(mapped: Mapped, n_on_page: int) -> dict[str, Any]:
    request = mapped.request
    return {
        "n": len(mapped.image_set),
        "split": request.split,
        "method": request.method,
        "perplexity": request.perplexity if request.method == "tsne" else None,
        "neighbours": request.k,
        **mapped.counts,
        "on_page": n_on_page,
        "checkpoints": [{"checkpoint": str(each.checkpoint.path), **each.measures} for each in mapped.maps],
    }
