"""``aekit neighbours``: the images whose codes are nearest to those of given images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.core.artifacts import naming_leftovers, write_csv, write_png
from aekit.core.output import Result
from aekit.core.progress import Progress
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import count
from aekit.images.config import image_of
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.neighbours import Neighbours, nearest
from aekit.images.record import Checkpoints
from aekit.images.session import Session
from aekit.images.similar_images.brightness import unlike_in_brightness
from aekit.images.similar_images.figure import SheetRow, plot_neighbours
from aekit.images.similar_images.queries import Queries, check_queries, read_queries
from aekit.images.similar_images.request import NeighbourRequest, check_one
from aekit.images.similar_images.searched import Searched, encode_searched, read_searched

_MAX_ROWS = 20  # of the table on the terminal


class _Found(NamedTuple):
    """What was found.

    Attributes:
        queries: The images that were looked up, Q of them.
        searched: What was searched.
        neighbours: The k nearest of each.
        is_same: Whether a neighbour has the very pixels of the image, bool (Q, k); None without images to compare.
    """

    queries: Queries
    searched: Searched
    neighbours: Neighbours
    is_same: npt.NDArray[np.bool_] | None


@keeps_torch_settings
def run_neighbours(
    session: Session,
    images: Sequence[str | Path],
    output: Path | None = None,
    request: NeighbourRequest | None = None,
    *,
    codes: Path | None = None,
) -> Result:
    """Return a contact sheet (.png) of the nearest neighbours of each image; next to it is their table (.csv).

    Where the images of ``codes`` are not here, or ``output`` is a ``.csv``, the result is the table alone.

    Args:
        session: One checkpoint; its ``data`` are searched, None those of the training.
        images: Image files, folders of them and files of arrays, to look up.
        output: The sheet, the table, or a folder; None is next to the checkpoint.
        request: Which neighbours.
        codes: A file of codes of this checkpoint to search, as ``aekit encode`` writes it; None encodes the images.

    Raises:
        AekitError: There is more than one checkpoint, or it is told the class of an image; images or codes cannot be
            read, or the codes are of another checkpoint; a file cannot be written.
    """
    request = request or NeighbourRequest()
    check_one(Checkpoints(session.paths, session.headers, session.records))
    paths = [str(path) for path in images]
    check_queries(paths)
    name = "neighbours" if codes is not None or request.split in (None, "train") else f"neighbours-{request.split}"
    inputs = [*paths, *([] if codes is None else [str(codes)])]
    (target,) = session.targets(output, name=name, suffixes=(".png", ".csv"), inputs=inputs, ends=(".csv", ".png"))
    (checkpoint,) = session.checkpoints()
    queries = read_queries(session, checkpoint, paths)
    if codes is None:
        searched = encode_searched(session, checkpoint, request.split or "train")
    else:
        searched = read_searched(session, checkpoint, codes, request.split)
    if request.neighbours > len(searched.codes):
        there = count(len(searched.codes), "image")
        session.progress.notice(f"--neighbours {request.neighbours}: there is no more to find than {there}")
    if searched.images is not None and (notice := unlike_in_brightness(queries.images, queries.names, searched.images)):
        session.progress.notice(notice)
    found = _search(checkpoint, queries, searched, request.neighbours)
    path = _write(session, checkpoint, target, found, request)
    _show(session.progress, found)
    return Result(path, _values(checkpoint, found))


def _search(checkpoint: LoadedCheckpoint, queries: Queries, searched: Searched, k: int) -> _Found:
    neighbours = nearest(searched.codes, checkpoint.encode(queries.images).mean, k)
    if searched.images is None:
        return _Found(queries, searched, neighbours, None)
    is_same = np.zeros(neighbours.rows.shape, bool)
    for number, rows in enumerate(neighbours.rows):
        own = queries.images.take(np.array([number]))
        is_same[number] = (searched.images.take(rows) == own).all(axis=(1, 2, 3))
    return _Found(queries, searched, neighbours, is_same)


def _write(
    session: Session, checkpoint: LoadedCheckpoint, target: Path, found: _Found, request: NeighbourRequest
) -> Path:
    """Write the table, and the sheet if there are images to show; return the path of the main file."""
    searched, table = found.searched, target.with_suffix(".csv")
    is_drawn = searched.images is not None and target.suffix == ".png"
    with naming_leftovers(target, () if is_drawn else (".png",), session.progress):
        write_csv(table, _table(checkpoint, found))
        if not is_drawn:
            return table
        n_queries, n_shown = len(found.queries.names), min(len(found.queries.names), request.n_shown)
        first = f" (first {n_shown:,} of {n_queries:,})" if n_shown < n_queries else ""
        what = count(len(searched.codes), image_of(searched.split))
        title = f"{checkpoint.title}: nearest in code space among {what} of {searched.data}{first}"
        options = {"neighbours": request.neighbours, "n": request.n_shown, "split": searched.split}
        parameters = checkpoint.parameters("neighbours", searched.images, **options, queries=found.queries.names)
        return write_png(target, plot_neighbours(_sheet(found, n_shown), title=title), parameters)


def _table(checkpoint: LoadedCheckpoint, found: _Found) -> pd.DataFrame:
    """Return a row per image that was looked up and neighbour, nearest first."""
    queries, searched, (distances, rows), _ = found
    n_queries, k = rows.shape
    of, flat = np.repeat(np.arange(n_queries), k), rows.ravel()
    columns: dict[str, Any] = {"checkpoint": checkpoint.name, "query": [queries.names[i] for i in of]}
    columns |= {"query_label": [queries.labels[i] for i in of], "rank": np.tile(np.arange(1, k + 1), n_queries)}
    columns |= {"data": searched.data, "split": searched.split, "index": searched.index[flat]}
    columns |= {} if searched.origins is None else searched.origins.columns(flat)
    columns |= {"label": [searched.labels[row] for row in flat], "distance": distances.ravel()}
    return pd.DataFrame({**columns, "same_image": "" if found.is_same is None else found.is_same.ravel()})


def _sheet(found: _Found, n_shown: int) -> list[SheetRow]:
    """Return the first rows of the sheet: label or name, and distance, below each image."""
    queries, searched, (distances, rows), is_same = found
    assert searched.images is not None
    assert is_same is not None
    sheet = []
    for number in range(n_shown):
        images = [queries.images.take(np.array([number])), searched.images.take(rows[number])]
        captions = [[queries.labels[number], Path(queries.names[number]).name]]
        for row, distance, same in zip(rows[number], distances[number], is_same[number], strict=True):
            text = "same image" if same else f"{distance:.3g}"
            captions.append([searched.labels[row] or searched.name(row), text])
        sheet.append(SheetRow(np.concatenate(images), captions if queries.labels[number] else _without_label(captions)))
    return sheet


def _without_label(captions: list[list[str]]) -> list[list[str]]:
    """Return captions with the name of the image that was looked up in the place of its label."""
    return [captions[0][1:], *captions[1:]]


def _show(progress: Progress, found: _Found) -> None:
    queries, searched, (distances, rows), is_same = found
    shown = [
        (queries.names[number], searched.name(rows[number, 0]), searched.labels[rows[number, 0]], distances[number, 0])
        for number in range(min(len(queries.names), _MAX_ROWS))
    ]
    title = f"Nearest of {count(len(searched.codes), image_of(searched.split))} of {searched.data}"
    progress.table(title, ["image", "nearest", "label", "distance"], shown)
    if len(queries.names) > _MAX_ROWS:
        progress.notice(f"{len(queries.names) - _MAX_ROWS:,} more images are in the table")
    if is_same is not None and (n_same := int(is_same.any(axis=1).sum())):
        verb = "is" if n_same == 1 else "are"
        progress.notice(f"{n_same:,} of {count(len(rows), 'image')} {verb} among those searched, marked as same image")


def _values(checkpoint: LoadedCheckpoint, found: _Found) -> dict[str, Any]:
    """Return what ``--json`` reports."""
    searched = found.searched
    return {
        "checkpoint": str(checkpoint.path),
        "queries": len(found.queries.names),
        "searched": searched.data,
        "split": searched.split,
        "n": len(searched.codes),
        "neighbours": found.neighbours.rows.shape[1],
        "same_image": None if found.is_same is None else int(found.is_same.any(axis=1).sum()),
        "mean_distance": float(found.neighbours.distances[:, 0].mean()),
    }
